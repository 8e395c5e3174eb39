package file

import (
	"crypto/sha256"
	"errors"
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
	// quiet is how long a file must not have been written to before it is read
	// again; 0 reads at once.
	quiet time.Duration
	// postponed says that something was too young to be believed, and that it is
	// worth another look after quiet.
	postponed bool
	// gone is since when files are missing that have not been given up yet.
	gone time.Time

	files map[string]*readFile // by path
	state state
	last  *source.Update
	// problems are those of the walk behind last.
	problems []translate.Problem
}

func newReader(paths []string, quiet time.Duration) *reader {
	return &reader{paths: paths, quiet: quiet, files: map[string]*readFile{}}
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
	// waiting is since when a newer text is waited for to be complete.
	waiting time.Time
}

// patience is how long a file that is written to all the time is left alone.
const patience = 500 * time.Millisecond

// settleTime is how much older than the moment of reading a file's modification
// time must be before an equal time means an equal file. It is well above the
// granularity of file systems.
const settleTime = time.Second

// read returns the update for what w found and whether it differs from the one
// before.
func (r *reader) read(w *walked) (source.Update, bool) {
	if r.awaitsFiles(w.files) {
		r.postponed = true
		return *r.last, false
	}
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

// awaitsFiles reports whether files are missing that may only be on the way to
// being replaced, as by editors that move the old text aside first.
func (r *reader) awaitsFiles(files []found) bool {
	known := 0
	for _, f := range files {
		if r.files[f.path] != nil {
			known++
		}
	}
	now := time.Now()
	switch {
	case known == len(r.files):
		r.gone = time.Time{}
		return false
	case r.gone.IsZero():
		r.gone = now
	}
	return now.Sub(r.gone) < r.quiet
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
	results := make([]struct{ changed, postponed bool }, len(files))
	quiet := r.quiet
	if r.last == nil {
		quiet = 0 // the first picture is wanted at once
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		rf := r.files[f.path]
		if rf == nil {
			rf = &readFile{path: f.path, contents: &contents{path: f.path}}
		}
		now[f.path] = rf
		g.Go(func() error {
			results[i].changed, results[i].postponed = rf.refresh(f.info, quiet)
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	changed := len(now) != len(r.files)
	r.postponed = false
	for i, f := range files {
		changed = changed || results[i].changed || r.files[f.path] == nil
		r.postponed = r.postponed || results[i].postponed
	}
	r.files = now
	return changed
}

// refresh reads the file again if it may have changed and reports whether it did,
// or whether it was too young to tell.
func (f *readFile) refresh(info fs.FileInfo, quiet time.Duration) (changed, postponed bool) {
	at := time.Now()
	if f.info != nil && f.settled() && sameFile(f.info, info) {
		return false, false
	}
	if f.young(info, at, quiet) {
		return false, true
	}
	data, after, err := readRegular(f.path)
	if err == nil && f.young(after, time.Now(), quiet) { // written to meanwhile
		return false, true
	}
	f.info, f.at, f.waiting = info, at, time.Time{}
	return f.take(data, err), false
}

// young reports whether the file was written to so lately that more may follow,
// such as the text after a truncation. What is written to without end is read at
// last.
func (f *readFile) young(info fs.FileInfo, at time.Time, quiet time.Duration) bool {
	age := at.Sub(info.ModTime())
	if age < 0 || age >= quiet || f.info != nil && sameFile(f.info, info) {
		return false // or its time is not of our clock
	}
	if f.waiting.IsZero() {
		f.waiting = at
	}
	return at.Sub(f.waiting) < patience
}

// take puts what was read in force, if it can be, and reports whether it says
// anything new.
func (f *readFile) take(data []byte, err error) bool {
	if err != nil {
		f.sum = [sha256.Size]byte{} // read anew as soon as it can be
		return f.refuse(fileProblem(place{f.path, 0}, err.Error(), "make it readable, or remove it"))
	}
	sum := sha256.Sum256(data)
	if sum == f.sum {
		return false
	}
	f.sum = sum
	if len(data) == 0 && len(f.contents.documents) > 0 {
		// Who writes a file empties it first; who deletes objects rarely does.
		return f.refuse(fileProblem(place{f.path, 0}, "is empty", "to remove its objects delete it, or leave a comment in it"))
	}
	c := decode(f.path, data)
	if len(c.broken) > 0 && f.whole {
		return f.refuse(c.broken...)
	}
	f.contents, f.whole, f.problems = c, len(c.broken) == 0, c.broken
	return true
}

// refuse keeps what is in force, for the reasons given.
func (f *readFile) refuse(why ...translate.Problem) bool {
	if len(f.contents.documents) > 0 {
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

// readRegular returns the bytes of a file of at most maxFileSize, and its state
// after they were read.
func readRegular(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be read: %s", reason(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil, errors.New("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be read: %s", reason(err))
	}
	if len(data) > maxFileSize {
		return nil, nil, fmt.Errorf("is larger than %d MiB", maxFileSize>>20)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be read: %s", reason(err))
	}
	return data, after, nil
}
