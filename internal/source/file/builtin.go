package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"crossfade.dev/internal/translate"
	kjson "sigs.k8s.io/json"
)

// decodeBuiltin reads v, an object of one of Kubernetes' own kinds.
func (d *document) decodeBuiltin(v map[string]any) {
	o := d.kind.new()
	rest := maps.Clone(v)
	delete(rest, "metadata") // its unknown fields are reported already
	if strict, err := kjson.UnmarshalStrict(mustJSON(rest), d.kind.new(), kjson.DisallowUnknownFields); err == nil {
		d.reportUnknown(strict, nil)
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(mustJSON(v), o); err != nil {
		d.reportMisfit(v, func() any { return d.kind.new() })
		return
	}
	if d.kind.complete != nil {
		d.kind.complete(o)
	}
	if d.kind.check != nil {
		d.reportFields(d.kind.check(o))
	}
	if !d.failed() {
		for _, a := range advise(o) {
			d.report(translate.Warning, a.field, a.message, a.remedy)
		}
	}
	d.object = o
}

// reportMisfit reports the field of v whose value does not fit the Go type that
// fresh returns pointers to. Decoders do not say which one it is where a type
// decodes itself, so the smallest part of v that fails is looked for.
func (d *document) reportMisfit(v map[string]any, fresh func() any) {
	fits := func(part any) error { return json.Unmarshal(mustJSON(part), fresh()) }
	path, value, err := narrow("", v, func(part any) any { return part }, fits)
	if err == nil {
		err = errors.New("does not fit")
	}
	message, remedy := explainMisfit(value, err)
	d.report(translate.Error, path, message, remedy)
}

// narrow returns the smallest part of v, a value at path, for which fits fails.
// whole puts a part into an otherwise empty object.
func narrow(path string, v any, whole func(any) any, fits func(any) error) (string, any, error) {
	err := fits(whole(v))
	switch v := v.(type) {
	case map[string]any:
		if fits(whole(map[string]any{})) != nil {
			return path, v, err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			in := func(part any) any { return whole(map[string]any{key: part}) }
			if fits(in(v[key])) != nil {
				return narrow(joinField(path, key), v[key], in, fits)
			}
		}
	case []any:
		if fits(whole([]any{})) != nil {
			return path, v, err
		}
		for i := range v {
			in := func(part any) any { return whole([]any{part}) }
			if fits(in(v[i])) != nil {
				return narrow(fmt.Sprintf("%s[%d]", path, i), v[i], in, fits)
			}
		}
	}
	return path, v, err
}

// joinField appends a key to a path, in brackets when it holds dots.
func joinField(path, key string) string {
	switch {
	case strings.ContainsAny(key, ".[]"):
		return path + "[" + key + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// explainMisfit words the error of a decoder without the value.
func explainMisfit(v any, err error) (message, remedy string) {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) && t.Type != nil {
		if want := goType(t.Type); want != "" && want != jsonType(v) {
			return wrongType(want, jsonType(v))
		}
	}
	if strings.Contains(err.Error(), "base64") {
		return "is not base64", "encode it (base64 -w0 FILE), or put the text as it is under stringData"
	}
	if strings.Contains(err.Error(), "quantit") {
		return "is not a quantity", "write a number with a unit, such as 500m, 2 or 30Gi"
	}
	if strings.Contains(err.Error(), "parsing time") {
		return "is not a time", "write it as 2006-01-02T15:04:05Z"
	}
	return "has a value that does not fit this field", "look the field up in the Kubernetes API reference"
}

// goType names the JSON type that a Go type is read from, "" when it may be more
// than one.
func goType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string" // base64
		}
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.Pointer:
		return goType(t.Elem())
	}
	return ""
}

// mustJSON renders a value that came from JSON.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
