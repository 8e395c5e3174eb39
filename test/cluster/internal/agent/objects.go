package agent

import (
	"context"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// objects reads what volumes and variables refer to, straight from the API.
type objects struct{ kubernetes.Interface }

// Secret returns a Secret's data.
func (o objects) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	s, err := o.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

// ConfigMap returns a ConfigMap's data, binary or not.
func (o objects) ConfigMap(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	c, err := o.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for k, v := range c.Data {
		data[k] = []byte(v)
	}
	for k, v := range c.BinaryData {
		data[k] = v
	}
	return data, nil
}

// Token asks for a token bound to the pod: it ends with it. It is renewed after
// four fifths of its life, as the kubelet does.
func (o objects) Token(ctx context.Context, pod *v1.Pod, want *v1.ServiceAccountTokenProjection) (string, time.Time, error) {
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: want.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	now := time.Now()
	answer, err := o.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	life := answer.Status.ExpirationTimestamp.Sub(now)
	return answer.Status.Token, now.Add(life * 4 / 5), nil
}
