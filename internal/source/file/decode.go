package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// contents is what one text of one file holds.
type contents struct {
	path      string
	documents []*document
	// broken are the reasons why the file does not parse, or not all of it.
	broken []translate.Problem
}

// decode reads the text of a file. Documents that parse are there even when others
// do not.
func decode(path string, data []byte) (c *contents) {
	c = &contents{path: path}
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		c.fail(place{path, 0}, "is UTF-16 text", "save it as UTF-8")
	case filepath.Ext(path) == ".json":
		c.decodeJSON(data)
	default:
		for _, ch := range split(data) {
			v, twice, err := parseYAML(ch.text)
			c.decodeChunk(ch, v, twice, err)
		}
	}
	return c
}

func (c *contents) fail(at place, message, remedy string) {
	if len(c.broken) < maxDocumentProblems {
		c.broken = append(c.broken, fileProblem(at, message, remedy))
	}
}

// decodeJSON reads JSON values that follow each other.
func (c *contents) decodeJSON(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		from := int(d.InputOffset())
		from += len(data[from:]) - len(bytes.TrimLeft(data[from:], " \t\r\n"))
		before := bytes.Count(data[:from], []byte("\n"))
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return
		}
		ch := chunk{text: raw, before: before, line: before + 1}
		if err != nil { // the decoder cannot go on, and a twin of it counts lines
			if _, _, lined := parseJSON(data[from:]); lined != nil {
				err = lined
			}
			ch.text = nil
			c.decodeChunk(ch, nil, nil, err)
			return
		}
		v, twice, err := parseJSON(raw)
		if tooLarge := checkLength(raw); tooLarge != nil {
			err = tooLarge
		}
		c.decodeChunk(ch, v, twice, err)
	}
}

// decodeChunk adds the objects of one document, which holds the value v.
func (c *contents) decodeChunk(ch chunk, v any, twice []repeated, err error) {
	l := newLines(c.path, ch)
	if err != nil {
		var s *syntaxError
		if !errors.As(err, &s) {
			s = &syntaxError{message: err.Error()}
		}
		c.fail(l.within(s.line), s.message, s.remedy)
		return
	}
	if v == nil {
		return
	}
	first := len(c.documents)
	c.decodeValue(l, v)
	for i, d := range c.documents[first:] {
		if i == 0 {
			d.reportRepeated(twice)
		}
		d.finish()
	}
}

// reportRepeated warns of keys that stand twice in one mapping.
func (d *document) reportRepeated(twice []repeated) {
	for _, r := range twice[:min(len(twice), maxDocumentProblems)] {
		d.reportAt(d.lines.within(r.line), translate.Warning, r.key, "stands twice in the same place; the last one counts", "remove one of the two")
	}
}

// decodeValue adds the object v, or the objects of v when it is a List.
func (c *contents) decodeValue(l *lines, v any) {
	if len(c.documents) >= maxDocuments {
		if len(c.documents) == maxDocuments {
			c.fail(l.at(""), fmt.Sprintf("holds more than %d objects", maxDocuments), "split it into several files")
		}
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		c.fail(l.at(""), "the document is not an object but "+article(jsonType(v)), "give it apiVersion, kind, metadata and spec")
		return
	}
	if items, isList := m["items"].([]any); isList && m["kind"] == "List" {
		for i, item := range items {
			c.decodeValue(l.itemAt(i), item)
		}
		return
	}
	d := decodeObject(l, m)
	if !d.named() {
		// A file that is only half written may end in the middle of a name.
		c.broken = append(c.broken, d.problems[:min(len(d.problems), maxDocumentProblems-min(len(c.broken), maxDocumentProblems))]...)
		return
	}
	c.documents = append(c.documents, d)
}

// decodeObject judges one object. Third-party code reads what may be anything, so
// a panic there costs this object only.
func decodeObject(l *lines, v map[string]any) (d *document) {
	d = &document{place: l.at(""), lines: l}
	defer func() {
		if r := recover(); r != nil {
			d.object = nil
			d.report(translate.Error, "", "cannot be read: an internal check failed", "report this object to the authors of Crossfade")
		}
	}()
	if !d.identify(v) {
		return d
	}
	meta, ok := d.decodeMetadata(v)
	if !ok {
		return d
	}
	if d.kind.schemas != nil {
		d.decodeCustom(v)
	} else {
		d.decodeBuiltin(v)
	}
	d.spec = digest(v)
	if d.failed() {
		d.object = nil
	}
	if d.object == nil {
		return d
	}
	group, version, _ := strings.Cut(d.kind.apiVersion(), "/")
	if version == "" {
		group, version = "", group
	}
	d.object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: d.kind.name})
	meta.apply(d.object)
	return d
}

// identify finds the kind of v and names the object as far as it can.
func (d *document) identify(v map[string]any) bool {
	apiVersion, _ := v["apiVersion"].(string)
	name, _ := v["kind"].(string)
	meta, _ := v["metadata"].(map[string]any)
	d.ref.Name, _ = meta["name"].(string)
	d.ref.Namespace, _ = meta["namespace"].(string)
	if apiVersion == "" || name == "" {
		d.notAnObject(apiVersion, name)
		return false
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	d.ref.Group, d.ref.Kind = gv.Group, name
	if err != nil {
		d.report(translate.Error, "apiVersion", "is not of the form group/version", "correct it")
		d.ref.Kind = ""
		return false
	}
	d.kind = findKind(gv.Group, name)
	switch {
	case d.kind == nil:
	case d.kind.cluster:
		d.ref.Namespace = ""
	case d.ref.Namespace == "":
		d.ref.Namespace = defaultNamespace
	}
	if d.kind != nil && !d.kind.reads(gv.Version) {
		d.report(translate.Error, "apiVersion", fmt.Sprintf("version %s of %s is not one Crossfade reads", gv.Version, name),
			"use "+d.kind.apiVersion())
		return false
	}
	d.version = gv.Version
	return d.kind != nil
}

// notAnObject reports a document that lacks its type.
func (d *document) notAnObject(apiVersion, kind string) {
	d.ref.Kind = kind
	if kind == "" {
		d.ref = fileRef(d.place.path)
	}
	switch {
	case apiVersion == "" && kind == "":
		d.report(translate.Error, "", "a document without apiVersion and kind is not a Kubernetes object", "add both, or keep the file elsewhere")
	case kind == "":
		d.report(translate.Error, "kind", "is missing, or not text", "add it, as in kind: HTTPRoute")
	default:
		d.report(translate.Error, "apiVersion", "is missing, or not text", "add it"+example(kind))
	}
	d.ref.Kind, d.kind = "", nil
}

func example(kind string) string {
	if k := namesake(kind); k != nil {
		return ", as in apiVersion: " + k.apiVersion()
	}
	return ""
}

// digest identifies all of an object but its metadata, status and apiVersion.
func digest(v map[string]any) [32]byte {
	rest := make(map[string]any, len(v))
	for key, value := range v {
		switch key {
		case "apiVersion", "metadata", "status":
		default:
			rest[key] = value
		}
	}
	text, err := json.Marshal(rest) // keys sorted
	if err != nil {
		panic(err) // v came from JSON
	}
	return sha256.Sum256(text)
}

// jsonType names the type of a JSON value as a person would.
func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "boolean"
	case string:
		return "string"
	case int64:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "list"
	default:
		return "object"
	}
}

// article puts a or an before a noun.
func article(noun string) string {
	switch {
	case noun == "nothing":
		return noun
	case strings.ContainsAny(noun[:1], "aeiou"):
		return "an " + noun
	default:
		return "a " + noun
	}
}
