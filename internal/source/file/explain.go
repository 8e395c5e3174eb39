package file

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// explain words an error of validation for a person: what is wrong and what to do.
// It never repeats the value.
func explain(k *kind, e *field.Error) (message, remedy string) {
	switch e.Type {
	case field.ErrorTypeRequired:
		return "is missing", "add " + trimField(e.Field)
	case field.ErrorTypeNotSupported:
		return explainEnum(e)
	case field.ErrorTypeTypeInvalid:
		return explainType(e)
	case field.ErrorTypeTooLong:
		return strings.Replace(e.Detail, "may not be more than", "is longer than", 1), "shorten it"
	case field.ErrorTypeTooMany:
		return strings.Replace(e.Detail, "must have at most", "has more than", 1), "remove some, or spread them over several objects"
	case field.ErrorTypeDuplicate:
		return "repeats an earlier item of the list", "remove it, or give it a name or key of its own"
	case field.ErrorTypeForbidden:
		return "is not allowed here: " + e.Detail, "remove it"
	}
	if m, r, ok := explainBound(e.Detail); ok {
		return m, r
	}
	if m, r, ok := explainPattern(e.Detail); ok {
		return m, r
	}
	message = shorten(e.Detail)
	return message, ruleRemedy(k, message, e.Field)
}

// explainEnum lists the allowed values, which the detail quotes.
func explainEnum(e *field.Error) (message, remedy string) {
	var allowed []string
	for _, m := range quoted.FindAllStringSubmatch(e.Detail, -1) {
		allowed = append(allowed, m[1])
	}
	message = "must be one of " + strings.Join(allowed, ", ")
	if word, ok := e.BadValue.(string); ok {
		if near := nearest(word, allowed); near != "" {
			return message, "did you mean " + near + "?"
		}
	}
	return message, "use one of these, written exactly so"
}

// explainType words "… must be of type integer: "string"".
func explainType(e *field.Error) (message, remedy string) {
	_, rest, ok := strings.Cut(e.Detail, "must be of type ")
	if !ok {
		return "has the wrong type", "look the field up in the API reference"
	}
	want, rest, _ := strings.Cut(rest, ":")
	got := strings.Trim(rest, ` "`)
	return wrongType(jsonWord(want), jsonWord(got))
}

// jsonWord turns a type of JSON schema into the words of jsonType.
func jsonWord(t string) string {
	switch t {
	case "array":
		return "list"
	case "null":
		return "nothing"
	case "integer,string":
		return "integer or string"
	default:
		return t
	}
}

// wrongType words that a field is of type got instead of want.
func wrongType(want, got string) (message, remedy string) {
	message = fmt.Sprintf("must be %s, not %s", article(want), article(got))
	scalar := got == "integer" || got == "number" || got == "boolean"
	switch {
	case got == "nothing":
		remedy = "give it a value, or remove it"
	case want == "string" && scalar:
		remedy = "put the value in quotes"
	case want != "list" && want != "object" && got == "string":
		remedy = "write it without quotes"
	case want == "list":
		remedy = "start each item with a dash"
	case want == "object":
		remedy = "write its fields below it, indented"
	default:
		remedy = "write a single value"
	}
	return message, remedy
}

var (
	quoted  = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	bound   = regexp.MustCompile(`should (be (?:less|greater) than(?: or equal to)?|be at least|be at most|have at least|have at most) (-?[0-9.e+]+)( chars long| items| properties)?$`)
	pattern = regexp.MustCompile(`(?s)should match '(.*)'$`)
)

// explainBound words the errors of numbers, lengths and counts.
func explainBound(detail string) (message, remedy string, ok bool) {
	m := bound.FindStringSubmatch(detail)
	if m == nil {
		return "", "", false
	}
	n, unit := m[2], strings.TrimSpace(m[3])
	if unit == "properties" {
		unit = "entries"
	}
	switch {
	case unit == "chars long" && n == "1":
		return "must not be empty", "give it a value", true
	case unit == "chars long":
		return "must be " + m[1][len("be "):] + " " + n + " characters long", "change its length", true
	case unit != "" && n == "1" && m[1] == "have at least":
		return "must not be empty", "add an entry, or remove the field if it is optional", true
	case unit != "":
		return "must " + m[1] + " " + n + " " + unit, "change the number of its entries", true
	case m[1] == "be less than or equal to":
		return "must be at most " + n, "use " + n + " or less", true
	case m[1] == "be greater than or equal to":
		return "must be at least " + n, "use " + n + " or more", true
	default:
		return "must " + m[1] + " " + n, "change the number", true
	}
}

// explainPattern words the errors of regular expressions, the usual ones by what
// they mean.
func explainPattern(detail string) (message, remedy string, ok bool) {
	m := pattern.FindStringSubmatch(detail)
	if m == nil {
		return "", "", false
	}
	for _, known := range []struct{ pattern, message, remedy string }{
		{`^([0-9]{1,5}(h|m|s|ms)){1,4}$`, "must be a duration", "write it like 30s, 1h30m or 500ms, with whole numbers of at most five digits"},
		{`^[1-9]+[0-9]*([EPTGMK]i|[EPTGMk])?$`, "must be a number of bytes", "write it like 32768, 512Ki or 20Mi"},
		{`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, "must be an API group, or empty", `write it like gateway.networking.k8s.io, without a version`},
		{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, "must be a DNS name in lower case", "use lower-case letters, digits, - and ., beginning and ending with a letter or digit"},
		{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, "must be a DNS label in lower case", "use lower-case letters, digits and -, beginning and ending with a letter or digit"},
		{`^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$`, "must be the name of a kind", "write it like Service or InferencePool"},
		{`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`, "must be a label value", "use letters, digits, -, _ and ., beginning and ending with a letter or digit"},
		{`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, "must be a host name", "write it like chat.example.com or *.example.com, in lower case, without port"},
		{"^[A-Za-z0-9!#$%&'*+\\-.^_\\x60|~]+$", "must be the name of a header", "use letters, digits and -, without colon or spaces"},
		{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$`, "must be a domain and a path", "write it like example.com/gateway-controller"},
	} {
		if m[1] == known.pattern {
			return known.message, known.remedy, true
		}
	}
	return "must match the regular expression " + m[1], "change it so that it matches", true
}

// shorten drops the regular expression and the examples that Kubernetes appends to
// the rules for names.
func shorten(detail string) string {
	detail, _, _ = strings.Cut(detail, " (e.g. ")
	detail, _, _ = strings.Cut(detail, ", regex used for validation is")
	return detail
}
