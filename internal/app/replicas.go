package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/source/kube"
	"crossfade.dev/internal/translate"
)

// Bounds of reading what one replica has counted.
const (
	countsTimeout = 2 * time.Second
	maxCounts     = 4 << 20 // bytes
)

// replicas reads what the replicas of data planes have counted for rollouts.
type replicas struct {
	client *http.Client
	log    *slog.Logger

	mu     sync.Mutex
	planes map[translate.ObjectRef][]kube.Replica // by Gateway
	failed map[string]bool                        // by name, that was said
}

func newReplicas(log *slog.Logger) *replicas {
	return &replicas{
		// Pods are reached directly, whatever proxy leads elsewhere.
		client: &http.Client{
			Transport:     &http.Transport{MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log: log, failed: map[string]bool{},
	}
}

// set says which replicas there are.
func (r *replicas) set(in *translate.Resources, planes []translate.DataPlane) {
	now := make(map[translate.ObjectRef][]kube.Replica, len(planes))
	known := map[string]bool{}
	if len(in.InferenceRollouts) > 0 {
		for i := range planes {
			list := kube.Replicas(in, &planes[i])
			now[planes[i].Gateway] = list
			for _, replica := range list {
				known[replica.Name] = true
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.planes = now
	for name := range r.failed {
		if !known[name] {
			delete(r.failed, name)
		}
	}
}

// of returns the replicas of the Gateways that serve a rollout.
func (r *replicas) of(gateways []translate.ObjectRef) []kube.Replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []kube.Replica
	for _, g := range gateways {
		out = append(out, r.planes[g]...)
	}
	return out
}

// Counts implements conductor.Gateways. All replicas are asked at once.
func (r *replicas) Counts(ctx context.Context, of *translate.Rollout) map[string]*rollout.Counts {
	list := r.of(of.Gateways)
	answers := make([]*rollout.Counts, len(list))
	var asking sync.WaitGroup
	for i, replica := range list {
		asking.Go(func() {
			counts, err := r.ask(ctx, replica.Address)
			if err == nil {
				answers[i] = counts
			}
			r.say(ctx, replica.Name, err)
		})
	}
	asking.Wait()
	out := make(map[string]*rollout.Counts, len(list))
	for i, replica := range list {
		out[replica.Name] = answers[i]
	}
	return out
}

// ask reads the counts of one replica.
func (r *replicas) ask(ctx context.Context, address string) (*rollout.Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, countsTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/rollouts/counts", nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxCounts+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxCounts:
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxCounts)
	}
	counts := &rollout.Counts{}
	if err := json.Unmarshal(text, counts); err != nil {
		return nil, errors.New("its answer is no JSON of counts")
	}
	if counts.Epoch == "" {
		return nil, errors.New("its answer does not say which process it is of")
	}
	return counts, nil
}

// say logs that a replica cannot be read, and that it can be again, once each.
func (r *replicas) say(ctx context.Context, name string, err error) {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	r.mu.Lock()
	changed := r.failed[name] != (err != nil)
	if err != nil {
		r.failed[name] = true
	} else {
		delete(r.failed, name)
	}
	r.mu.Unlock()
	switch {
	case changed && err != nil:
		r.log.Warn("a data plane's replica does not say what it counted, so rollouts wait", "pod", name, "error", err)
	case changed:
		r.log.Info("a data plane's replica says again what it counted", "pod", name)
	}
}

// close drops connections that are idle.
func (r *replicas) close() { r.client.CloseIdleConnections() }
