package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apiServerAway takes the API server away for two minutes. Whoever is served goes
// on being served, and what changes afterwards is in effect soon.
func apiServerAway(t *testing.T) {
	p, base := newChat(t, "slow.yaml")
	rolledOut(t, p.namespace, "slow")
	p.says("httproute/slow", "Accepted=True", "ResolvedRefs=True")
	l := startLoad(t, base, 6, stream("chat", 40), ask("chat"))
	p.follows(l, 90, 10)

	long := startStreams(t, base, 2, 33*int((*outage+15*time.Second)/time.Second))
	bringBack := takeAPIServerAway(t)
	if _, err := run(t.Context(), "", "get", "namespaces", "--request-timeout=2s"); err == nil {
		t.Fatal("the API server answers")
	}
	for away := time.Now(); time.Since(away) < *outage; {
		l.measure(100) // fails the test when answers no longer come
	}
	p.follows(l, 90, 10)
	if long.ended() > 0 {
		t.Errorf("%d streams ended during the outage: they prove nothing", long.ended())
	}

	bringBack()
	back := time.Now()
	p.weigh(0, 100)
	p.follows(l, 0, 100)
	t.Logf("the change was in effect and measured %s after the API server's return", time.Since(back).Round(time.Millisecond))
	p.says("httproute/chat", "Accepted=True", "ResolvedRefs=True")
	long.wait()
	l.stop()
}

// takeAPIServerAway kills the API server and keeps it away until the function it
// returns is called, which waits for its return.
func takeAPIServerAway(t testing.TB) (bringBack func()) {
	t.Helper()
	dir := os.Getenv("CLUSTER_DIR")
	hold := filepath.Join(dir, "apiserver.hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release := func() {
		if err := os.Remove(hold); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	t.Cleanup(release)
	text, err := os.ReadFile(filepath.Join(dir, "apiserver.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return func() {
		release()
		eventually(t, "the API server is back", func() error {
			_, err := run(t.Context(), "", "get", "--raw", "/readyz", "--request-timeout=2s")
			return err
		})
	}
}
