package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// PodImage returns the image of a pod's container.
func PodImage(ctx context.Context, cfg *rest.Config, namespace, pod, container string) (string, error) {
	c, err := newClients(cfg)
	if err != nil {
		return "", fmt.Errorf("read pod %s/%s: %w", namespace, pod, err)
	}
	o, err := c.core[corev1.SchemeGroupVersion].Get().Namespace(namespace).Resource("pods").Name(pod).
		VersionedParams(&metav1.GetOptions{}, c.params).Do(ctx).Get()
	if err != nil {
		return "", fmt.Errorf("read pod %s/%s: %w", namespace, pod, err)
	}
	for _, of := range o.(*corev1.Pod).Spec.Containers {
		if of.Name == container {
			return of.Image, nil
		}
	}
	return "", fmt.Errorf("pod %s/%s has no container %s", namespace, pod, container)
}
