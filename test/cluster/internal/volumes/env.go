package volumes

import (
	"context"
	"fmt"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubectl/pkg/util/fieldpath"
	"k8s.io/kubectl/pkg/util/resource"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// Env is the environment of one container, in the order in which later ones
// override earlier ones: base, envFrom, env.
func (f Filler) Env(ctx context.Context, c *v1.Container, base map[string]string) (map[string]string, error) {
	env := map[string]string{}
	for k, v := range base {
		env[k] = v
	}
	for _, from := range c.EnvFrom {
		if err := f.envFrom(ctx, from, env); err != nil {
			return nil, err
		}
	}
	for _, variable := range c.Env {
		value, present, err := f.value(ctx, c, variable, env)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", variable.Name, err)
		}
		if present {
			env[variable.Name] = value
		}
	}
	return env, nil
}

func (f Filler) envFrom(ctx context.Context, from v1.EnvFromSource, env map[string]string) error {
	var data map[string][]byte
	var err error
	switch {
	case from.ConfigMapRef != nil:
		data, err = f.configMap(ctx, from.ConfigMapRef.Name, nil, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		data, err = f.secret(ctx, from.SecretRef.Name, nil, from.SecretRef.Optional)
	}
	if err != nil {
		return fmt.Errorf("envFrom: %w", err)
	}
	for k, v := range data {
		env[from.Prefix+k] = string(v)
	}
	return nil
}

// value reports present=false for an optional reference to nothing.
func (f Filler) value(ctx context.Context, c *v1.Container, variable v1.EnvVar, env map[string]string) (value string, present bool, err error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return expansion.Expand(variable.Value, expansion.MappingFuncFor(env)), true, nil
	case from.FieldRef != nil:
		value, err = Field(f.Pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = Resource(c, from.ResourceFieldRef)
		return value, true, err
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		data, err := f.Objects.Secret(ctx, f.Pod.Namespace, r.Name)
		return key("secret "+r.Name, data, err, r.Key, r.Optional)
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		data, err := f.Objects.ConfigMap(ctx, f.Pod.Namespace, r.Name)
		return key("configmap "+r.Name, data, err, r.Key, r.Optional)
	}
	return "", false, fmt.Errorf("valueFrom of an unknown kind")
}

func key(what string, data map[string][]byte, err error, key string, optional *bool) (string, bool, error) {
	mayMiss := optional != nil && *optional
	if err != nil {
		if apierrors.IsNotFound(err) && mayMiss {
			err = nil
		}
		return "", false, err
	}
	value, ok := data[key]
	if !ok && !mayMiss {
		return "", false, fmt.Errorf("%s has no key %q", what, key)
	}
	return string(value), ok, nil
}

// Expand replaces $(NAME) in a command or its arguments.
func Expand(words []string, env map[string]string) []string {
	mapping := expansion.MappingFuncFor(env)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = expansion.Expand(w, mapping)
	}
	return out
}

// List is env as NAME=VALUE, sorted.
func List(env map[string]string) []string {
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	sort.Strings(list)
	return list
}

// Field answers a fieldRef of the downward API.
func Field(pod *v1.Pod, path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return pod.Status.HostIP, nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	case "status.hostIPs":
		var ips []string
		for _, ip := range pod.Status.HostIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ","), nil
	case "status.podIPs":
		var ips []string
		for _, ip := range pod.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		return strings.Join(ips, ","), nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// Resource answers a resourceFieldRef. A limit that is not set is the node's
// capacity in a real cluster and 0 here.
func Resource(c *v1.Container, ref *v1.ResourceFieldSelector) (string, error) {
	return resource.ExtractContainerResourceValue(ref, c)
}
