package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// PodImage returns the image of a pod's container. While the API server is away it
// waits, until ctx ends.
func PodImage(ctx context.Context, cfg *rest.Config, namespace, pod, container string) (string, error) {
	c, err := newClients(cfg)
	if err != nil {
		return "", fmt.Errorf("read pod %s/%s: %w", namespace, pod, err)
	}
	o, err := patiently(ctx, func() (*corev1.Pod, error) {
		o, err := c.core[corev1.SchemeGroupVersion].Get().Namespace(namespace).Resource("pods").Name(pod).
			VersionedParams(&metav1.GetOptions{}, c.params).Do(ctx).Get()
		if err != nil {
			return nil, err
		}
		return o.(*corev1.Pod), nil
	})
	if err != nil {
		return "", fmt.Errorf("read pod %s/%s: %w", namespace, pod, err)
	}
	for _, of := range o.Spec.Containers {
		if of.Name == container {
			return of.Image, nil
		}
	}
	return "", fmt.Errorf("pod %s/%s has no container %s", namespace, pod, container)
}

// patiently reads a pod, again and again while the API server is away.
func patiently(ctx context.Context, read func() (*corev1.Pod, error)) (*corev1.Pod, error) {
	pause := wait.Backoff{Duration: firstRetry, Cap: lastRetry, Steps: 100, Factor: 2, Jitter: 0.5}
	for {
		pod, err := read()
		if troubleOf(err) != unreachable {
			return pod, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause.Step()):
		}
	}
}
