package file

import (
	"cmp"
	"fmt"
	"slices"

	"crossfade.dev/internal/translate"
)

// document is one object of a file as far as it can be judged alone. It does not
// change once it is decoded.
type document struct {
	place place
	lines *lines
	kind  *kind // nil when the kind is not known
	ref   translate.ObjectRef

	// object is nil when the document is not a valid object of a known kind. Its
	// age and generation are still open.
	object object
	// content is the object of a custom kind as JSON with all defaults, for rules
	// that compare it with its former self.
	content map[string]any
	version string // as written, of a custom kind
	// spec is a digest of all but metadata and status.
	spec       [32]byte
	unhonoured []string            // fields of a foreign kind that we know nothing of
	problems   []translate.Problem // in order of lines when finished
	dropped    int                 // problems beyond maxDocumentProblems
	found      map[translate.Problem]place
}

// unknown reports whether the document is an object of a kind that is not read.
func (d *document) unknown() bool { return d.kind == nil && d.ref.Kind != "" }

// named reports whether the document says which object it is.
func (d *document) named() bool { return d.ref.Kind != "" && d.ref.Name != "" }

// report adds a problem of the document.
func (d *document) report(s translate.Severity, field, message, remedy string) {
	if len(d.problems) >= maxDocumentProblems {
		d.dropped++
		return
	}
	d.reportAt(d.lines.at(field), s, field, message, remedy)
}

func (d *document) reportAt(at place, s translate.Severity, field, message, remedy string) {
	p := translate.Problem{Severity: s, Ref: d.ref, Field: field, Message: message, Remedy: remedy, Origin: at.String()}
	if _, known := d.found[p]; known {
		return
	}
	if d.found == nil {
		d.found = map[translate.Problem]place{}
	}
	d.found[p] = at
	d.problems = append(d.problems, p)
}

// finish puts the problems in the order of their lines and closes the list.
func (d *document) finish() {
	slices.SortStableFunc(d.problems, func(a, b translate.Problem) int {
		return cmp.Or(cmp.Compare(d.found[a].line, d.found[b].line), cmp.Compare(a.Field, b.Field))
	})
	if d.dropped == 0 {
		return
	}
	d.problems = append(d.problems, translate.Problem{
		Severity: worst(d.problems),
		Ref:      d.ref,
		Message:  fmt.Sprintf("has %d more problems", d.dropped),
		Remedy:   "correct those above first",
		Origin:   d.place.String(),
	})
}

// failed reports whether the document has an error.
func (d *document) failed() bool {
	return len(d.problems) > 0 && worst(d.problems) == translate.Error
}

func worst(problems []translate.Problem) translate.Severity {
	for _, p := range problems {
		if p.Severity == translate.Error {
			return translate.Error
		}
	}
	return translate.Warning
}

// fileRef names a file where a problem has no object.
func fileRef(path string) translate.ObjectRef {
	return translate.ObjectRef{Kind: "File", Name: path}
}

// fileProblem is an error about a file rather than an object.
func fileProblem(at place, message, remedy string) translate.Problem {
	return translate.Problem{
		Severity: translate.Error,
		Ref:      fileRef(at.path),
		Message:  message,
		Remedy:   cmp.Or(remedy, "correct the file"),
		Origin:   at.String(),
	}
}
