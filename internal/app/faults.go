package app

import (
	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
)

// faultsOf reads how the pod's simulation is to misbehave. Without the annotation
// it does not.
func faultsOf(pod *corev1.Pod) (sim.Faults, error) {
	text, ok := pod.Annotations[translate.FaultsAnnotation]
	if !ok {
		return sim.Faults{}, nil
	}
	return sim.ParseFaults(text)
}

// misbehave gives the running server the faults of its pod's annotation when that
// has changed, and only then: faults set at the server itself stay otherwise. One
// that cannot be read changes nothing.
func (s *simulated) misbehave(pod *corev1.Pod) error {
	faults, err := faultsOf(pod)
	if err != nil {
		return err
	}
	text := pod.Annotations[translate.FaultsAnnotation]
	if text == s.faults {
		return nil
	}
	if err := s.server.SetFaults(faults); err != nil {
		return err
	}
	s.faults = text
	return nil
}

func faultsProblem(pod *corev1.Pod, err error) translate.Problem {
	return translate.Problem{
		Severity: translate.Warning,
		Ref:      translate.ObjectRef{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
		Field:    "metadata.annotations[" + translate.FaultsAnnotation + "]",
		Message:  err.Error() + "; the simulated server keeps the faults it has",
		Remedy:   `write the fields that GET /sim/faults shows, such as '{"failRate": 0.2}', or remove the annotation`,
	}
}
