package file

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkPort checks a port number that must be there.
func checkPort(port int32, at *field.Path) field.ErrorList {
	if port < 1 || port > 65535 {
		return field.ErrorList{field.Invalid(at, "", "must be between 1 and 65535")}
	}
	return nil
}

// completeNamespace adds the label that every namespace has.
func completeNamespace(o object) {
	labels := maps.Clone(o.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	labels[corev1.LabelMetadataName] = o.GetName()
	o.SetLabels(labels)
}

func completeService(o object) {
	s := o.(*corev1.Service)
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == (intstr.IntOrString{}) {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

func checkService(o object) (errs field.ErrorList) {
	spec := &o.(*corev1.Service).Spec
	ports := field.NewPath("spec", "ports")
	if spec.Type == corev1.ServiceTypeExternalName {
		if spec.ExternalName == "" {
			errs = append(errs, field.Required(field.NewPath("spec", "externalName"), ""))
		}
	} else if len(spec.Ports) == 0 && spec.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, field.Required(ports, ""))
	}
	names, numbers := map[string]bool{}, map[corev1.ServicePort]bool{}
	for i, p := range spec.Ports {
		at := ports.Index(i)
		errs = append(errs, checkPort(p.Port, at.Child("port"))...)
		errs = append(errs, checkTargetPort(p.TargetPort, at.Child("targetPort"))...)
		switch {
		case p.Name == "" && len(spec.Ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), ""))
		case p.Name != "" && names[p.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), ""))
		}
		number := corev1.ServicePort{Port: p.Port, Protocol: p.Protocol}
		if numbers[number] {
			errs = append(errs, field.Duplicate(at, ""))
		}
		names[p.Name], numbers[number] = true, true
		if !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.Protocol) {
			errs = append(errs, field.NotSupported(at.Child("protocol"), p.Protocol, []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}))
		}
	}
	return errs
}

func checkTargetPort(p intstr.IntOrString, at *field.Path) (errs field.ErrorList) {
	if p.Type == intstr.Int {
		return checkPort(p.IntVal, at)
	}
	for _, msg := range validation.IsValidPortName(p.StrVal) {
		errs = append(errs, field.Invalid(at, "", msg))
	}
	return errs
}

// completeSecret merges the plain texts, which win over the encoded ones.
func completeSecret(o object) {
	s := o.(*corev1.Secret)
	if s.Type == "" {
		s.Type = corev1.SecretTypeOpaque
	}
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, text := range s.StringData {
		s.Data[key] = []byte(text)
	}
	s.StringData = nil
}

func checkSecret(o object) (errs field.ErrorList) {
	s := o.(*corev1.Secret)
	data := field.NewPath("data")
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		errs = append(errs, checkDataKey(data, key)...)
	}
	if s.Type == corev1.SecretTypeTLS {
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[key]; !ok {
				errs = append(errs, field.Required(data.Key(key), ""))
			}
		}
	}
	return errs
}

func checkConfigMap(o object) (errs field.ErrorList) {
	m := o.(*corev1.ConfigMap)
	for _, key := range slices.Sorted(maps.Keys(m.Data)) {
		errs = append(errs, checkDataKey(field.NewPath("data"), key)...)
	}
	for _, key := range slices.Sorted(maps.Keys(m.BinaryData)) {
		errs = append(errs, checkDataKey(field.NewPath("binaryData"), key)...)
		if _, ok := m.Data[key]; ok {
			errs = append(errs, field.Duplicate(field.NewPath("binaryData").Key(key), ""))
		}
	}
	return errs
}

func checkDataKey(data *field.Path, key string) (errs field.ErrorList) {
	for _, msg := range validation.IsConfigMapKey(key) {
		errs = append(errs, field.Invalid(data.Key(key), "", msg))
	}
	return errs
}

func completeEndpointSlice(o object) {
	s := o.(*discoveryv1.EndpointSlice)
	for i := range s.Ports {
		if s.Ports[i].Name == nil {
			s.Ports[i].Name = new(string)
		}
		if s.Ports[i].Protocol == nil {
			tcp := corev1.ProtocolTCP
			s.Ports[i].Protocol = &tcp
		}
	}
}

func checkEndpointSlice(o object) (errs field.ErrorList) {
	s := o.(*discoveryv1.EndpointSlice)
	types := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN}
	switch {
	case s.AddressType == "":
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	case !slices.Contains(types, s.AddressType):
		errs = append(errs, field.NotSupported(field.NewPath("addressType"), s.AddressType, types))
	}
	for i, e := range s.Endpoints {
		at := field.NewPath("endpoints").Index(i).Child("addresses")
		if len(e.Addresses) == 0 {
			errs = append(errs, field.Required(at, ""))
		}
		for j, a := range e.Addresses {
			if s.AddressType != discoveryv1.AddressTypeFQDN {
				errs = append(errs, checkIP(a, at.Index(j))...)
			}
		}
	}
	for i, p := range s.Ports {
		if p.Port != nil {
			errs = append(errs, checkPort(*p.Port, field.NewPath("ports").Index(i).Child("port"))...)
		}
	}
	return errs
}

func checkIP(address string, at *field.Path) field.ErrorList {
	if a, err := netip.ParseAddr(address); err != nil || a.Zone() != "" {
		return field.ErrorList{field.Invalid(at, "", notAnIP)}
	}
	return nil
}

const notAnIP = "is not an IP address"
