package sim

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files with what the server answers")

// TestGolden plays the conversations in testdata. Each file has a comment that
// says what it is about, a file "server" with the command line, and pairs of
// "request" and "response". The clock is the bubble's and starts at
// 2000-01-01, so times and identifiers repeat.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			if !*update {
				want = txtar.Format(archive)
			}
			synctest.Test(t, func(t *testing.T) { playArchive(t, archive) })
			got := txtar.Format(archive)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// playArchive replaces every response by what the server answers.
func playArchive(t *testing.T, a *txtar.Archive) {
	var server http.Handler
	var files []txtar.File
	for _, f := range a.Files {
		switch f.Name {
		case "server":
			cfg, ok, err := ParseCommand([]string{"sh", "-c", string(f.Data)}, nil)
			if err != nil || !ok {
				t.Fatalf("server: ok %v, error %v", ok, err)
			}
			server = New(cfg, Options{Seed: 1, Name: "pod-1"}).Handler()
			files = append(files, f)
		case "request":
			files = append(files, f, txtar.File{Name: "response", Data: answerTo(t, server, f.Data)})
		case "response":
		default:
			t.Fatalf("unexpected file %s", f.Name)
		}
	}
	a.Files = files
}

// answerTo sends a request: a line with method and path, header lines, an empty
// line and a body.
func answerTo(t *testing.T, server http.Handler, request []byte) []byte {
	head, body, _ := bytes.Cut(request, []byte("\n\n"))
	line, header, _ := strings.Cut(strings.TrimSpace(string(head)), "\n")
	method, path, ok := strings.Cut(line, " ")
	if !ok {
		t.Fatalf("bad request line %q", line)
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for scan := bufio.NewScanner(strings.NewReader(header)); scan.Scan(); {
		name, value, _ := strings.Cut(scan.Text(), ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", w.Code, http.StatusText(w.Code))
	for _, name := range []string{"Server", "Content-Type", "Allow"} {
		if v := w.Header().Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "\n%s", w.Body)
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes()
}
