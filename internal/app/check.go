package app

import (
	"fmt"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/source/file"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
)

// Check reads the files at paths and returns what Up would serve and say of
// them, without starting anything. Simulated pods are known by their name and
// port instead of an address. It fails only when a path cannot be read at all.
func Check(paths []string) (*admin.View, error) {
	update, err := file.Load(paths)
	if err != nil {
		return nil, err
	}
	var faults []translate.Problem
	resources := withSimulations(update.Resources, func(pod *corev1.Pod, cfg sim.Config) (string, error) {
		if _, err := faultsOf(pod); err != nil {
			faults = append(faults, faultsProblem(pod, err))
		}
		return fmt.Sprintf("%s.simulated:%d", pod.Name, cfg.Port), nil
	})
	result := translate.Build(resources, upOptions(nil))
	view := newView(result, update.Origins)
	view.addProblems(append(update.Problems, unsimulatedProblems(update.Resources)...), update.Origins)
	view.addProblems(faults, update.Origins)
	view.sortProblems()
	return view.View, nil
}

// upOptions are Build's options on one machine, where every GatewayClass is ours
// and no controller makes EndpointSlices.
func upOptions(addresses []string) translate.Options {
	return translate.Options{Controller: ControllerName, LocalServices: true, Addresses: addresses}
}

// ControllerName is the controllerName of our GatewayClass and of our entries in
// statuses.
const ControllerName = "crossfade.dev/gateway-controller"
