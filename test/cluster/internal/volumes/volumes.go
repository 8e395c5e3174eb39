// Package volumes fills folders with what a pod's volumes hold and works out
// its containers' variables. It reads objects only through Objects.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Objects is the API that volumes and variables are read from.
type Objects interface {
	Secret(ctx context.Context, namespace, name string) (map[string][]byte, error)
	ConfigMap(ctx context.Context, namespace, name string) (map[string][]byte, error)
	// Token returns a token bound to the pod and when it should be renewed.
	Token(ctx context.Context, pod *v1.Pod, want *v1.ServiceAccountTokenProjection) (string, time.Time, error)
}

// Filler writes the volumes of one pod.
type Filler struct {
	Objects Objects
	Pod     *v1.Pod // with its addresses in the status
}

// Fill writes the content of v into folder, which it makes. The time is when
// it should be filled again because a token in it ages; zero for never.
func (f Filler) Fill(ctx context.Context, v v1.Volume, folder string) (renew time.Time, err error) {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return renew, err
	}
	// Every container may write to an emptyDir, whoever it runs as.
	if err := os.Chmod(folder, 0o777); err != nil {
		return renew, err
	}
	var files map[string][]byte
	switch {
	case v.EmptyDir != nil:
	case v.Secret != nil:
		files, err = f.secret(ctx, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.ConfigMap != nil:
		files, err = f.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.DownwardAPI != nil:
		files, err = f.downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		files, renew, err = f.projected(ctx, v.Projected.Sources)
	default:
		err = errors.New("only emptyDir, secret, configMap, downwardAPI and projected volumes exist here")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("volume %s: %w", v.Name, err)
	}
	for name, data := range files {
		if err := write(folder, name, data); err != nil {
			return time.Time{}, fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return renew, nil
}

// write replaces a file as a whole: its reader may be reading it now.
func write(folder, name string, data []byte) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("path %q leaves the volume", name)
	}
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fresh := filepath.Join(filepath.Dir(path), "..new")
	if err := os.WriteFile(fresh, data, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func (f Filler) secret(ctx context.Context, name string, items []v1.KeyToPath, optional *bool) (map[string][]byte, error) {
	data, err := f.Objects.Secret(ctx, f.Pod.Namespace, name)
	return choose("secret "+name, data, err, items, optional)
}

func (f Filler) configMap(ctx context.Context, name string, items []v1.KeyToPath, optional *bool) (map[string][]byte, error) {
	data, err := f.Objects.ConfigMap(ctx, f.Pod.Namespace, name)
	return choose("configmap "+name, data, err, items, optional)
}

// choose maps keys to file names. No items mean all keys under their own names.
func choose(what string, data map[string][]byte, err error, items []v1.KeyToPath, optional *bool) (map[string][]byte, error) {
	mayMiss := optional != nil && *optional
	if apierrors.IsNotFound(err) && mayMiss {
		return nil, nil
	}
	if err != nil || len(items) == 0 {
		return data, err
	}
	files := map[string][]byte{}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && !mayMiss {
			return nil, fmt.Errorf("%s has no key %q", what, item.Key)
		}
		if ok {
			files[item.Path] = value
		}
	}
	return files, nil
}

func (f Filler) downward(items []v1.DownwardAPIVolumeFile) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = Field(f.Pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = f.resource(item.ResourceFieldRef)
		}
		if err != nil {
			return nil, err
		}
		files[item.Path] = []byte(value)
	}
	return files, nil
}

func (f Filler) resource(ref *v1.ResourceFieldSelector) (string, error) {
	for i := range f.Pod.Spec.Containers {
		if c := &f.Pod.Spec.Containers[i]; c.Name == ref.ContainerName {
			return Resource(c, ref)
		}
	}
	return "", fmt.Errorf("no container %q", ref.ContainerName)
}

func (f Filler) projected(ctx context.Context, sources []v1.VolumeProjection) (map[string][]byte, time.Time, error) {
	all := map[string][]byte{}
	var renew time.Time
	for _, s := range sources {
		var files map[string][]byte
		var err error
		switch {
		case s.ServiceAccountToken != nil:
			var token string
			var at time.Time
			token, at, err = f.Objects.Token(ctx, f.Pod, s.ServiceAccountToken)
			files = map[string][]byte{s.ServiceAccountToken.Path: []byte(token)}
			if renew.IsZero() || at.Before(renew) {
				renew = at
			}
		case s.ConfigMap != nil:
			files, err = f.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
		case s.Secret != nil:
			files, err = f.secret(ctx, s.Secret.Name, s.Secret.Items, s.Secret.Optional)
		case s.DownwardAPI != nil:
			files, err = f.downward(s.DownwardAPI.Items)
		default:
			err = errors.New("projected source of an unknown kind")
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		for name, data := range files {
			all[name] = data
		}
	}
	return all, renew, nil
}

// SubPath is where a mount's subPath lies inside its volume's folder. It is made
// as a folder if nothing is there.
func SubPath(folder, sub string) (string, error) {
	if sub == "" {
		return folder, nil
	}
	if !filepath.IsLocal(sub) || strings.Contains(sub, "..") {
		return "", fmt.Errorf("subPath %q leaves the volume", sub)
	}
	path := filepath.Join(folder, sub)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o777)
}
