package file

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

// watched is a source that runs until the test ends.
type watched struct {
	t       *testing.T
	updates chan source.Update
	last    source.Update
	count   int
}

// watch runs a source of path that only events wake.
func watch(t *testing.T, path string) *watched {
	t.Helper()
	return run(t, path, Options{Poll: time.Hour}, newWatcher(slog.New(slog.DiscardHandler)))
}

func run(t *testing.T, path string, o Options, w *watcher) *watched {
	t.Helper()
	s, err := New([]string{path}, o)
	if err != nil {
		t.Fatal(err)
	}
	x := &watched{t: t, updates: make(chan source.Update, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.run(ctx, w, func(u source.Update) { x.updates <- u }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return x
}

// await waits for an update that fits, for as long as no working machine needs.
func (x *watched) await(what string, fits func(source.Update) bool) {
	x.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case x.last = <-x.updates:
			x.count++
			if fits(x.last) {
				return
			}
		case <-timeout:
			x.t.Fatalf("%s: never seen; objects %v, problems %v", what, x.last.Origins, x.last.Problems)
		}
	}
}

// values returns the values of the ConfigMaps by name.
func values(u source.Update) map[string]string {
	out := map[string]string{}
	for _, m := range u.Resources.ConfigMaps {
		out[m.Name] = m.Data["value"]
	}
	return out
}

func (x *watched) awaitValue(name, value string) {
	x.t.Helper()
	x.await(name+"="+value, func(u source.Update) bool { v, ok := values(u)[name]; return ok && v == value })
}

func (x *watched) awaitGone(name string) {
	x.t.Helper()
	x.await(name+" gone", func(u source.Update) bool { _, ok := values(u)[name]; return !ok })
}

func TestWatchFolder(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.yaml", configMap("a", "1"))
	x := watch(t, dir)
	x.awaitValue("a", "1")

	write(t, dir, "a.yaml", configMap("a", "2")) // in place
	x.awaitValue("a", "2")

	replacement := write(t, t.TempDir(), "new", configMap("a", "3")) // as editors do
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, path); err != nil {
		t.Fatal(err)
	}
	x.awaitValue("a", "3")

	write(t, dir, "b.yaml", configMap("b", "1"))
	x.awaitValue("b", "1")
	write(t, dir, "new/folder/c.yaml", configMap("c", "1"))
	x.awaitValue("c", "1")
	write(t, dir, "new/folder/c.yaml", configMap("c", "2"))
	x.awaitValue("c", "2")

	if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	x.awaitGone("c")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	x.awaitGone("a")
	if got := values(x.last); len(got) != 1 || got["b"] != "1" {
		t.Errorf("left: %v", got)
	}
}

// A mounted ConfigMap changes by the swap of one link.
func TestWatchLinkSwap(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "..1/a.yaml", configMap("a", "1"))
	write(t, dir, "..2/a.yaml", configMap("a", "2"))
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, "..data/a.yaml", filepath.Join(dir, "a.yaml"))
	x := watch(t, dir)
	x.awaitValue("a", "1")
	swap(t, "..2", filepath.Join(dir, "..data"))
	x.awaitValue("a", "2")
}

// A path given may itself be a link, to a folder or a file elsewhere.
func TestWatchGivenLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "releases/1/a.yaml", configMap("a", "1"))
	write(t, dir, "releases/2/a.yaml", configMap("a", "2"))
	current := filepath.Join(dir, "site/current")
	if err := os.Mkdir(filepath.Dir(current), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "../releases/1", current)
	x := watch(t, current)
	x.awaitValue("a", "1")
	swap(t, "../releases/2", current)
	x.awaitValue("a", "2")
	write(t, dir, "releases/2/a.yaml", configMap("a", "3"))
	x.awaitValue("a", "3")
}

// swap makes the link at path point to target, in one step.
func swap(t *testing.T, target, path string) {
	t.Helper()
	link(t, target, path+".tmp")
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// A path given may vanish and come back.
func TestWatchGivenFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "only.conf", configMap("a", "1"))
	x := watch(t, path)
	x.awaitValue("a", "1")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	x.awaitGone("a")
	if len(x.last.Problems) != 1 || x.last.Problems[0].Severity != translate.Error {
		t.Errorf("problems: %v", x.last.Problems)
	}
	write(t, dir, "only.conf", configMap("a", "2"))
	x.awaitValue("a", "2")
}

// Half a file is a problem, and its last good content stays.
func TestWatchHalfWritten(t *testing.T) {
	dir := t.TempDir()
	whole := configMap("a", "1") + "---\n" + configMap("b", "1")
	write(t, dir, "a.yaml", whole)
	x := watch(t, dir)
	x.awaitValue("b", "1")
	write(t, dir, "a.yaml", whole[:len(whole)-10])
	x.await("problem", func(u source.Update) bool { return len(u.Problems) > 0 })
	if got := values(x.last); got["a"] != "1" || got["b"] != "1" {
		t.Errorf("objects while the file is broken: %v", got)
	}
	write(t, dir, "a.yaml", configMap("a", "2"))
	x.awaitGone("b")
	if len(x.last.Problems) > 0 {
		t.Errorf("problems after the repair: %v", x.last.Problems)
	}
}

// However often a file is written, in place and so empty for a moment each time,
// every update holds a whole version of it, and the last version arrives.
func TestWatchBurst(t *testing.T) {
	const writes = 200
	dir := t.TempDir()
	write(t, dir, "a.yaml", configMap("a", "0"))
	x := watch(t, dir)
	x.awaitValue("a", "0")
	for i := 1; i <= writes; i++ {
		write(t, dir, "a.yaml", configMap("a", strconv.Itoa(i)))
	}
	previous := 0
	x.await("the last write", func(u source.Update) bool {
		n, err := strconv.Atoi(values(u)["a"])
		if err != nil || n < previous {
			t.Errorf("after version %d: %v, problems %v", previous, values(u), u.Problems)
		}
		previous = n
		return n == writes && len(u.Problems) == 0
	})
}

// Without events, polling finds the changes.
func TestPoll(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", configMap("a", "1"))
	silent := &watcher{rings: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	x := run(t, dir, Options{Poll: 5 * time.Millisecond}, silent)
	x.awaitValue("a", "1")
	write(t, dir, "a.yaml", configMap("a", "2")) // same size
	x.awaitValue("a", "2")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	x.awaitGone("a")
}

// appear writes a file elsewhere and moves it there: no look finds it empty, which
// would be a change.
func appear(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.Rename(write(t, t.TempDir(), name, text), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// What changes nothing is not published.
func TestOnlyChangesArePublished(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.yaml", configMap("a", "1"))
	x := watch(t, dir)
	x.awaitValue("a", "1")
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil { // touch
		t.Fatal(err)
	}
	write(t, dir, "notes.txt", "nothing")
	appear(t, dir, "empty.yaml", "# nothing\n")
	appear(t, dir, "a.yaml", "# a comment does not move the object's place only if it follows\n"+configMap("a", "1"))
	x.await("the moved object", func(u source.Update) bool { return true })
	for ref, origin := range x.last.Origins {
		if origin != path+":2" {
			t.Errorf("%s is at %s", ref, origin)
		}
	}
	appear(t, dir, "b.yaml", configMap("b", "1"))
	x.awaitValue("b", "1")
	if x.count != 3 {
		t.Errorf("%d updates, want 3", x.count)
	}
}

// settle waits for silence, but not for ever.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		every time.Duration // between rings
		rings int
		want  time.Duration
	}{
		{0, 0, 50 * time.Millisecond},
		{20 * time.Millisecond, 3, 110 * time.Millisecond},
		{20 * time.Millisecond, 1000, 250 * time.Millisecond},
		{60 * time.Millisecond, 1000, 50 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d every %s", c.rings, c.every), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				rings := make(chan struct{}, 1)
				go func() {
					for range c.rings {
						select {
						case <-time.After(c.every):
							rings <- struct{}{}
						case <-ctx.Done():
							return
						}
					}
				}()
				start := time.Now()
				settle(ctx, rings, 50*time.Millisecond, 250*time.Millisecond)
				if took := time.Since(start); took != c.want {
					t.Errorf("took %s, want %s", took, c.want)
				}
			})
		})
	}
}

// The goroutine of a source ends with its context, also when nothing happens.
func TestRunEnds(t *testing.T) {
	s, err := New([]string{"testdata/gray-release"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Run(ctx, func(source.Update) { cancel() }); err != nil {
		t.Error(err)
	}
}
