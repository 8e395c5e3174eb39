package file

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// explanation says what is wrong with a field and what to do about it.
type explanation struct{ field, message, remedy string }

// explain words an error of validation for a person. It never repeats the value.
func explain(k *kind, e *field.Error) explanation {
	x := explanation{field: trimField(e.Field)}
	switch e.Type {
	case field.ErrorTypeRequired:
		x.message, x.remedy = "is missing", "add "+x.field
	case field.ErrorTypeNotSupported:
		x.message, x.remedy = explainEnum(e)
	case field.ErrorTypeTypeInvalid:
		x.message, x.remedy = explainType(e)
	case field.ErrorTypeTooLong:
		x.message, x.remedy = strings.Replace(e.Detail, "may not be more than", "is longer than", 1), "shorten it"
	case field.ErrorTypeTooMany:
		x.message, x.remedy = strings.Replace(e.Detail, "must have at most", "has more than", 1), "remove some, or spread them over several objects"
	case field.ErrorTypeDuplicate:
		x.message, x.remedy = "repeats an earlier item of the list", "remove it, or give it a name or key of its own"
	case field.ErrorTypeForbidden:
		x.message, x.remedy = "is not allowed here: "+e.Detail, "remove it"
	default:
		x.explainInvalid(k, e.Detail)
	}
	return x
}

// explainInvalid words the errors that say what must hold in their detail only.
func (x *explanation) explainInvalid(k *kind, detail string) {
	if m := format.FindStringSubmatch(detail); m != nil {
		x.field = strings.TrimPrefix(m[2], ".")
		x.message, x.remedy = "must be a number that fits "+m[1], "use a smaller number"
		return
	}
	if message, remedy, ok := explainBound(detail); ok {
		x.message, x.remedy = message, remedy
		return
	}
	if message, remedy, ok := explainPattern(detail); ok {
		x.message, x.remedy = message, remedy
		return
	}
	// A rule that fails instead of saying no is told by its message all the same.
	if _, rule, ok := strings.Cut(detail, "evaluating rule: "); ok {
		detail = rule
	}
	x.message = shorten(detail)
	x.remedy = ruleRemedy(k, x.message, x.field)
	if strings.HasPrefix(x.message, "a ") {
		x.message = "is not valid: " + x.message
	}
}

// trimField removes what field paths carry for the object itself.
func trimField(path string) string {
	if path == "<nil>" {
		return ""
	}
	return strings.TrimPrefix(path, ".")
}

// explainEnum lists the allowed values, which the detail quotes.
func explainEnum(e *field.Error) (message, remedy string) {
	var allowed []string
	for _, m := range quoted.FindAllStringSubmatch(e.Detail, -1) {
		allowed = append(allowed, m[1])
	}
	message = "must be one of " + strings.Join(allowed, ", ")
	if len(allowed) == 1 {
		return "must be " + allowed[0], "write " + allowed[0]
	}
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
	case want == "integer" && got == "number":
		remedy = "write it without fraction"
	case want == "list":
		remedy = "start each item with a dash"
	case want == "object":
		remedy = "write its fields below it, indented"
	case got == "string" && want == "boolean":
		remedy = "write true or false, without quotes"
	case got == "string":
		remedy = "write a number, without quotes"
	default:
		remedy = "write a single value"
	}
	return message, remedy
}

var (
	quoted  = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	format  = regexp.MustCompile(`must be of type (?:integer|number) with format (\S+) in (\S+)$`)
	bound   = regexp.MustCompile(`should (be (?:less|greater) than(?: or equal to)?|be at least|be at most|have at least|have at most) (-?[0-9.e+]+)( chars long| items| properties)?$`)
	pattern = regexp.MustCompile(`(?s)should match '(.*)'$`)
)

// explainBound words the errors of numbers, lengths and counts.
func explainBound(detail string) (message, remedy string, ok bool) {
	m := bound.FindStringSubmatch(detail)
	if m == nil {
		return "", "", false
	}
	must, n, unit := m[1], m[2], strings.TrimSpace(m[3])
	if unit == "properties" {
		unit = "entries"
	}
	switch {
	case unit == "chars long" && n == "1":
		return "must not be empty", "give it a value", true
	case unit == "chars long":
		return "must " + must + " " + n + " characters long", "change its length", true
	case unit != "" && n == "1" && must == "have at least":
		return "must not be empty", "add an entry, or remove the field if it is optional", true
	case unit != "":
		return "must " + must + " " + n + " " + unit, "change the number of its entries", true
	case must == "be less than or equal to":
		return "must be at most " + n, "use " + n + " or less", true
	case must == "be greater than or equal to":
		return "must be at least " + n, "use " + n + " or more", true
	default:
		return "must " + must + " " + n, "change the number", true
	}
}

// shorten drops the regular expression and the examples that Kubernetes appends to
// the rules for names.
func shorten(detail string) string {
	detail, _, _ = strings.Cut(detail, " (e.g. ")
	detail, _, _ = strings.Cut(detail, ", regex used for validation is")
	return detail
}
