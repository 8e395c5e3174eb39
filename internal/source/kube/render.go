package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Labels and annotations of a data plane's objects.
const (
	gatewayNameLabel  = "gateway.networking.k8s.io/gateway-name"
	gatewayClassLabel = "gateway.networking.k8s.io/gateway-class-name"
	nameLabel         = "app.kubernetes.io/name"
	instanceLabel     = "app.kubernetes.io/instance"
	componentLabel    = "app.kubernetes.io/component"
	// controllerLabel tells the objects of several controllers in one cluster
	// apart.
	controllerLabel = "crossfade.dev/controller"
	// gatewayAnnotation is the Gateway an object belongs to, "namespace/name".
	gatewayAnnotation = "crossfade.dev/gateway"
)

const (
	defaultReplicas = 2
	defaultDrain    = 15 * time.Minute
	// leaving is how long a pod that stops keeps its listeners open, so that load
	// balancers know first.
	leaving = 5 * time.Second
	// margin is what a pod may take to stop besides draining.
	margin    = 10 * time.Second
	adminPort = 19000
	nonRoot   = 65532 // the user and group of the image
	// maxLabel is how long a label's value may be.
	maxLabel = 63
)

// renderer makes the objects of data planes, which depend on nothing else.
type renderer struct {
	image, controller, clusterRole string
}

// owned is one kind of object a data plane consists of.
type owned struct {
	apiVersion, kind, plural string
}

// Kinds of objects of data planes, in the order in which they are made: rights go
// before the pods that need them.
var (
	serviceAccounts     = owned{"v1", "ServiceAccount", "serviceaccounts"}
	roles               = owned{rbacv1.SchemeGroupVersion.String(), "Role", "roles"}
	roleBindings        = owned{rbacv1.SchemeGroupVersion.String(), "RoleBinding", "rolebindings"}
	clusterRoleBindings = owned{rbacv1.SchemeGroupVersion.String(), "ClusterRoleBinding", "clusterrolebindings"}
	services            = owned{"v1", "Service", "services"}
	budgets             = owned{policyv1.SchemeGroupVersion.String(), "PodDisruptionBudget", "poddisruptionbudgets"}
	deployments         = owned{appsv1.SchemeGroupVersion.String(), "Deployment", "deployments"}
	allOwned            = []owned{serviceAccounts, roles, roleBindings, clusterRoleBindings, services, budgets, deployments}
)

func (k owned) typeMeta() metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: k.apiVersion, Kind: k.kind}
}

// rendered is one object of a data plane.
type rendered struct {
	owned
	object metav1.Object
	// idle objects are not made, but kept if they are there.
	idle bool
}

// render returns the objects of a data plane.
func (r *renderer) render(d *translate.DataPlane) []rendered {
	out := []rendered{{owned: serviceAccounts, object: r.serviceAccount(d)}}
	out = append(out, r.rights(d)...)
	return append(out,
		rendered{owned: services, object: r.service(d), idle: len(d.Ports) == 0},
		rendered{owned: budgets, object: r.budget(d)},
		rendered{owned: deployments, object: r.deployment(d)})
}

// label shortens a name that is too long for the value of a label.
func label(name, short string) string {
	if len(name) > maxLabel {
		return short
	}
	return name
}

// controllerValue is a controllerName as the value of a label.
func controllerValue(name string) string {
	name = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		}
		return '_'
	}, name)
	return strings.Trim(name[:min(len(name), maxLabel)], "._-")
}

// selector are the labels of a data plane's pods that its Service selects; a
// Deployment's can never change.
func selector(d *translate.DataPlane) map[string]string {
	return map[string]string{nameLabel: managedBy, componentLabel: "gateway", instanceLabel: d.Name}
}

// labels returns the labels of every object; those of the Gateway's author give
// way to ours.
func (r *renderer) labels(d *translate.DataPlane) map[string]string {
	out := maps.Clone(d.Labels)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, selector(d))
	out[managedLabel] = managedBy
	out[controllerLabel] = controllerValue(r.controller)
	out[gatewayNameLabel] = label(d.Gateway.Name, d.Name)
	out[gatewayClassLabel] = label(d.Class, d.Name)
	return out
}

func gatewayOf(d *translate.DataPlane) string { return d.Gateway.Namespace + "/" + d.Gateway.Name }

// meta returns the metadata of an object in a namespace, "" for none. Only in the
// Gateway's own can the object be the Gateway's, so that it goes with it.
func (r *renderer) meta(d *translate.DataPlane, namespace, name string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: r.labels(d), Annotations: maps.Clone(d.Annotations)}
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[gatewayAnnotation] = gatewayOf(d)
	if namespace == d.Gateway.Namespace {
		controller := true
		m.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: gwv1.GroupVersion.String(), Kind: "Gateway", Name: d.Gateway.Name, UID: d.UID, Controller: &controller,
		}}
	}
	return m
}

func (r *renderer) serviceAccount(d *translate.DataPlane) *corev1.ServiceAccount {
	yes := true
	return &corev1.ServiceAccount{
		TypeMeta: serviceAccounts.typeMeta(), ObjectMeta: r.meta(d, d.Gateway.Namespace, d.Name),
		AutomountServiceAccountToken: &yes,
	}
}

// rightsName names the rights of a data plane; a colon, which no other name may
// have, keeps "a-b" in "c" apart from "a" in "b-c".
func rightsName(d *translate.DataPlane) string {
	return "crossfade-gateway:" + d.Gateway.Namespace + ":" + d.Name
}

// rights returns the right to read what every gateway reads, and that to read just
// the Secrets this one needs.
func (r *renderer) rights(d *translate.DataPlane) []rendered {
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: d.Gateway.Namespace, Name: d.Name}}
	out := []rendered{{owned: clusterRoleBindings, object: &rbacv1.ClusterRoleBinding{
		TypeMeta: clusterRoleBindings.typeMeta(), ObjectMeta: r.meta(d, "", rightsName(d)), Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: r.clusterRole},
	}}}
	names := map[string][]string{}
	for _, s := range d.Secrets {
		names[s.Namespace] = append(names[s.Namespace], s.Name)
	}
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		meta := r.meta(d, namespace, rightsName(d))
		out = append(out, rendered{owned: roles, object: &rbacv1.Role{
			TypeMeta: roles.typeMeta(), ObjectMeta: meta,
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names[namespace], Verbs: []string{"get", "list", "watch"},
			}},
		}}, rendered{owned: roleBindings, object: &rbacv1.RoleBinding{
			TypeMeta: roleBindings.typeMeta(), ObjectMeta: meta, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		}})
	}
	return out
}

func (r *renderer) service(d *translate.DataPlane) *corev1.Service {
	s := &corev1.Service{TypeMeta: services.typeMeta(), ObjectMeta: r.meta(d, d.Gateway.Namespace, d.Name)}
	s.Spec.Type, s.Spec.Selector = corev1.ServiceTypeLoadBalancer, selector(d)
	if p := d.Parameters.Service; p != nil {
		if p.Type != nil {
			s.Spec.Type = *p.Type
		}
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			s.Spec.LoadBalancerClass = p.LoadBalancerClass
		}
		// An API server refuses it where nothing comes from outside.
		if p.ExternalTrafficPolicy != nil && s.Spec.Type != corev1.ServiceTypeClusterIP {
			s.Spec.ExternalTrafficPolicy = *p.ExternalTrafficPolicy
		}
		maps.Copy(s.Annotations, p.Annotations)
		s.Annotations[gatewayAnnotation] = gatewayOf(d)
	}
	addresses := d.Addresses
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && len(addresses) > 0 {
		// The one field that every load balancer knows takes one address.
		s.Spec.LoadBalancerIP, addresses = addresses[0], addresses[1:]
	}
	s.Spec.ExternalIPs = addresses
	for _, p := range d.Ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: fmt.Sprintf("%s-%d", p.AppProtocol, p.Number), Protocol: corev1.ProtocolTCP, AppProtocol: &p.AppProtocol,
			Port: p.Number, TargetPort: intstr.FromInt32(p.Number),
		})
	}
	return s
}

func (r *renderer) budget(d *translate.DataPlane) *policyv1.PodDisruptionBudget {
	one := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		TypeMeta: budgets.typeMeta(), ObjectMeta: r.meta(d, d.Gateway.Namespace, d.Name),
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: selector(d)}},
	}
}

// deployment returns the Deployment, without replicas unless they are asked for.
// Nothing in the template follows listeners, routes or Secrets: these change
// without a rollout.
func (r *renderer) deployment(d *translate.DataPlane) *appsv1.Deployment {
	none, some := intstr.FromInt32(0), intstr.FromString("25%")
	meta := r.meta(d, d.Gateway.Namespace, d.Name)
	return &appsv1.Deployment{
		TypeMeta: deployments.typeMeta(), ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: d.Parameters.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: selector(d)},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &none, MaxSurge: &some},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: meta.Labels, Annotations: meta.Annotations},
				Spec:       r.pod(d),
			},
		},
	}
}

func (r *renderer) pod(d *translate.DataPlane) corev1.PodSpec {
	yes, user := true, int64(nonRoot)
	grace := int64((drain(d) + leaving + margin).Seconds())
	p := d.Parameters
	spec := corev1.PodSpec{
		ServiceAccountName:            d.Name,
		TerminationGracePeriodSeconds: &grace,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			// One of the sysctls that Pod Security counts as safe: port 80
			// without a capability.
			Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
		},
		Containers:       []corev1.Container{r.container(d)},
		ImagePullSecrets: p.ImagePullSecrets, NodeSelector: p.NodeSelector, Tolerations: p.Tolerations,
	}
	if p.PriorityClassName != nil {
		spec.PriorityClassName = *p.PriorityClassName
	}
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		spec.TopologySpreadConstraints = append(spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: selector(d)}, MatchLabelKeys: []string{appsv1.DefaultDeploymentUniqueLabelKey},
		})
	}
	return spec
}

func drain(d *translate.DataPlane) time.Duration {
	if d.Parameters.Drain != nil {
		return d.Parameters.Drain.Duration
	}
	return defaultDrain
}

func (r *renderer) container(d *translate.DataPlane) corev1.Container {
	yes, no := true, false
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
	}
	c := corev1.Container{
		Name: "gateway", Image: cmp.Or(valueOf(d.Parameters.Image), r.image),
		// A wildcard of either family listens on all of both.
		Args: append([]string{
			"gateway", "--gateway", gatewayOf(d), "--bind", "0.0.0.0",
			"--admin", "0.0.0.0:" + strconv.Itoa(adminPort), "--drain", drain(d).String(),
		}, d.Parameters.Args...),
		Env:   []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")},
		Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: adminPort, Protocol: corev1.ProtocolTCP}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		ReadinessProbe: probe("/readyz", 2, 2),
		LivenessProbe:  probe("/healthz", 10, 6),
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: int64(leaving.Seconds())}}},
	}
	if d.Parameters.Resources != nil {
		c.Resources = *d.Parameters.Resources
	}
	return c
}

// probe asks the admin port for path every so many seconds.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("admin")}},
		PeriodSeconds: period, TimeoutSeconds: 2, FailureThreshold: failures,
	}
}

func valueOf(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
