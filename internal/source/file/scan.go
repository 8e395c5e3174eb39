package file

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"golang.org/x/sync/errgroup"
)

// reader turns what stands below its paths into updates, and remembers what it
// needs to keep last good forms. It is used from one goroutine.
type reader struct {
	paths []string
	files map[string]*readFile // by path
	state state
	last  *source.Update
	// problems are those of the walk behind last.
	problems []translate.Problem
}

func newReader(paths []string) *reader {
	return &reader{paths: paths, files: map[string]*readFile{}}
}

// readFile is one file as it was last read.
type readFile struct {
	path string
	info fs.FileInfo
	at   time.Time // when it was read
	sum  [sha256.Size]byte
	// contents are in force: those of the last read, or the last good ones.
	contents *contents
	whole    bool // contents parsed in full
	problems []translate.Problem
}

// settleTime is how much older than the moment of reading a file's modification
// time must be before an equal time means an equal file. It is well above the
// granularity of file systems.
const settleTime = time.Second

// read returns the update for what w found and whether it differs from the one
// before.
func (r *reader) read(w *walked) (source.Update, bool) {
	changed := r.readAll(w.files)
	problems := append(w.problems, r.absent(w)...)
	if r.last != nil && !changed && reflect.DeepEqual(problems, r.problems) {
		return *r.last, false
	}
	inputs := []input{{contents: &contents{}, problems: problems}}
	for _, f := range w.files {
		rf := r.files[f.path]
		inputs = append(inputs, input{contents: rf.contents, problems: rf.problems})
	}
	update, state := merge(inputs, r.state)
	same := r.last != nil && reflect.DeepEqual(update, *r.last)
	r.state, r.last, r.problems = state, &update, problems
	return update, !same
}

// absent returns the problems of paths that hold nothing.
func (r *reader) absent(w *walked) []translate.Problem {
	var out []translate.Problem
	for _, p := range w.missing {
		out = append(out, fileProblem(place{p, 0}, "is gone, and its objects with it", "restore it, or restart without it"))
	}
	if len(w.files) == 0 && len(w.missing) == 0 && len(w.problems) == 0 {
		p := fileProblem(place{r.paths[0], 0}, "holds no .yaml, .yml or .json file", "add one, or name another folder")
		p.Severity = translate.Warning
		out = append(out, p)
	}
	return out
}

// readAll reads the files that changed, forgets those that are gone and reports
// whether there were any of either.
func (r *reader) readAll(files []found) bool {
	now := make(map[string]*readFile, len(files))
	results := make([]bool, len(files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		rf := r.files[f.path]
		if rf == nil {
			rf = &readFile{path: f.path, contents: &contents{path: f.path}}
		}
		now[f.path] = rf
		g.Go(func() error {
			results[i] = rf.refresh(f.info)
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	changed := len(now) != len(r.files)
	for i, f := range files {
		changed = changed || results[i] || r.files[f.path] == nil
	}
	r.files = now
	return changed
}

// refresh reads the file again if it may have changed and reports whether it did.
func (f *readFile) refresh(info fs.FileInfo) bool {
	if f.info != nil && f.settled() && sameFile(f.info, info) {
		return false
	}
	at := time.Now()
	data, err := readRegular(f.path)
	f.info, f.at = info, at
	if err != nil {
		f.sum = [sha256.Size]byte{} // read anew as soon as it can be
		return f.refuse(fileProblem(place{f.path, 0}, err.Error(), "make it readable, or remove it"))
	}
	sum := sha256.Sum256(data)
	if sum == f.sum {
		return false
	}
	f.sum = sum
	c := decode(f.path, data)
	if len(c.broken) > 0 && f.whole {
		return f.refuse(c.broken...)
	}
	f.contents, f.whole, f.problems = c, len(c.broken) == 0, c.broken
	return true
}

// refuse keeps what is in force, for the reasons given.
func (f *readFile) refuse(why ...translate.Problem) bool {
	if f.whole {
		for i := range why {
			why[i].Message += "; the file's last good content stays in force"
		}
	}
	same := reflect.DeepEqual(f.problems, why)
	f.problems = why
	return !same
}

// settled reports whether an unchanged modification time proves an unchanged file:
// a file can be written twice within one tick of its clock.
func (f *readFile) settled() bool {
	age := f.at.Sub(f.info.ModTime())
	return age > settleTime || age < -settleTime
}

func sameFile(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// readRegular returns the bytes of a file of at most maxFileSize.
func readRegular(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %s", reason(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %s", reason(err))
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("is larger than %d MiB", maxFileSize>>20)
	}
	return data, nil
}
