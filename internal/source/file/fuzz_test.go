package file

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzDecode feeds any bytes through all stages, as a file of either format: nothing
// panics, every object in force is named and of age, every problem tells place and
// remedy, and their number is bounded.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Add([]byte("a: &a [*a]\nb: *a"))
	f.Add([]byte("---\n...\n%YAML 1.1\n--- |\n  x\n"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[{"kind":"List","items":[1]}]}`))
	f.Add([]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {crossfade.dev/address: \"1=a:1,1=b:1,,\"}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, path := range []string{"f.yaml", "f.json"} {
			c := decode(path, data)
			if len(c.documents) > maxDocuments {
				t.Fatalf("%d documents", len(c.documents))
			}
			u, now := merge([]input{{contents: c, problems: c.broken}}, nil)
			for _, p := range u.Problems {
				if p.Message == "" || p.Remedy == "" || p.Origin == "" || p.Ref.Kind == "" {
					t.Errorf("incomplete problem: %+v", p)
				}
			}
			if len(u.Problems) > maxProblems+1 {
				t.Errorf("%d problems", len(u.Problems))
			}
			for _, o := range objectsOf(u.Resources) {
				if o.GetName() == "" || o.GetCreationTimestamp().Time.IsZero() || o.GetGeneration() != 1 {
					t.Errorf("object %q: created %s, generation %d", o.GetName(), o.GetCreationTimestamp(), o.GetGeneration())
				}
			}
			again, _ := merge([]input{{contents: decode(path, data)}}, now)
			if len(again.Origins) != len(u.Origins) {
				t.Errorf("read again: %d objects, before %d", len(again.Origins), len(u.Origins))
			}
		}
	})
}

// seed adds the files of all cases.
func seed(f *testing.F) {
	f.Helper()
	guide, err := filepath.Glob("testdata/gray-release/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range guide {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			if isManifest(file.Name) {
				f.Add(file.Data)
			}
		}
	}
}

// FuzzSplit checks that documents are cut from the text without loss or overlap,
// and that their lines are those of the text.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("a: 1\n---\nb: 2\n--- # c\n...\nd"))
	f.Add([]byte("\uFEFF---\r\na\r\n---\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		end := 0
		for _, c := range split(data) {
			if c.line <= c.before || c.line <= end {
				t.Errorf("content at line %d, after %d lines; the document before ended at %d", c.line, c.before, end)
			}
			end = c.before
			for _, b := range c.text {
				if b == '\n' {
					end++
				}
			}
		}
	})
}
