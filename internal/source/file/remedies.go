package file

import (
	"regexp"
	"strings"

	"crossfade.dev/api/inference/v1alpha2"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

var between = regexp.MustCompile(`must be between (-?\d+) and (\d+)$`)

// ruleRemedy says what to do about a broken rule whose message only says what must
// hold.
func ruleRemedy(k *kind, message, path string) string {
	kindName := ""
	if k != nil {
		kindName = k.name
	}
	for _, r := range []struct{ kind, message, remedy string }{
		{"InferencePool", "port is required when kind is 'Service'", "add endpointPickerRef.port.number, the port of the picker's Service"},
		{"InferencePool", "port number must be unique", "remove the port that stands twice"},
		{"InferenceModel", "modelName is immutable", "add an InferenceModel of another name for the new model name, and delete this one when nobody asks for it"},
		{"InferenceModel", "weight must be set on all", "give every target model a weight, or none"},
		{"GatewayClass", "Value is immutable", "add a GatewayClass of another name"},

		{"", "either targetRef or targetRefs must be set", "set spec.targetRef to the Gateway or route the policy acts on, and remove the other form"},
		{"", "group must be gateway.networking.k8s.io", "write group: gateway.networking.k8s.io"},
		{"", "kind must be Gateway", "name a Gateway, or a route where the policy allows one"},

		{"HTTPRoute", "Must have port for Service reference", "add port, a port of the Service"},
		{"HTTPRoute", "must be an absolute path", "begin the value with /"},
		{"HTTPRoute", "backendRequest timeout cannot be longer", "make timeouts.backendRequest at most timeouts.request"},
		{"HTTPRoute", "must be specified for", "add the settings of the filter's type below its type"},
		{"HTTPRoute", "must be nil if", "remove them, or change the filter's type"},
		{"HTTPRoute", "filter cannot be repeated", "put both into one filter"},
		{"HTTPRoute", "sectionName or port must be", "name the listener of each parentRef with sectionName"},

		{"Gateway", "tls must not be specified for protocols", "use protocol: HTTPS, or remove tls"},
		{"Gateway", "Listener name must be unique", "give each listener a name of its own"},
		{"Gateway", "Combination of port, protocol and hostname", "give one of the listeners another port or hostname"},
		{"Gateway", "certificateRefs or options must be specified", "add tls.certificateRefs with the name of a Secret of type kubernetes.io/tls"},

		{"", selectorMismatch, "give the template every label that the selector asks for"},
		{"", badAddress, "write it like 10.0.0.5:8000, or several with commas between"},
		{"Pod", notAnIP, "write an IP address, or name the host in the annotation crossfade.dev/address"},
		{"", notAnIP, "write an IP address, or use addressType: FQDN"},
		{"", "a valid config key", "rename the key with letters, digits, -, _ and ."},
		{"", "a lowercase RFC 1123", "rename it with lower-case letters, digits and -"},
		{"", "a DNS-1035 label", "rename it with lower-case letters, digits and -, beginning with a letter"},
		{"", "a valid label must be", "use letters, digits, -, _ and ., beginning and ending with a letter or digit"},
		{"", "must be no more than", "shorten it"},
	} {
		if (r.kind == "" || r.kind == kindName) && strings.Contains(message, r.message) {
			return r.remedy
		}
	}
	if m := between.FindStringSubmatch(message); m != nil {
		return "use a number from " + m[1] + " to " + m[2]
	}
	if path == "" {
		return "change the object so that this holds"
	}
	return "change " + path + " so that this holds"
}

// otherVersion says where a field belongs that another version of the kind has, or
// "". The two InferencePools are easily mixed up.
func otherVersion(k *kind, path string) string {
	if k.name != "InferencePool" {
		return ""
	}
	fields := map[string]string{
		"spec.targetPorts":          "targetPortNumber: 8000",
		"spec.endpointPickerRef":    "extensionRef",
		"spec.selector.matchLabels": "the labels themselves below selector",
	}
	other := infv1.GroupName + "/v1"
	if k.group == infv1.GroupName {
		fields = map[string]string{
			"spec.targetPortNumber": "targetPorts: [{number: 8000}]",
			"spec.extensionRef":     "endpointPickerRef",
			"spec.selector":         "the labels below spec.selector.matchLabels",
		}
		other = v1alpha2.GroupXK8s + "/" + v1alpha2.Version
	}
	for field, here := range fields {
		if path == field || strings.HasPrefix(path, field+".") {
			return "write " + here + ", or use apiVersion " + other
		}
	}
	return ""
}
