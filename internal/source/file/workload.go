package file

import (
	"fmt"
	"maps"
	"slices"

	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// workload is what Deployments, StatefulSets and ReplicaSets have in common.
type workload struct {
	object
	kind     string
	replicas **int32
	selector *metav1.LabelSelector
	template *corev1.PodTemplateSpec
	first    int // number of the first pod of a StatefulSet
}

// asWorkload returns o as a workload, if it is one.
func asWorkload(o object) (workload, bool) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return workload{object: o, kind: "Deployment", replicas: &o.Spec.Replicas, selector: o.Spec.Selector, template: &o.Spec.Template}, true
	case *appsv1.ReplicaSet:
		return workload{object: o, kind: "ReplicaSet", replicas: &o.Spec.Replicas, selector: o.Spec.Selector, template: &o.Spec.Template}, true
	case *appsv1.StatefulSet:
		w := workload{object: o, kind: "StatefulSet", replicas: &o.Spec.Replicas, selector: o.Spec.Selector, template: &o.Spec.Template}
		if o.Spec.Ordinals != nil {
			w.first = int(o.Spec.Ordinals.Start)
		}
		return w, true
	}
	return workload{}, false
}

func completePod(o object) {
	p := o.(*corev1.Pod)
	completePodSpec(&p.Spec)
	if p.Status.Phase == "" && len(p.Status.Conditions) == 0 {
		p.Status.Phase, p.Status.Conditions = presumedReady()
	}
}

// presumedReady is the state of pods that nobody probes: they are taken to be up
// until a request fails.
func presumedReady() (corev1.PodPhase, []corev1.PodCondition) {
	return corev1.PodRunning, []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
}

func completePodSpec(s *corev1.PodSpec) {
	for i := range s.Containers {
		for j := range s.Containers[i].Ports {
			if p := &s.Containers[i].Ports[j]; p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func checkPod(o object) field.ErrorList {
	p := o.(*corev1.Pod)
	errs := checkPodSpec(&p.Spec, field.NewPath("spec"))
	errs = append(errs, checkAddresses(p.Annotations, field.NewPath("metadata", "annotations"))...)
	if p.Status.PodIP != "" {
		errs = append(errs, checkIP(p.Status.PodIP, field.NewPath("status", "podIP"))...)
	}
	return errs
}

func checkPodSpec(s *corev1.PodSpec, at *field.Path) (errs field.ErrorList) {
	names := map[string]bool{}
	for i, c := range s.Containers {
		container := at.Child("containers").Index(i)
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(container.Child("name"), ""))
		case names[c.Name]:
			errs = append(errs, field.Duplicate(container.Child("name"), ""))
		}
		names[c.Name] = true
		for j, p := range c.Ports {
			errs = append(errs, checkPort(p.ContainerPort, container.Child("ports").Index(j).Child("containerPort"))...)
		}
	}
	return errs
}

func checkAddresses(annotations map[string]string, at *field.Path) field.ErrorList {
	text, ok := annotations[translate.AddressAnnotation]
	if !ok {
		return nil
	}
	if _, err := parseAddresses(text); err != nil {
		return field.ErrorList{field.Invalid(at.Key(translate.AddressAnnotation), "", err.Error())}
	}
	return nil
}

func completeWorkload(o object) {
	w, _ := asWorkload(o)
	if *w.replicas == nil {
		one := int32(1)
		if t := addressesOf(w); len(t) > 0 {
			one = int32(len(t))
		}
		*w.replicas = &one
	}
	completePodSpec(&w.template.Spec)
}

func checkWorkload(o object) (errs field.ErrorList) {
	w, _ := asWorkload(o)
	spec := field.NewPath("spec")
	template := spec.Child("template")
	if n := **w.replicas; n < 0 || n > maxReplicas {
		errs = append(errs, field.Invalid(spec.Child("replicas"), "", fmt.Sprintf("must be between 0 and %d", maxReplicas)))
	}
	errs = append(errs, metav1validation.ValidateLabels(w.template.Labels, template.Child("metadata", "labels"))...)
	errs = append(errs, checkSelector(w, spec)...)
	errs = append(errs, checkPodSpec(&w.template.Spec, template.Child("spec"))...)
	errs = append(errs, checkAddresses(w.template.Annotations, template.Child("metadata", "annotations"))...)
	if n := len(addressesOf(w)); n > maxReplicas {
		errs = append(errs, field.TooMany(template.Child("metadata", "annotations").Key(translate.AddressAnnotation), n, maxReplicas))
	}
	return errs
}

func checkSelector(w workload, spec *field.Path) field.ErrorList {
	if w.selector == nil {
		return field.ErrorList{field.Required(spec.Child("selector"), "")}
	}
	s, err := metav1.LabelSelectorAsSelector(w.selector)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(spec.Child("selector"), "", "is not a valid selector")}
	case s.Empty():
		return field.ErrorList{field.Required(spec.Child("selector", "matchLabels"), "")}
	case !s.Matches(labels.Set(w.template.Labels)):
		return field.ErrorList{field.Invalid(spec.Child("selector"), "", selectorMismatch)}
	}
	return nil
}

const selectorMismatch = "does not select the labels of spec.template.metadata.labels"

// advice is a warning about a valid object.
type advice struct{ field, message, remedy string }

// advise returns warnings about what is valid but does not do what it seems to.
func advise(o object) (out []advice) {
	w, ok := asWorkload(o)
	if !ok {
		return nil
	}
	if _, misplaced := w.GetAnnotations()[translate.AddressAnnotation]; misplaced {
		out = append(out, advice{"metadata.annotations[" + translate.AddressAnnotation + "]",
			"has no effect on a " + w.kind, "move it to spec.template.metadata.annotations"})
	}
	if n := len(addressesOf(w)); n > 0 && int(**w.replicas) != n {
		out = append(out, advice{"spec.replicas",
			fmt.Sprintf("is ignored: the address annotation makes %d pods", n), "remove it, or list as many addresses"})
	}
	return out
}

// addressesOf returns the addresses of each pod of a workload, nil when they are
// not given.
func addressesOf(w workload) []string {
	pods, err := parseAddresses(w.template.Annotations[translate.AddressAnnotation])
	if err != nil {
		return nil
	}
	return pods
}

// distinct returns the distinct strings of list in order of first appearance.
func distinct(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		dup := seen[s]
		seen[s] = true
		return dup
	})
}

// withAnnotation returns annotations with one more; with "" it is removed.
func withAnnotation(annotations map[string]string, key, value string) map[string]string {
	out := maps.Clone(annotations)
	if value == "" {
		delete(out, key)
		return out
	}
	if out == nil {
		out = map[string]string{}
	}
	out[key] = value
	return out
}
