// Package images is the table that stands in for an image registry: which local
// program a container image means, and how it is started.
package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// Placeholders in Image.Args, each replaced by any number of arguments.
const (
	wholeCommand = "$command" // the container's command, then its args
	onlyArgs     = "$args"    // the container's args
)

// Image is one row of the table.
type Image struct {
	// Match is a regular expression sought in the whole image reference.
	Match string `json:"match"`
	// Program is a static binary on this machine: a path, or a bare name to be
	// sought in the folders given to Load. Empty means that every container
	// names its command, which needs HostRoot.
	Program string `json:"program,omitempty"`
	// Path is where the program is found inside the container; "/" and the
	// program's base name by default. Without HostRoot it is the only file there.
	Path string `json:"path,omitempty"`
	// Args, if any, replace the container's command and args. "$command" in them
	// stands for these, "$args" for the args alone.
	Args []string `json:"args,omitempty"`
	// Env are the image's own variables; those of the container override them.
	Env map[string]string `json:"env,omitempty"`
	// UID is the user of the image, unless the pod says otherwise.
	UID int `json:"uid,omitempty"`
	// HostRoot gives the container an overlay of this machine's root file system
	// in place of an empty one: for stand-ins that are scripts.
	HostRoot bool `json:"hostRoot,omitempty"`
	// Files are further files, by their path in the container.
	Files map[string]string `json:"files,omitempty"`

	match *regexp.Regexp
}

// Table is a list of images; the first match counts.
type Table []Image

// Load reads tables from YAML files, {images: [...]} each, and joins them.
// Relative paths are relative to their table's folder; bare program names are
// sought in binFolders, then beside the table. Programs must exist now, for
// otherwise the mistake would surface as a pod that never starts.
func Load(files []string, binFolders []string) (Table, error) {
	var all Table
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read image map: %w", err)
		}
		table, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("image map %s: %w", file, err)
		}
		folder, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		for i := range table {
			if err := table[i].resolve(folder, binFolders); err != nil {
				return nil, fmt.Errorf("image map %s: match %q: %w", file, table[i].Match, err)
			}
		}
		all = append(all, table...)
	}
	return all, nil
}

// Parse reads one table and checks everything but the files it names.
func Parse(data []byte) (Table, error) {
	var doc struct {
		Images Table `json:"images"`
	}
	if err := yaml.UnmarshalStrict(data, &doc); err != nil {
		return nil, err
	}
	for i := range doc.Images {
		if err := doc.Images[i].check(); err != nil {
			return nil, fmt.Errorf("images[%d]: %w", i, err)
		}
	}
	return doc.Images, nil
}

func (m *Image) check() (err error) {
	if m.Match == "" {
		return errors.New("match is missing: give a regular expression for the image's name")
	}
	if m.match, err = regexp.Compile(m.Match); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	if m.Program == "" && !m.HostRoot {
		return errors.New("program is missing: without one there must be hostRoot: true")
	}
	if m.Program == "" && len(m.Args) > 0 {
		return errors.New("args need a program")
	}
	if m.UID < 0 {
		return fmt.Errorf("uid %d is negative", m.UID)
	}
	if m.Program != "" && m.Path == "" {
		m.Path = "/" + filepath.Base(m.Program)
	}
	if m.Path != "" && !strings.HasPrefix(m.Path, "/") {
		return fmt.Errorf("path %q: want an absolute one", m.Path)
	}
	for inside := range m.Files {
		if !strings.HasPrefix(inside, "/") {
			return fmt.Errorf("files: %q: want an absolute path", inside)
		}
	}
	return nil
}

// resolve makes the paths on this machine absolute.
func (m *Image) resolve(folder string, binFolders []string) error {
	for inside, outside := range m.Files {
		found, err := find(outside, []string{folder})
		if err != nil {
			return err
		}
		m.Files[inside] = found
	}
	if m.Program == "" {
		return nil
	}
	folders := []string{folder}
	if !strings.Contains(m.Program, "/") {
		folders = append(append([]string{}, binFolders...), folder)
	}
	found, err := find(m.Program, folders)
	m.Program = found
	return err
}

func find(name string, folders []string) (string, error) {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return name, err
	}
	for _, folder := range folders {
		path, err := filepath.Abs(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is in none of: %s", name, strings.Join(folders, ", "))
}

// Lookup finds the image that a reference names.
func (t Table) Lookup(reference string) (*Image, bool) {
	for i := range t {
		if t[i].match.MatchString(reference) {
			return &t[i], true
		}
	}
	return nil, false
}

// Argv is what a container of this image with that command and args executes.
func (m *Image) Argv(command, args []string) ([]string, error) {
	if len(m.Args) == 0 {
		if len(command) == 0 {
			command = []string{m.Path}
			if m.Program == "" {
				return nil, errors.New("the image has no program and the container no command")
			}
		}
		return join(command, args), nil
	}
	argv := []string{m.Path}
	for _, a := range m.Args {
		switch a {
		case wholeCommand:
			argv = join(argv, command, args)
		case onlyArgs:
			argv = join(argv, args)
		default:
			argv = append(argv, a)
		}
	}
	return argv, nil
}

func join(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
