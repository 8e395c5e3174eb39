package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
)

// Options are the settings of a Source; the zero value is fine.
type Options struct {
	// Logger is told of reloads; nil logs nothing.
	Logger *slog.Logger
	// Debounce is how long files must be left alone before they are read again;
	// 0 is 50 ms.
	Debounce time.Duration
	// MaxDebounce bounds the wait when they are not left alone; 0 is 250 ms.
	MaxDebounce time.Duration
	// Poll is how often files are looked at without being told of a change, as
	// on network file systems; 0 is 2 s.
	Poll time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Debounce = cmp.Or(o.Debounce, 50*time.Millisecond)
	o.MaxDebounce = cmp.Or(o.MaxDebounce, 250*time.Millisecond)
	o.Poll = cmp.Or(o.Poll, 2*time.Second)
	return o
}

// Source delivers the objects in files and follows their changes.
type Source struct {
	paths   []string
	options Options
}

var _ source.Source = (*Source)(nil)

// New returns a source of the objects below paths, files or folders. It fails when
// there are none or one does not exist.
func New(paths []string, o Options) (*Source, error) {
	if _, err := walkExisting(paths); err != nil {
		return nil, err
	}
	return &Source{paths: paths, options: o.withDefaults()}, nil
}

// Load reads the objects below paths once. It fails when there are no paths or one
// does not exist; all else it has to say is in the update's problems.
func Load(paths []string) (source.Update, error) {
	w, err := walkExisting(paths)
	if err != nil {
		return source.Update{}, err
	}
	u, _ := newReader(paths, 0).read(w)
	return u, nil
}

func walkExisting(paths []string) (*walked, error) {
	if len(paths) == 0 {
		return nil, errors.New("read objects: no file or folder given")
	}
	w := walk(paths)
	if len(w.missing) > 0 {
		return nil, fmt.Errorf("read %s: %w", w.missing[0], fs.ErrNotExist)
	}
	return w, nil
}

// Run publishes the objects now and after every change until ctx ends. An update
// that equals the one before is not published.
func (s *Source) Run(ctx context.Context, publish func(source.Update)) error {
	return s.run(ctx, newWatcher(s.options.Logger), publish)
}

func (s *Source) run(ctx context.Context, w *watcher, publish func(source.Update)) error {
	defer w.close()
	poll := time.NewTicker(s.options.Poll)
	defer poll.Stop()

	r := newReader(s.paths, s.options.Debounce)
	for ctx.Err() == nil {
		started := time.Now()
		if update, changed := r.read(s.look(w)); changed {
			s.log(update, len(r.files), time.Since(started))
			publish(update)
		}
		var again <-chan time.Time
		if r.postponed {
			again = time.After(s.options.Debounce)
		}
		select {
		case <-ctx.Done():
		case <-poll.C:
		case <-again:
		case <-w.rings:
			settle(ctx, w.rings, s.options.Debounce, s.options.MaxDebounce)
		}
	}
	return nil
}

// look walks the paths with all their folders watched, so that whatever happens
// after the walk rings.
func (s *Source) look(w *watcher) *walked {
	found := walk(s.paths)
	for tries := 0; w.follow(found.folders) && tries < 3; tries++ {
		found = walk(s.paths)
	}
	return found
}

func (s *Source) log(u source.Update, files int, took time.Duration) {
	failed := 0
	for _, p := range u.Problems {
		if p.Severity == translate.Error {
			failed++
		}
	}
	s.options.Logger.Info("files read", "files", files, "objects", len(u.Origins),
		"errors", failed, "warnings", len(u.Problems)-failed, "duration", took)
}
