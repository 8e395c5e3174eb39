package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"crossfade.dev/test/cluster/internal/images"
)

var errUsage = errors.New("usage")

// options are what the caller asked for, with absolute paths.
type options struct {
	Dir             string
	EmulatedVersion string
	Images          []string
	Bin             []string
	CRDs            []string
	APIServerFlags  []string
	MaxProbeDelay   time.Duration
	BootTimeout     time.Duration
	Verbose         bool
	Command         []string
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", "", "folder for state and logs, emptied first and kept; a temporary one by default")
	flags.StringVar(&o.EmulatedVersion, "emulated-version", "", "behave as this Kubernetes, such as 1.34")
	flags.Var((*list)(&o.Images), "images", "image map, a YAML file (repeatable; the first match counts)")
	flags.Var((*list)(&o.Bin), "bin", "folder with programs of the image map, besides the one up is in (repeatable)")
	flags.Var((*list)(&o.CRDs), "crds", "YAML file or folder to apply before anything else (repeatable)")
	flags.Var((*list)(&o.APIServerFlags), "apiserver-flag", "one more flag for kube-apiserver (repeatable)")
	flags.DurationVar(&o.MaxProbeDelay, "max-probe-delay", -1, "cap on probes' initialDelaySeconds: a simulated model loads at once; none if negative")
	flags.DurationVar(&o.BootTimeout, "boot-timeout", 2*time.Minute, "how long booting may take")
	flags.BoolVar(&o.Verbose, "v", false, "say what the agent does")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "usage: up [flags] [-- COMMAND ARGUMENT...]\n       up enter --dir DIR [-- COMMAND ARGUMENT...]\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	o.Command = flags.Args()
	if len(o.Command) == 0 && o.Dir == "" {
		return o, fmt.Errorf("%w: without a command --dir DIR is needed, to find the cluster again", errUsage)
	}
	return o, o.check()
}

// check makes paths absolute, for the cluster's working directory differs, and
// finds mistakes before anything is started.
func (o *options) check() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	o.Bin = append(o.Bin, filepath.Dir(own))
	for _, paths := range [][]string{o.Images, o.Bin, o.CRDs} {
		for i, p := range paths {
			if paths[i], err = filepath.Abs(p); err != nil {
				return err
			}
			if _, err := os.Stat(paths[i]); err != nil {
				return err
			}
		}
	}
	if o.EmulatedVersion != "" {
		if _, err := strconv.ParseFloat(o.EmulatedVersion, 64); err != nil {
			return fmt.Errorf("%w: --emulated-version %q: want MAJOR.MINOR", errUsage, o.EmulatedVersion)
		}
	}
	if _, err := os.Stat(o.hyper()); err != nil {
		return fmt.Errorf("the Kubernetes programs are not there; `make testbin` builds them: %w", err)
	}
	_, err = images.Load(o.Images, o.Bin)
	return err
}

// hyper lies beside up.
func (o *options) hyper() string { return filepath.Join(o.Bin[len(o.Bin)-1], "hyper") }

// marker tells a folder that we may empty from one that we may not.
const marker = ".crossfade-cluster"

// prepareDir makes dir an empty folder, or a temporary one if dir is "".
func prepareDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "crossfade-cluster-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return "", fmt.Errorf("--dir %s: not empty, and no cluster was there before: choose another folder", dir)
		}
		if pid, err := readPID(dir); err == nil && syscall.Kill(pid, 0) == nil {
			return "", fmt.Errorf("--dir %s: a cluster runs there, process %d", dir, pid)
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, marker), nil, 0o644)
}

// readPID returns the first process of the cluster in dir.
func readPID(dir string) (int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0, fmt.Errorf("no cluster runs in %s: %w", dir, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}
