package file

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher rings when something changes in the folders it follows. Where the
// system cannot say, it stays silent: the source polls as well.
type watcher struct {
	rings chan struct{} // holds at most one
	log   *slog.Logger
	fs    *fsnotify.Watcher // nil when the system has none to give
	done  sync.WaitGroup

	followed map[string]bool
}

func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{rings: make(chan struct{}, 1), log: log, followed: map[string]bool{}}
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("file changes are found by polling alone", "error", err)
		return w
	}
	w.fs = fs
	w.done.Go(w.listen)
	return w
}

// close ends the watcher and its goroutine.
func (w *watcher) close() {
	if w.fs != nil {
		_ = w.fs.Close()
	}
	w.done.Wait()
}

// follow watches exactly these folders and reports whether any is new: what
// happened in a new one before now may have gone unseen.
func (w *watcher) follow(folders map[string]bool) (added bool) {
	if w.fs == nil {
		return false
	}
	for f := range w.followed {
		if !folders[f] {
			_ = w.fs.Remove(f) // a folder that is gone is no longer watched
			delete(w.followed, f)
		}
	}
	current := map[string]bool{}
	for _, f := range w.fs.WatchList() {
		current[f] = true
	}
	for f := range folders {
		if current[f] {
			continue
		}
		if err := w.fs.Add(f); err != nil {
			if !w.followed[f] {
				w.log.Warn("changes in a folder are found by polling alone", "folder", f, "error", err)
			}
		} else {
			added = true
		}
		w.followed[f] = true
	}
	return added
}

// listen turns events into rings until the watcher is closed.
func (w *watcher) listen() {
	for {
		select {
		case _, ok := <-w.fs.Events:
			if !ok {
				return
			}
			// Whatever the event is, a look at the files costs less than a
			// guess whether it concerns them, and is bounded by the debounce.
			w.ring()
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.ring()
				continue
			}
			w.log.Warn("watching files failed", "error", err)
		}
	}
}

func (w *watcher) ring() {
	select {
	case w.rings <- struct{}{}:
	default:
	}
}

// settle waits until no ring came for quiet, but at most for longest.
func settle(ctx context.Context, rings <-chan struct{}, quiet, longest time.Duration) {
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	for {
		still := time.NewTimer(quiet)
		select {
		case <-rings:
			still.Stop()
		case <-still.C:
			return
		case <-deadline.C:
			still.Stop()
			return
		case <-ctx.Done():
			still.Stop()
			return
		}
	}
}
