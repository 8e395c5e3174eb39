package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// notOursError says that an object has the name of one of ours.
type notOursError struct{ kind, namespace, name, reason string }

func (e *notOursError) Error() string {
	return fmt.Sprintf("%s %s/%s %s", e.kind, e.namespace, e.name, e.reason)
}

func (k owned) resource(client dynamic.Interface, namespace string) dynamic.ResourceInterface {
	gv, err := schema.ParseGroupVersion(k.apiVersion)
	if err != nil {
		panic(err) // from the table in render.go
	}
	return client.Resource(gv.WithResource(k.plural)).Namespace(namespace)
}

// apply makes the objects of a data plane so, by server-side apply: what others
// set beside our fields stays. An object that is not ours is left alone, and the
// others are made all the same.
func (r *renderer) apply(ctx context.Context, client dynamic.Interface, d *translate.DataPlane) error {
	var errs []error
	for _, o := range r.render(d) {
		if o.idle {
			continue
		}
		if err := r.applyOne(ctx, o.owned.resource(client, o.object.GetNamespace()), d, o); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *renderer) applyOne(ctx context.Context, resource dynamic.ResourceInterface, d *translate.DataPlane, o rendered) error {
	name := o.object.GetName()
	fail := func(err error) error {
		return fmt.Errorf("make %s %s/%s: %w", o.kind, o.object.GetNamespace(), name, err)
	}
	now, err := resource.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		now = nil
	case err != nil:
		return fail(err)
	default:
		if reason := r.foreign(d, o.object, now); reason != "" {
			return &notOursError{o.kind, o.object.GetNamespace(), name, reason}
		}
	}
	if deployment, ok := o.object.(*appsv1.Deployment); ok && deployment.Spec.Replicas == nil {
		deployment.Spec.Replicas = replicas(now)
	}
	body, err := applied(o.object)
	if err != nil {
		return fail(err)
	}
	if _, err := resource.Apply(ctx, name, body, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
		return fail(err)
	}
	return nil
}

// foreign says why an object that is there may not be touched, or "".
func (r *renderer) foreign(d *translate.DataPlane, want metav1.Object, now *unstructured.Unstructured) string {
	l := now.GetLabels()
	if l[managedLabel] != managedBy || l[controllerLabel] != controllerValue(r.controller) || now.GetAnnotations()[gatewayAnnotation] != gatewayOf(d) {
		return "exists and was not made for Gateway " + gatewayOf(d) + " by this controller"
	}
	if len(want.GetOwnerReferences()) == 0 {
		return ""
	}
	if owner := metav1.GetControllerOf(now); owner == nil || owner.UID != d.UID {
		return "belongs to an earlier Gateway of that name and has yet to go"
	}
	return ""
}

// replicas returns what to apply as the number of replicas of a Deployment that
// nobody asked for a number of: the first one when it is new, and its own while it
// is ours in its managedFields, since a field that is no longer applied is reset.
// Once somebody scaled it the number is theirs.
func replicas(now *unstructured.Unstructured) *int32 {
	n := int32(defaultReplicas)
	if now == nil {
		return &n
	}
	for _, m := range now.GetManagedFields() {
		if m.Manager != fieldManager || m.Operation != metav1.ManagedFieldsOperationApply || m.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Spec struct {
				Replicas *struct{} `json:"f:replicas"`
			} `json:"f:spec"`
		}
		if json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields) == nil && fields.Spec.Replicas != nil {
			if have, ok, _ := unstructured.NestedInt64(now.Object, "spec", "replicas"); ok {
				n = int32(have)
			}
			return &n
		}
	}
	return nil
}

// applied returns an object as it is applied: without fields that a Go type cannot
// leave out.
func applied(o metav1.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	for _, path := range [][]string{{"metadata"}, {"spec", "template", "metadata"}} {
		unstructured.RemoveNestedField(content, append(path, "creationTimestamp")...)
	}
	if containers, ok, _ := unstructured.NestedSlice(content, "spec", "template", "spec", "containers"); ok {
		for _, c := range containers {
			if m := c.(map[string]any); len(asMap(m["resources"])) == 0 {
				delete(m, "resources")
			}
		}
		if err := unstructured.SetNestedSlice(content, containers, "spec", "template", "spec", "containers"); err != nil {
			return nil, err
		}
	}
	return &unstructured.Unstructured{Object: content}, nil
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
