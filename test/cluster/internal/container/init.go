// Package container runs one program as a container: in mount, pid, uts and ipc
// namespaces of its own, on a root file system that holds nothing but what its
// image and its pod put there. An empty root finds what a real image would miss:
// a CA bundle, a shared library, a writable folder.
package container

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// InitArg is the first argument of the re-executed program that builds a
// container around itself; its main function must then call Init.
const InitArg = "container-init"

// Mount puts a folder or file of this machine into a container.
type Mount struct {
	Path     string // in the container
	Source   string // on this machine
	ReadOnly bool
}

// Spec is everything about a container but its network.
type Spec struct {
	Scratch      string // an empty folder to build the root file system on
	HostRoot     bool   // an overlay of this machine's root, not an empty one
	ReadOnlyRoot bool
	NoNewPrivs   bool
	Mounts       []Mount
	Hostname     string
	Argv, Env    []string
	WorkingDir   string
	UID, GID     int
	Groups       []int
}

// Init builds the container's root file system and becomes its program. It
// returns only on errors, which it reports to Start through descriptor 4.
func Init() {
	report := os.NewFile(4, "report")
	unix.CloseOnExec(4) // so that success is an end without a word
	var s Spec
	err := json.NewDecoder(os.NewFile(3, "spec")).Decode(&s)
	unix.CloseOnExec(3)
	if err == nil {
		err = s.become()
	}
	fmt.Fprint(report, err)
	os.Exit(128)
}

func (s *Spec) become() error {
	root, err := s.buildRoot()
	if err != nil {
		return err
	}
	if err := enter(root); err != nil {
		return err
	}
	if s.ReadOnlyRoot {
		if err := unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if s.WorkingDir != "" {
		if err := os.Chdir(s.WorkingDir); err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
	}
	program, err := lookPath(s.Argv[0], s.Env)
	if err != nil {
		return err
	}
	if err := s.dropPrivileges(); err != nil {
		return err
	}
	if err := syscall.Exec(program, s.Argv, s.Env); err != nil {
		return fmt.Errorf("exec %s: %w (a program in an empty root must be static)", program, err)
	}
	return nil
}

// buildRoot mounts the new root and everything below it.
func (s *Spec) buildRoot() (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.Scratch, "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount the scratch folder: %w", err)
	}
	root := filepath.Join(s.Scratch, "root")
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(s.Scratch, d), 0o755); err != nil {
			return "", err
		}
	}
	if err := s.mountRoot(root); err != nil {
		return "", fmt.Errorf("mount the root: %w", err)
	}
	if err := systemFolders(root); err != nil {
		return "", err
	}
	// A mount inside another one comes after it.
	sort.SliceStable(s.Mounts, func(i, j int) bool { return s.Mounts[i].Path < s.Mounts[j].Path })
	for _, m := range s.Mounts {
		if err := bind(m.Source, filepath.Join(root, m.Path), m.ReadOnly); err != nil {
			return "", fmt.Errorf("mount %s: %w", m.Path, err)
		}
	}
	return root, nil
}

func (s *Spec) mountRoot(root string) error {
	if s.HostRoot {
		return unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", s.Scratch, s.Scratch))
	}
	return unix.Mount(root, root, "", unix.MS_BIND, "")
}

// systemFolders fills in what the runtime and not the image provides.
func systemFolders(root string) error {
	for _, d := range []string{"proc", "dev", "dev/shm", "tmp", "etc", ".old"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"tmp", "dev/shm"} {
		if err := os.Chmod(filepath.Join(root, d), fs.ModeSticky|0o777); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, d := range []string{"null", "zero", "full", "urandom", "random"} {
		if err := bind("/dev/"+d, filepath.Join(root, "dev", d), false); err != nil {
			return fmt.Errorf("device %s: %w", d, err)
		}
	}
	return nil
}

// bind mounts source over path, which is made if need be.
func bind(source, path string, readOnly bool) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if st.IsDir() {
		err = os.MkdirAll(path, 0o755)
	} else {
		err = touch(path)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil || !readOnly {
		return err
	}
	return unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}

// enter makes root the root of this mount namespace and forgets the old one.
func enter(root string) error {
	if err := unix.PivotRoot(root, filepath.Join(root, ".old")); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Remove("/.old")
}

func (s *Spec) dropPrivileges() error {
	if s.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("forbid new privileges: %w", err)
		}
	}
	if err := syscall.Setgroups(s.Groups); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := syscall.Setgid(s.GID); err != nil {
		return fmt.Errorf("set group %d: %w", s.GID, err)
	}
	if err := syscall.Setuid(s.UID); err != nil {
		return fmt.Errorf("set user %d: %w", s.UID, err)
	}
	return nil
}

// lookPath seeks name as execvp would, in the container's PATH.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range env {
		path, ok := strings.CutPrefix(variable, "PATH=")
		if !ok {
			continue
		}
		for _, folder := range filepath.SplitList(path) {
			file := filepath.Join(folder, name)
			if st, err := os.Stat(file); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
