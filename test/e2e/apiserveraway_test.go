package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apiServerAway takes the API server away for two minutes, and with it Kubernetes'
// own controllers, which would end when they cannot renew their lease. Whoever is served goes
// on being served, and what changes afterwards is in effect soon.
func apiServerAway(t *testing.T) {
	p, base := newChat(t, "slow.yaml")
	rolledOut(t, p.namespace, "slow")
	p.says("httproute/slow", "Accepted=True", "ResolvedRefs=True")
	l := startLoad(t, base, 6, stream("chat", 40), ask("chat"))
	p.follows(l, 90, 10)

	long := startStreams(t, base, 2, 33*int((*outage+15*time.Second)/time.Second))
	bringBack := takeAway(t, "controller-manager", "apiserver")
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

// takeAway kills programs of the control plane and keeps them away until the
// function it returns is called, which brings them back, the last one first, and
// waits for the API server.
func takeAway(t testing.TB, names ...string) (bringBack func()) {
	t.Helper()
	var release []func()
	for _, name := range names {
		release = append(release, hold(t, name))
	}
	return func() {
		for _, r := range slices.Backward(release) {
			r()
			eventually(t, "the API server is back", func() error {
				_, err := run(t.Context(), "", "get", "--raw", "/readyz", "--request-timeout=2s")
				return err
			})
		}
	}
}

// hold kills a program of the control plane; it is started again once release was
// called.
func hold(t testing.TB, name string) (release func()) {
	t.Helper()
	path := filepath.Join(os.Getenv("CLUSTER_DIR"), name)
	if err := os.WriteFile(path+".hold", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release = func() {
		if err := os.Remove(path + ".hold"); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	t.Cleanup(release)
	text, err := os.ReadFile(path + ".pid")
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
	return release
}
