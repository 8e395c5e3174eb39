package translate

import (
	"cmp"
	"fmt"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const kindGatewayParameters = "GatewayParameters"

// invalidParameters is the reason of a Gateway's and a GatewayClass's Accepted.
const invalidParameters = string(gwv1.GatewayReasonInvalidParameters)

// Limits of GatewayParameters.
const (
	maxReplicas = 100
	maxDrain    = 24 * time.Hour
)

// classParameters resolves the parametersRef of a class. A data plane runs
// already and does not ask.
func (b *build) classParameters(o *gwv1.GatewayClass) (cfv1a1.GatewayParametersSpec, verdict, string) {
	r := o.Spec.ParametersRef
	if r == nil || b.opts.Only.Name != "" {
		return cfv1a1.GatewayParametersSpec{}, verdict{}, ""
	}
	return b.resolveParameters(ObjectRef{string(r.Group), string(r.Kind), value(r.Namespace, ""), r.Name})
}

// gatewayParameters resolves the parametersRef of a Gateway and fills what it
// leaves open from its class. A data plane does not ask here either.
func (b *build) gatewayParameters(g *gateway) (cfv1a1.GatewayParametersSpec, verdict, string) {
	infra := g.object.Spec.Infrastructure
	if infra == nil || infra.ParametersRef == nil || b.opts.Only.Name != "" {
		return g.class.parameters, verdict{}, ""
	}
	r := infra.ParametersRef
	own, v, remedy := b.resolveParameters(ObjectRef{string(r.Group), string(r.Kind), g.ref.Namespace, r.Name})
	if v.bad() {
		return own, v, remedy
	}
	return mergeParameters(own, g.class.parameters), verdict{}, ""
}

func (b *build) resolveParameters(to ObjectRef) (cfv1a1.GatewayParametersSpec, verdict, string) {
	if to.Group != cfv1a1.Group || to.Kind != kindGatewayParameters {
		return cfv1a1.GatewayParametersSpec{}, verdict{invalidParameters, fmt.Sprintf("parameters of kind %s in group %q are not supported", to.Kind, to.Group)},
			"name a GatewayParameters of group " + cfv1a1.Group + ", or remove parametersRef"
	}
	o := b.parameters[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	if o == nil {
		return cfv1a1.GatewayParametersSpec{}, verdict{invalidParameters, to.String() + " does not exist"}, "add it or correct the reference"
	}
	if wrong := wrongParameters(&o.Spec); wrong != "" {
		return cfv1a1.GatewayParametersSpec{}, verdict{invalidParameters, to.String() + ": " + wrong}, "correct the value"
	}
	return o.Spec, verdict{}, ""
}

// wrongParameters says what of s cannot be, "" if all can. The CRD's schema says
// the same; this is for servers that hold an older one.
func wrongParameters(s *cfv1a1.GatewayParametersSpec) string {
	if n := s.Replicas; n != nil && (*n < 1 || *n > maxReplicas) {
		return fmt.Sprintf("spec.replicas %d is not between 1 and %d", *n, maxReplicas)
	}
	if d := s.Drain; d != nil && (d.Duration < 0 || d.Duration > maxDrain) {
		return fmt.Sprintf("spec.drain %s is not between 0 and %s", d.Duration, maxDrain)
	}
	if s.Service != nil && s.Service.Type != nil {
		switch *s.Service.Type {
		case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort, corev1.ServiceTypeClusterIP:
		default:
			return fmt.Sprintf("spec.service.type %q is not LoadBalancer, NodePort or ClusterIP", *s.Service.Type)
		}
	}
	return ""
}

// mergeParameters returns own, with what it leaves open taken from the class's.
func mergeParameters(own, class cfv1a1.GatewayParametersSpec) cfv1a1.GatewayParametersSpec {
	own.Replicas = cmp.Or(own.Replicas, class.Replicas)
	own.Image = cmp.Or(own.Image, class.Image)
	own.Resources = cmp.Or(own.Resources, class.Resources)
	own.PriorityClassName = cmp.Or(own.PriorityClassName, class.PriorityClassName)
	own.Drain = cmp.Or(own.Drain, class.Drain)
	own.Service = mergeService(own.Service, class.Service)
	if own.ImagePullSecrets == nil {
		own.ImagePullSecrets = class.ImagePullSecrets
	}
	if own.NodeSelector == nil {
		own.NodeSelector = class.NodeSelector
	}
	if own.Tolerations == nil {
		own.Tolerations = class.Tolerations
	}
	if own.Args == nil {
		own.Args = class.Args
	}
	return own
}

func mergeService(own, class *cfv1a1.GatewayService) *cfv1a1.GatewayService {
	if own == nil || class == nil {
		return cmp.Or(own, class)
	}
	s := *own
	s.Type = cmp.Or(s.Type, class.Type)
	s.LoadBalancerClass = cmp.Or(s.LoadBalancerClass, class.LoadBalancerClass)
	s.ExternalTrafficPolicy = cmp.Or(s.ExternalTrafficPolicy, class.ExternalTrafficPolicy)
	if s.Annotations == nil {
		s.Annotations = class.Annotations
	}
	return &s
}
