package file

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// syntaxError says why a document is not YAML or JSON.
type syntaxError struct {
	line    int // within the document, counted from 1; 0 when unknown
	message string
	remedy  string
}

func (e *syntaxError) Error() string { return e.message }

// repeated is a key that stands twice in one mapping; the last one counts.
type repeated struct {
	key  string
	line int // within the document, 0 when unknown
}

// parseYAML turns the text of one YAML document into a JSON value.
func parseYAML(text []byte) (any, []repeated, error) {
	if err := checkSize(text); err != nil {
		return nil, nil, err
	}
	var twice []repeated
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		if twice = repeatedKeys(err); len(twice) > 0 {
			raw, err = yaml.YAMLToJSON(text)
		}
	}
	if err != nil {
		return nil, nil, asSyntaxError(err)
	}
	v, _, err := parseJSON(raw)
	return v, twice, err
}

// parseJSON reads one JSON value, whole numbers as int64.
func parseJSON(raw []byte) (any, []repeated, error) {
	if depth(raw) > maxNesting {
		return nil, nil, &syntaxError{message: fmt.Sprintf("fields and lists are nested more than %d deep", maxNesting), remedy: "make the object flatter"}
	}
	var v any
	strict, err := kjson.UnmarshalStrict(raw, &v, kjson.DisallowDuplicateFields)
	if err != nil {
		e := &syntaxError{message: "is not JSON: " + err.Error(), remedy: "correct the text there"}
		if ok, offset := kjson.SyntaxErrorOffset(err); ok {
			e.line = 1 + bytes.Count(raw[:min(int(offset), len(raw))], []byte("\n"))
		}
		return nil, nil, e
	}
	var twice []repeated
	for _, s := range strict {
		var f kjson.FieldError
		if errors.As(s, &f) {
			twice = append(twice, repeated{key: f.FieldPath()})
		}
	}
	return v, twice, nil
}

// depth returns how deep the objects and lists of a JSON text are nested.
func depth(raw []byte) int {
	deepest, now, quoted := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// checkSize refuses documents that are too large, or would be once every alias is
// replaced by what it stands for. (YAML libraries bound the number of values that
// aliases make, not their size.)
func checkSize(text []byte) error {
	if err := checkLength(text); err != nil {
		return err
	}
	if !bytes.ContainsRune(text, '*') || !bytes.ContainsRune(text, '&') {
		return nil
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(text, &root); err != nil {
		return asSyntaxError(err)
	}
	if expandedSize(&root, map[*yamlv3.Node]int{}) > maxExpansion {
		return &syntaxError{message: fmt.Sprintf("its YAML aliases expand to more than %d MiB", maxExpansion>>20), remedy: "write the values out, or use fewer aliases"}
	}
	return nil
}

func checkLength(text []byte) error {
	if len(text) > maxDocumentSize {
		return &syntaxError{message: fmt.Sprintf("the document is larger than %d MiB", maxDocumentSize>>20), remedy: "split it into several objects"}
	}
	return nil
}

// expandedSize returns about how many bytes n takes once its aliases are replaced,
// or a number above maxExpansion. An alias inside its own anchor is endless.
func expandedSize(n *yamlv3.Node, sizes map[*yamlv3.Node]int) int {
	if size, ok := sizes[n]; ok {
		return size
	}
	sizes[n] = maxExpansion + 1 // while it is being measured
	size := len(n.Value) + 8
	if n.Alias != nil {
		size += expandedSize(n.Alias, sizes)
	}
	for _, child := range n.Content {
		if size += expandedSize(child, sizes); size > maxExpansion {
			break
		}
	}
	sizes[n] = min(size, maxExpansion+1)
	return sizes[n]
}

var (
	repeatedKey = regexp.MustCompile(`^\s*line (\d+): key "?(.*?)"? already set in map$`)
	lineNumber  = regexp.MustCompile(`^line (\d+): `)
)

// repeatedKeys returns the keys that err complains of, or nil when it complains of
// anything else.
func repeatedKeys(err error) []repeated {
	_, list, ok := strings.Cut(err.Error(), "unmarshal errors:\n")
	if !ok {
		return nil
	}
	var out []repeated
	for l := range strings.SplitSeq(list, "\n") {
		m := repeatedKey.FindStringSubmatch(l)
		if m == nil {
			return nil
		}
		line, _ := strconv.Atoi(m[1])
		out = append(out, repeated{key: m[2], line: line})
	}
	return out
}

// asSyntaxError words an error of the YAML libraries for a person.
func asSyntaxError(err error) *syntaxError {
	text := err.Error()
	if i := strings.Index(text, "yaml: "); i >= 0 {
		text = text[i+len("yaml: "):]
	}
	e := &syntaxError{}
	if m := lineNumber.FindStringSubmatch(text); m != nil {
		e.line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	text, _, _ = strings.Cut(text, "\n")
	e.message = "is not YAML: " + text
	e.remedy = yamlRemedy(text)
	return e
}

func yamlRemedy(text string) string {
	for _, r := range []struct{ part, remedy string }{
		{"cannot start any token", "indent with spaces, not tabs, and quote values that start with a special character"},
		{"mapping values are not allowed", "check the indentation, and quote a value that contains \": \""},
		{"could not find expected ':'", "check the indentation, and that every field has a colon"},
		{"did not find expected key", "check the indentation of the lines around it"},
		{"did not find expected '-' indicator", "give every item of the list the same indentation"},
		{"unknown anchor", "define the anchor before its alias, in the same document"},
		{"excessive aliasing", "write the values out, or use fewer aliases"},
		{"control characters", "save the file as plain UTF-8 text"},
		{"UTF-8", "save the file as plain UTF-8 text"},
	} {
		if strings.Contains(text, r.part) {
			return r.remedy
		}
	}
	return "correct the text around it"
}
