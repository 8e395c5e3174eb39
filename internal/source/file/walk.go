package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"crossfade.dev/internal/translate"
)

// found is one file to read.
type found struct {
	path string // as given, or below a folder as given
	info fs.FileInfo
}

// walked is what stands below the paths given.
type walked struct {
	files    []found
	missing  []string // paths given that do not exist
	problems []translate.Problem
	// folders to watch: all that was looked into, and those that hold the paths
	// given and the links on the way to them.
	folders map[string]bool

	seen    map[string]bool // real paths of files and folders met
	entries int
	full    bool
}

// walk finds the files below paths.
func walk(paths []string) *walked {
	w := &walked{folders: map[string]bool{}, seen: map[string]bool{}}
	for _, p := range paths {
		w.watchLinks(p)
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			w.missing = append(w.missing, p)
		case err != nil:
			w.problem(p, "cannot be read: "+reason(err), "check its permissions")
		case info.IsDir():
			w.folder(p, 0)
		case info.Mode().IsRegular():
			w.file(p, info)
		default:
			w.problem(p, "is neither a file nor a folder", "name files or folders")
		}
	}
	return w
}

func (w *walked) problem(path, message, remedy string) {
	w.problems = append(w.problems, fileProblem(place{path, 0}, message, remedy))
}

// reason is an error of the file system without the path, which is named already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// watchLinks watches the folder of path and of every link on the way to what it
// stands for, so that replacing any of them is noticed.
func (w *walked) watchLinks(path string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	w.watch(filepath.Dir(abs))
	for p, links := abs, 0; p != filepath.Dir(p) && links < maxDepth; {
		target, err := os.Readlink(p)
		if err != nil { // no link
			p = filepath.Dir(p)
			continue
		}
		links++
		w.watch(filepath.Dir(p))
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(p), target)
		}
		p = filepath.Clean(target)
	}
}

// watch watches the folder that path stands for now: a watch of a link would stay
// with what the link once was.
func (w *walked) watch(path string) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		w.folders[real] = true
	}
}

// first reports whether the real file or folder behind path is met for the first
// time.
func (w *walked) first(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false // gone since it was listed
	}
	if abs, err := filepath.Abs(real); err == nil {
		real = abs
	}
	if w.seen[real] {
		return false
	}
	w.seen[real] = true
	return true
}

func (w *walked) file(path string, info fs.FileInfo) {
	if len(w.files) >= maxFiles {
		w.overflow(path, fmt.Sprintf("and what follows is not read: there are more than %d files", maxFiles))
		return
	}
	if w.first(path) {
		w.files = append(w.files, found{path, info})
	}
}

// overflow reports, once, that a limit was met.
func (w *walked) overflow(path, message string) {
	if !w.full {
		w.full = true
		w.problem(path, message, "name folders that hold only what belongs together")
	}
}

// folder adds the files of a folder and of those in it, in lexical order.
func (w *walked) folder(path string, depth int) {
	if !w.first(path) {
		return
	}
	w.watch(path)
	if depth > maxDepth {
		w.overflow(path, fmt.Sprintf("is not read: folders are nested more than %d deep", maxDepth))
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		w.problem(path, "cannot be read: "+reason(err), "check its permissions")
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if w.entries++; w.entries > maxEntries {
			w.overflow(path, fmt.Sprintf("and what follows is not read: there are more than %d names", maxEntries))
			return
		}
		if !strings.HasPrefix(e.Name(), ".") {
			w.entry(filepath.Join(path, e.Name()), e.Type()&fs.ModeSymlink != 0, depth)
		}
	}
}

// entry adds what a folder holds at path.
func (w *walked) entry(path string, link bool, depth int) {
	if link {
		w.watchLinks(path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && !isManifest(path): // such as a dangling link of no concern
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			w.problem(path, "is a link to nothing", "remove it, or restore what it stands for")
		}
	case err != nil:
		w.problem(path, "cannot be read: "+reason(err), "check its permissions")
	case info.IsDir():
		w.folder(path, depth+1)
	case isManifest(path) && info.Mode().IsRegular():
		w.file(path, info)
	}
}

// isManifest reports whether a file in a folder is read, by its name.
func isManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
