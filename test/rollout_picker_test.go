package test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// hints are the endpoints that a picker was offered.
type hints struct {
	mu  sync.Mutex
	all map[string]bool
}

// noting makes a picker that notes what it is offered and chooses from list.
func (h *hints) noting(list string) epptest.Script {
	light := epptest.Light(list)
	return func(s *epptest.Stream) error {
		return light(&epptest.Stream{ExternalProcessor_ProcessServer: &notingServer{s.ExternalProcessor_ProcessServer, h}})
	}
}

type notingServer struct {
	extprocv3.ExternalProcessor_ProcessServer
	hints *hints
}

func (n *notingServer) Recv() (*extprocv3.ProcessingRequest, error) {
	m, err := n.ExternalProcessor_ProcessServer.Recv()
	if err == nil {
		n.hints.mu.Lock()
		defer n.hints.mu.Unlock()
		for _, v := range m.GetMetadataContext().GetFilterMetadata()["envoy.lb.subset_hint"].GetFields()["x-gateway-destination-endpoint-subset"].GetListValue().GetValues() {
			n.hints.all[v.GetStringValue()] = true
		}
	}
	return m, err
}

// Two versions, each with the picker of its own pool, as pools of separate prefill and
// decode servers have. The version is drawn before its pool's picker is asked, which is
// offered that pool's endpoints alone; what else it names is never gone to, so that no
// request can be served by servers of both versions (scenario 16).
func TestRolloutPickers(t *testing.T) {
	s1, s2, c1 := echoEngine(t, "s1"), echoEngine(t, "s2"), echoEngine(t, "c1")
	for name, c := range map[string]struct {
		chooses string // the candidate's picker
		open    bool
		want    string // who serves those on the candidate
	}{
		"its own":            {c1, false, "c1"},
		"another's first":    {s2 + "," + c1, false, "c1"},
		"another's":          {s2, false, "s1"}, // a failure of the candidate: stable steps in
		"another's, open":    {s2, true, "c1"},  // its pool goes on without it
		"nobody's":           {"192.0.2.1:8000", false, "s1"},
		"another's, no port": {"127.0.0.2", false, "s1"},
	} {
		t.Run(name, func(t *testing.T) {
			offered := &hints{all: map[string]bool{}}
			stable := pickedPool("stable", epptest.Start(t, epptest.Light(s1)), s1, s2)
			candidate := pickedPool("candidate", epptest.Start(t, offered.noting(c.chooses)), c1)
			candidate.Picker.FailOpen = c.open
			server, assignment := serveVersions(t, stable, candidate)
			for i := range 40 {
				caller := &routing.Caller{Header: http.Header{"X-Session-Id": {fmt.Sprint("s-", i)}}}
				side, want := "stable", "s1"
				if assignment.Assign(caller).Candidate {
					side, want = "candidate", c.want
				}
				if engine := servedBy(t, server, caller.Header); engine != want {
					t.Fatalf("a request drawn to %s was served by %s, want %s", side, engine, want)
				}
			}
			if len(offered.all) != 1 || !offered.all[c1] {
				t.Errorf("the candidate's picker was offered %v, want %s alone", offered.all, c1)
			}
		})
	}
}

func pickedPool(name string, p *epptest.Picker, engines ...string) *routing.Pool {
	pool := &routing.Pool{ID: "InferencePool/n/" + name, Kind: "InferencePool", Name: "n/" + name, Inference: true,
		Picker: &routing.ExternalPicker{Service: "n/" + name + "-epp:9002", Endpoints: []string{p.Address}}}
	for _, e := range engines {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: e})
	}
	slices.SortFunc(pool.Endpoints, func(a, b routing.Endpoint) int { return strings.Compare(a.Address, b.Address) })
	return pool
}

// serveVersions serves two pools under a rollout by halves.
func serveVersions(t *testing.T, stable, candidate *routing.Pool) (*httptest.Server, *routing.Assignment) {
	log := slog.New(slog.DiscardHandler)
	client := extproc.New(extproc.Options{Logger: log, Timeout: patience})
	wire := upstream.New(upstream.Options{})
	p := proxy.New(proxy.Options{
		Picker: scheduling.New(scheduling.Options{}), Upstream: wire, Logger: log, Limits: proxy.Limits{MaxBodyBytes: 1 << 20},
		External: func(ctx context.Context, pool *routing.Pool) proxy.Consultation { return client.Begin(ctx, pool) },
	})
	s := snapshotWith(stable)
	s.Pools[candidate.ID] = candidate
	half := &routing.Assignment{Rollout: "n/r", Attempt: 1, Candidate: 1, Share: routing.Buckets / 2, Keys: []routing.Key{{Header: "X-Session-Id"}}, Watched: true}
	half.Seal()
	s.Ports[0].Listeners[0].EachRoute(func(r *routing.Route) {
		r.Rule.Backends = append(r.Rule.Backends, routing.Backend{Ref: candidate.ID, Pool: candidate})
		r.Rule.Assignment = half
		r.Rule.Seal()
	})
	s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
	p.Publish(s)
	server := httptest.NewServer(p.Handler(80))
	t.Cleanup(func() {
		server.Close()
		client.Close()
		p.Close()
		wire.Close()
	})
	return server, half
}

// servedBy sends a request and returns who served it.
func servedBy(t *testing.T, server *httptest.Server, header http.Header) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/completions", strings.NewReader(prompt))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint("status ", resp.StatusCode)
	}
	return resp.Header.Get("X-Engine")
}
