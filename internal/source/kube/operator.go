package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Operator reads rollouts and hands verbs to them, with the rights of a person.
type Operator struct {
	rollouts dynamic.NamespaceableResourceInterface
}

// ErrStale is returned for a verb to a rollout that has changed since its author
// looked.
var ErrStale = errors.New("the rollout has changed since you looked")

// NewOperator returns an operator of the API server of cfg.
func NewOperator(cfg *rest.Config) (*Operator, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &Operator{client.Resource(schema.GroupVersionResource{Group: cfv1a1.Group, Version: cfv1a1.Version, Resource: "inferencerollouts"})}, nil
}

// page is how many objects one answer of a list has at most.
const page = 250

// Rollouts returns those of a namespace, "" is all, in the API server's order.
func (p *Operator) Rollouts(ctx context.Context, namespace string) ([]*cfv1a1.InferenceRollout, error) {
	var out []*cfv1a1.InferenceRollout
	for o := (metav1.ListOptions{Limit: page}); ; {
		l, err := p.rollouts.Namespace(namespace).List(ctx, o)
		if err != nil {
			if apierrors.IsNotFound(err) {
				err = fmt.Errorf("%w (is the CRD inferencerollouts.%s installed?)", err, cfv1a1.Group)
			}
			return nil, fmt.Errorf("list InferenceRollouts: %w", err)
		}
		for i := range l.Items {
			r, err := rolloutOf(&l.Items[i])
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		if o.Continue = l.GetContinue(); o.Continue == "" {
			return out, nil
		}
	}
}

// Rollout returns one.
func (p *Operator) Rollout(ctx context.Context, namespace, name string) (*cfv1a1.InferenceRollout, error) {
	o, err := p.rollouts.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get InferenceRollout %s/%s: %w", namespace, name, err)
	}
	return rolloutOf(o)
}

func rolloutOf(o *unstructured.Unstructured) (*cfv1a1.InferenceRollout, error) {
	r := &cfv1a1.InferenceRollout{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, r); err != nil {
		return nil, fmt.Errorf("InferenceRollout %s/%s cannot be read: %s", o.GetNamespace(), o.GetName(), withoutValue(err))
	}
	r.ManagedFields = nil
	return r, nil
}

// Ask writes a request into the rollout's status, or where the author may not, into
// its annotation. version is the resource version the author saw; "" writes in any
// case. It returns ErrStale when the rollout has another one by now.
func (p *Operator) Ask(ctx context.Context, namespace, name, version string, r cfv1a1.RolloutRequest) error {
	if r.ID == "" {
		return fmt.Errorf("a request to %s/%s needs an ID, so that it acts once", namespace, name)
	}
	err := p.patch(ctx, namespace, name, version, map[string]any{"status": map[string]any{"request": whole(r)}}, "status")
	if apierrors.IsForbidden(err) {
		text, marshalErr := json.Marshal(r)
		if marshalErr != nil {
			return marshalErr
		}
		inStatus := err
		err = p.patch(ctx, namespace, name, version, map[string]any{"metadata": map[string]any{"annotations": map[string]any{cfv1a1.RequestAnnotation: string(text)}}})
		if apierrors.IsForbidden(err) {
			err = fmt.Errorf("%w; nor may you annotate the rollout", inStatus)
		}
	}
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s InferenceRollout %s/%s: %w", r.Verb, namespace, name, ErrStale)
	case err != nil:
		return fmt.Errorf("%s InferenceRollout %s/%s: %w", r.Verb, namespace, name, err)
	}
	return nil
}

// whole is the request with every field, so that a merge leaves nothing of the one
// before.
func whole(r cfv1a1.RolloutRequest) map[string]any {
	out := map[string]any{"id": r.ID, "verb": r.Verb, "attempt": nil, "percent": nil, "reason": nil, "by": nil}
	if r.Attempt != 0 {
		out["attempt"] = r.Attempt
	}
	if r.Percent != 0 {
		out["percent"] = r.Percent
	}
	if r.Reason != "" {
		out["reason"] = r.Reason
	}
	if r.By != "" {
		out["by"] = r.By
	}
	return out
}

func (p *Operator) patch(ctx context.Context, namespace, name, version string, patch map[string]any, sub ...string) error {
	if version != "" {
		meta, _ := patch["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
			patch["metadata"] = meta
		}
		meta["resourceVersion"] = version
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = p.rollouts.Namespace(namespace).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: "crossfade-cli"}, sub...)
	return err
}
