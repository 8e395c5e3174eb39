package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cfv1a1 "crossfade.dev/api/v1alpha1"
)

// stateFile keeps the statuses of rollouts over restarts. It is replaced whole: a
// crash leaves the one before, or the next one. Its lock is a file beside it, since
// the file itself is another one after each write.
type stateFile struct {
	path string
	lock io.Closer
}

// stateVersion is the version of the file's form.
const stateVersion = 1

// maxState bounds the file in bytes.
const maxState = 64 << 20

// savedState is the file's content.
type savedState struct {
	Version  int            `json:"version"`
	Rollouts []savedRollout `json:"rollouts"`
}

// savedRollout is the status of one rollout.
type savedRollout struct {
	Namespace string                        `json:"namespace"`
	Name      string                        `json:"name"`
	Status    cfv1a1.InferenceRolloutStatus `json:"status"`
}

// unreadableState is an error about a file that was moved aside.
type unreadableState struct {
	moved string
	err   error
}

func (e *unreadableState) Error() string { return e.err.Error() }

// openState locks the file at path and reads it; one that does not exist is empty.
// With an unreadableState the file is open all the same, and empty.
func openState(path string) (*stateFile, []savedRollout, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the directory of the state file: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, nil, err
	}
	f := &stateFile{path: path, lock: lock}
	rollouts, err := f.read()
	var broken *unreadableState
	if err != nil && !errors.As(err, &broken) {
		_ = f.close()
		return nil, nil, err
	}
	return f, rollouts, err
}

func (f *stateFile) close() error { return f.lock.Close() }

func (f *stateFile) read() ([]savedRollout, error) {
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("open the state file: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("read the state file: %w", err)
	}
	var state savedState
	err = json.Unmarshal(text, &state)
	switch {
	case len(text) > maxState:
		err = fmt.Errorf("it is longer than %d bytes", maxState)
	case err == nil && state.Version > stateVersion:
		return nil, fmt.Errorf("the state file %s was written by a newer version of crossfade", f.path)
	case err == nil && state.Version < 1:
		err = errors.New("it has no version")
	}
	if err == nil {
		return state.Rollouts, nil
	}
	bad := f.path + ".bad"
	if moving := os.Rename(f.path, bad); moving != nil {
		return nil, fmt.Errorf("the state file %s cannot be understood (%w), nor moved aside: %w", f.path, err, moving)
	}
	return nil, &unreadableState{moved: bad, err: fmt.Errorf("the state file %s cannot be understood: %w", f.path, err)}
}

// write replaces the file's content. When it returns, that is on the disk.
func (f *stateFile) write(rollouts []savedRollout) error {
	text, err := json.MarshalIndent(savedState{Version: stateVersion, Rollouts: rollouts}, "", " ")
	if err != nil {
		return fmt.Errorf("write the state file: %w", err)
	}
	if err := replaceFile(f.path, append(text, '\n')); err != nil {
		return fmt.Errorf("write the state file: %w", err)
	}
	return nil
}

// replaceFile writes a file that only its owner may read, wholly or not at all.
func replaceFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // gone after Rename
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory brings a rename to the disk, where the system can do that.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// DefaultStateFile is where Up keeps what it must remember of the objects at paths:
// a file of its own for each set of paths, in $XDG_STATE_HOME/crossfade or
// ~/.local/state/crossfade. It fails when there is no home.
func DefaultStateFile(paths []string) (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // as the XDG base directory specification has it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".local", "state")
	}
	var absolute []string
	for _, p := range paths {
		a, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		absolute = append(absolute, a)
	}
	if len(absolute) == 0 {
		return "", errors.New("there are no paths to name it after")
	}
	name := readable(filepath.Base(absolute[0]))
	slices.Sort(absolute)
	sum := sha256.Sum256([]byte(strings.Join(absolute, "\x00")))
	return filepath.Join(dir, "crossfade", name+"-"+hex.EncodeToString(sum[:6])+".json"), nil
}

// readable is a name with nothing in it that a file's name had better not have.
func readable(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml")
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
	if clean = strings.Trim(clean, "-"); clean == "" {
		return "state"
	}
	return clean[:min(len(clean), 40)]
}
