package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files in api/crd are what the generator makes of the modules in go.mod.
func TestFilesAreCurrent(t *testing.T) {
	out := t.TempDir()
	if err := generate(out); err != nil {
		t.Fatal(err)
	}
	for _, src := range sources() {
		for _, name := range src.files {
			want, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("../../api/crd", name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("api/crd/%s is out of date: run go generate ./api/crd", name)
			}
		}
	}
}

// The chart's files are what the generator makes of those in api/crd and of the
// modules in go.mod.
func TestChartIsCurrent(t *testing.T) {
	const chart = "../../deploy/helm/crossfade/crds"
	out := t.TempDir()
	if err := install("../../api/crd", out); err != nil {
		t.Fatal(err)
	}
	want, got := tree(t, out), tree(t, chart)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s/%s is out of date: run go generate ./api/crd", chart, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s/%s is nothing the generator makes", chart, name)
		}
	}
}

// tree returns the files below a folder.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, folder+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A description is prose wherever a schema may have one, and a field where it is
// the name of a property.
func TestStrip(t *testing.T) {
	const in = `
kind: CustomResourceDefinition # a comment
spec:
  schema:
    description: prose
    properties:
      description:
        description: prose
        type: string
      properties:
        description: prose
        properties:
          description: {description: prose, type: string}
    items:
      description: prose
      x-kubernetes-validations:
      - rule: "self > 0"
status: {}
`
	const want = `kind: CustomResourceDefinition
spec:
  schema:
    properties:
      description:
        type: string
      properties:
        properties:
          description: {type: string}
    items:
      x-kubernetes-validations:
      - rule: "self > 0"
`
	got, err := strip([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
