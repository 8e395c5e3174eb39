package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/source/kube"
	"crossfade.dev/internal/translate"
)

// A replica that answers nothing useful is one that is missing, whatever it does.
func TestReplicasAreReadAndMissed(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"good": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/rollouts/counts" {
				t.Errorf("asked for %s", r.URL.Path)
			}
			fmt.Fprint(w, `{"epoch": "e", "rollouts": [{"rollout": "chat/qwen", "attempt": 1, "revision": 3}]}`)
		},
		"silent":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless":  func(w http.ResponseWriter, _ *http.Request) { endless(w) },
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no epoch": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"failing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
	}
	synctest.Test(t, func(t *testing.T) { readAndMissed(t, answers) })
}

// readAndMissed runs in fake time: only who is silent takes any.
func readAndMissed(t *testing.T, answers map[string]http.HandlerFunc) {
	var log strings.Builder
	r := newReplicas(slog.New(slog.NewTextHandler(&log, nil)))
	defer r.close()
	servers := pipes{}
	r.client.Transport.(*http.Transport).DialContext = servers.dial
	gateway := translate.ObjectRef{Kind: "Gateway", Namespace: "infra", Name: "edge"}
	other := translate.ObjectRef{Kind: "Gateway", Namespace: "infra", Name: "other"}
	r.planes = map[translate.ObjectRef][]kube.Replica{other: {{Name: "other", Address: "192.0.2.1:1"}}}
	for name, answer := range answers {
		address := fmt.Sprintf("192.0.2.2:%d", 1+len(servers))
		listener, s := make(pipe), &http.Server{Handler: answer}
		servers[address] = listener
		go func() { _ = s.Serve(listener) }() // it ends by Close
		defer s.Close()
		r.planes[gateway] = append(r.planes[gateway], kube.Replica{Name: name, Address: address})
	}
	of := &translate.Rollout{Gateways: []translate.ObjectRef{gateway}}
	for range 2 {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*countsTimeout)
		counts := r.Counts(ctx, of)
		cancel()
		if took := time.Since(began); took != countsTimeout {
			t.Errorf("the silent one was waited for for %s", took)
		}
		if len(counts) != len(answers) {
			t.Errorf("%d of %d replicas are known", len(counts), len(answers))
		}
		for name, c := range counts {
			if (c != nil) != (name == "good") {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n != len(answers)-1 {
		t.Errorf("%d lines for %d replicas that fail, twice:\n%s", n, len(answers)-1, log.String())
	}
}

// pipes are servers in memory, by address.
type pipes map[string]pipe

func (p pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p[address] <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipe is a server's listener.
type pipe chan net.Conn

func (p pipe) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipe) Close() error   { close(p); return nil }
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

// endless writes until nobody reads any more.
func endless(w http.ResponseWriter) {
	text := []byte(strings.Repeat(" ", 64<<10))
	for {
		if _, err := w.Write(text); err != nil {
			return
		}
	}
}

func TestNobodyIsAskedWithoutRollouts(t *testing.T) {
	r := newReplicas(slog.New(slog.DiscardHandler))
	r.set(&translate.Resources{}, []translate.DataPlane{{Gateway: translate.ObjectRef{Name: "edge"}}})
	if got := r.of([]translate.ObjectRef{{Name: "edge"}}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// Whatever became of the Lease, a new leader comes after the old ones.
func TestLatestEpoch(t *testing.T) {
	status := func(epoch int64, machine string) *cfv1a1.InferenceRollout {
		return &cfv1a1.InferenceRollout{Status: cfv1a1.InferenceRolloutStatus{Machine: machine, Shares: &cfv1a1.RolloutShares{Epoch: epoch}}}
	}
	list := []*cfv1a1.InferenceRollout{{}, status(3, `{"epoch": 5}`), status(4, "{"), {Status: cfv1a1.InferenceRolloutStatus{Machine: `{"epoch": 2}`}}}
	for want, list := range map[int64][]*cfv1a1.InferenceRollout{0: nil, 5: list, 4: slices.Delete(slices.Clone(list), 1, 2)} {
		if got := latestEpoch(list); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
}
