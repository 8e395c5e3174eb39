package llm

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestOutcomeTimes(t *testing.T) {
	o := Outcome{Start: instant(0), End: instant(1000), Report: Report{
		FirstToken: instant(200), LastToken: instant(900), Tokens: 8, ContentEvents: 8,
	}}
	if d := o.Duration(); d != time.Second {
		t.Errorf("duration %v", d)
	}
	if d, ok := o.TimeToFirstToken(); d != 200*time.Millisecond || !ok {
		t.Errorf("first token %v, %v", d, ok)
	}
	if d, ok := o.TimePerOutputToken(); d != 100*time.Millisecond || !ok {
		t.Errorf("per token %v, %v", d, ok)
	}
	o.Report.ContentEvents = 1 // all in one piece: no time per token to see
	if _, ok := o.TimePerOutputToken(); ok {
		t.Error("one event has a time per token")
	}
	o.Report = Report{}
	if _, ok := o.TimeToFirstToken(); ok {
		t.Error("no content has a first token")
	}
	if _, ok := o.TimePerOutputToken(); ok {
		t.Error("no content has a time per token")
	}
}

// TestReasons requires that Reasons lists every constant of reason.go, once,
// spelled as a label value.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(gotoken.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			s, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, s)
		}
		return true
	})
	if got := Reasons(); !slices.Equal(got, declared) {
		t.Errorf("declared %q\n listed %q", declared, got)
	}
	slices.Sort(declared)
	if len(slices.Compact(slices.Clone(declared))) != len(declared) {
		t.Errorf("a reason is declared twice: %q", declared)
	}
	for _, r := range declared {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(r) {
			t.Errorf("%q is no label value", r)
		}
	}
}
