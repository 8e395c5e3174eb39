package file

// explainPattern words the errors of regular expressions, the usual ones by what
// they mean.
func explainPattern(detail string) (message, remedy string, ok bool) {
	m := pattern.FindStringSubmatch(detail)
	if m == nil {
		return "", "", false
	}
	const (
		dns     = `[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*`
		letters = "lower-case letters, digits"
		ends    = "beginning and ending with a letter or digit"
	)
	for _, known := range []struct{ pattern, message, remedy string }{
		{`^([0-9]{1,5}(h|m|s|ms)){1,4}$`, "must be a duration", "write it like 30s, 1h30m or 500ms, with whole numbers of at most five digits"},
		{`^[1-9]+[0-9]*([EPTGMK]i|[EPTGMk])?$`, "must be a number of bytes", "write it like 32768, 512Ki or 20Mi"},
		{`^$|^` + dns + `$`, "must be an API group, or empty", `write it like gateway.networking.k8s.io, without a version`},
		{`^` + dns + `$`, "must be a DNS name in lower case", "use " + letters + ", - and ., " + ends},
		{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, "must be a DNS label in lower case", "use " + letters + " and -, " + ends},
		{`^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$`, "must be the name of a kind", "write it like Service or InferencePool"},
		{`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`, "must be a label value", "use letters, digits, -, _ and ., " + ends},
		{`^(\*\.)?` + dns + `$`, "must be a host name", "write it like chat.example.com or *.example.com, in lower case, without port"},
		{"^[A-Za-z0-9!#$%&'*+\\-.^_\\x60|~]+$", "must be the name of a header", "use letters, digits and -, without colon or spaces"},
		{`^` + dns + `\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$`, "must be a domain and a path", "write it like example.com/gateway-controller"},
	} {
		if m[1] == known.pattern {
			return known.message, known.remedy, true
		}
	}
	return "must match the regular expression " + m[1], "change it so that it matches", true
}
