package translate

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	egv1a1 "crossfade.dev/api/envoygateway/v1alpha1"
	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	cfv1a1 "crossfade.dev/api/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// decode adds the documents of a YAML file to in. It knows the kinds of Resources
// and Deployment, whose pods it adds with addresses 10.0.0.1, 10.0.0.2 and so on.
func decode(t testing.TB, in *Resources, file string, data []byte) {
	t.Helper()
	for i, doc := range bytes.Split(append([]byte("\n"), data...), []byte("\n---")) {
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatalf("%s document %d: %v", file, i, err)
		}
		if err := add(in, head, doc); err != nil {
			t.Fatalf("%s document %d: %v", file, i, err)
		}
	}
}

func add(in *Resources, head metav1.TypeMeta, doc []byte) (err error) {
	group, _, ok := strings.Cut(head.APIVersion, "/")
	if !ok {
		group = ""
	}
	switch kind := head.Kind + "." + group; kind {
	case "GatewayClass." + gatewayGroup:
		in.GatewayClasses, err = one(in.GatewayClasses, doc)
	case "Gateway." + gatewayGroup:
		in.Gateways, err = one(in.Gateways, doc)
	case "ListenerSet." + gatewayGroup:
		in.ListenerSets, err = one(in.ListenerSets, doc)
	case "HTTPRoute." + gatewayGroup:
		in.HTTPRoutes, err = one(in.HTTPRoutes, doc)
	case "ReferenceGrant." + gatewayGroup:
		in.ReferenceGrants, err = one(in.ReferenceGrants, doc)
	case "BackendTLSPolicy." + gatewayGroup:
		in.BackendTLSPolicies, err = one(in.BackendTLSPolicies, doc)
	case "ConfigMap.":
		in.ConfigMaps, err = one(in.ConfigMaps, doc)
	case "Namespace.":
		in.Namespaces, err = one(in.Namespaces, doc)
	case "Service.":
		in.Services, err = one(in.Services, doc)
	case "EndpointSlice.discovery.k8s.io":
		in.EndpointSlices, err = one(in.EndpointSlices, doc)
	case "Secret.":
		in.Secrets, err = one(in.Secrets, doc)
	case "Pod.":
		in.Pods, err = one(in.Pods, doc)
	case "Deployment.apps":
		var list []*appsv1.Deployment
		if list, err = one(list, doc); err != nil {
			return err
		}
		if list[0].Spec.Template.Labels == nil { // a data plane's, shown without its pods
			in.Deployments = append(in.Deployments, list[0])
		} else {
			addPods(in, list[0])
		}
	case "GatewayParameters." + cfv1a1.Group:
		in.GatewayParameters, err = one(in.GatewayParameters, doc)
	case "InferenceRollout." + cfv1a1.Group:
		in.InferenceRollouts, err = one(in.InferenceRollouts, doc)
	case "InferencePool." + inferenceGroup:
		in.InferencePools, err = one(in.InferencePools, doc)
	case "InferencePool." + legacyGroup:
		in.LegacyInferencePools, err = one(in.LegacyInferencePools, doc)
	case "InferenceModel." + legacyGroup:
		in.InferenceModels, err = one(in.InferenceModels, doc)
	case "InferenceObjective." + legacyGroup, "InferenceObjective." + infv1a2.GroupLLMD:
		in.InferenceObjectives, err = one(in.InferenceObjectives, doc)
	case "InferenceModelRewrite." + legacyGroup, "InferenceModelRewrite." + infv1a2.GroupLLMD:
		in.InferenceModelRewrites, err = one(in.InferenceModelRewrites, doc)
	case "ClientTrafficPolicy." + egv1a1.Group:
		in.ClientTrafficPolicies, err = one(in.ClientTrafficPolicies, doc)
	case "BackendTrafficPolicy." + egv1a1.Group:
		in.BackendTrafficPolicies, err = one(in.BackendTrafficPolicies, doc)
	default:
		err = fmt.Errorf("unknown kind %s", kind)
	}
	return err
}

// one decodes doc and appends it to list, or replaces an object of the same
// group and name.
// Namespaced objects without a namespace are in "default". Values GENERATED of a
// Secret become a certificate and its key.
func one[T any, P object[T]](list []P, doc []byte) ([]P, error) {
	o := P(new(T))
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		return nil, err
	}
	switch any(o).(type) {
	case *gwv1.GatewayClass, *corev1.Namespace:
	default:
		o.SetNamespace(cmp.Or(o.GetNamespace(), "default"))
	}
	if s, ok := any(o).(*corev1.Secret); ok {
		for k, v := range s.StringData {
			if v == "GENERATED" {
				s.StringData[k] = keyPair()[k]
			}
		}
	}
	if m, ok := any(o).(*corev1.ConfigMap); ok && m.Data["ca.crt"] == "GENERATED" {
		m.Data["ca.crt"] = keyPair()["tls.crt"]
	}
	for i := range list {
		if refOf(list[i]) == refOf(o) {
			list[i] = o
			return list, nil
		}
	}
	return append(list, o), nil
}

// keyPair returns a self-signed certificate and its key by their names in a
// Secret, made once.
var keyPair = sync.OnceValue(func() map[string]string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return map[string]string{
		"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		"tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
})

func addPods(in *Resources, d *appsv1.Deployment) {
	replicas := int32(1)
	if d.Spec.Replicas != nil {
		replicas = *d.Spec.Replicas
	}
	for i := range replicas {
		p := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
		p.Namespace, p.Name = d.Namespace, fmt.Sprintf("%s-%d", d.Name, i)
		p.Status.PodIP = fmt.Sprintf("10.0.0.%d", len(in.Pods)+1)
		in.Pods = append(in.Pods, p)
	}
}
