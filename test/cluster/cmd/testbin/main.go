// testbin builds what cluster tests run, all static: hyper (the Kubernetes
// programs), up, testserver, and this repository's crossfade. It prints nothing
// when all is there.
//
//	cd test/cluster && go run ./cmd/testbin --out ../../bin/testbin
//
// hyper takes minutes the first time, so the finished binary is kept in the
// user's cache directory under a key of all that it is made from; --out gets a
// link to it. The others are built each time, which Go's own cache makes cheap.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

const (
	kubernetesMajor, kubernetesMinor, kubernetesVersion = "1", "37", "v1.37.2"

	// Debug information would double hyper; one set of flags lets all share
	// what the compiler has cached.
	gcflags = "-gcflags=all=-dwarf=false"
)

func main() {
	out := flag.String("out", filepath.Join("..", "..", "bin", "testbin"), "folder to put the binaries into")
	cross := flag.Bool("crossfade", true, "build the repository's own binary, too")
	flag.Parse()
	if err := run(*out, *cross); err != nil {
		fmt.Fprintln(os.Stderr, "testbin:", err)
		os.Exit(1)
	}
}

// run must be started in the module's folder.
func run(out string, crossfade bool) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := linkHyper(out); err != nil {
		return err
	}
	if err := build(".", "-s -w", filepath.Join(out, "up"), "./cmd/up"); err != nil {
		return err
	}
	if err := build(".", "-s -w", filepath.Join(out, "testserver"), "./cmd/testserver"); err != nil {
		return err
	}
	if !crossfade {
		return nil
	}
	version, _ := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output() // none outside a checkout
	return build(filepath.Join("..", ".."), "-s -w -X main.version="+strings.TrimSpace(string(version)), filepath.Join(out, "crossfade"), "./cmd/crossfade")
}

// linkHyper puts a link to the cached hyper into out, building it if need be.
func linkHyper(out string) error {
	key, err := hyperKey(".", runtime.Version())
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	folder := filepath.Join(cache, "crossfade", "testbin", key)
	cached := filepath.Join(folder, "hyper")
	if _, err := os.Stat(cached); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "testbin: building the Kubernetes programs; this takes minutes, once")
		if err := buildHyper(folder, cached); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	link := filepath.Join(out, "hyper")
	if have, err := os.Readlink(link); err == nil && have == cached {
		return nil
	}
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(cached, link)
}

// buildHyper lets the finished file appear as a whole: two builds at once are
// wasteful, never wrong.
func buildHyper(folder, cached string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(folder, fmt.Sprintf("hyper.%d", os.Getpid()))
	defer os.Remove(temporary)
	if err := build(".", hyperLDFlags(), temporary, "./cmd/hyper"); err != nil {
		return err
	}
	return os.Rename(temporary, cached)
}

// hyperLDFlags names the version: kubectl cannot read the server's without.
func hyperLDFlags() string {
	const in = "k8s.io/component-base/version."
	return "-s -w -X " + in + "gitVersion=" + kubernetesVersion + " -X " + in + "gitMajor=" + kubernetesMajor + " -X " + in + "gitMinor=" + kubernetesMinor
}

// build runs go build without cgo: a binary that needs a dynamic linker does
// not start in a container's empty root.
func build(folder, ldflags, out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", gcflags, "-ldflags="+ldflags, "-o", out, pkg)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// hyperKey is a digest of all that hyper is made from: the module's versions,
// its own source, the compiler and the flags.
func hyperKey(module, goVersion string) (string, error) {
	files, err := filepath.Glob(filepath.Join(module, "cmd", "hyper", "*.go"))
	if err != nil {
		return "", err
	}
	sort.Strings(files)
	hash := sha256.New()
	fmt.Fprintln(hash, goVersion, runtime.GOOS, runtime.GOARCH, gcflags, hyperLDFlags())
	for _, f := range append([]string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}, files...) {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, filepath.Base(f), len(data))
		if _, err := hash.Write(data); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}
