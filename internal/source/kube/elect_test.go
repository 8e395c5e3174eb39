package kube

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

func TestElectLetsOneLeadAtATime(t *testing.T) {
	s := newAPIServer(t)
	lead := make(chan string)
	var last atomic.Int64
	start := func(name string) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			// The process that leads next must not have to wait for the lease of
			// one that is gone to run out.
			o := LeaseOptions{Namespace: "system", Name: "crossfade", Identity: name, Duration: time.Hour, Renew: time.Minute, Retry: 5 * time.Millisecond}
			done <- Elect(ctx, s.config(), o, func(ctx context.Context, epoch int64) {
				if before := last.Swap(epoch); epoch <= before || epoch < 1 {
					t.Errorf("%s leads in epoch %d, after %d", name, epoch, before)
				}
				lead <- name
				<-ctx.Done()
				lead <- "" // another that led by now would come first
			})
		}()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	stopA := start("a")
	if got := <-lead; got != "a" {
		t.Fatalf("%q leads", got)
	}
	stopB := start("b")
	go stopA()
	for _, want := range []string{"", "b"} {
		if got := <-lead; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	go stopB()
	<-lead
}

func TestElectSaysThatTheLeadIsLost(t *testing.T) {
	s := newAPIServer(t)
	o := LeaseOptions{Namespace: "system", Name: "crossfade", Identity: "a", Duration: 200 * time.Millisecond, Renew: 100 * time.Millisecond, Retry: 5 * time.Millisecond}
	err := Elect(context.Background(), s.config(), o, func(ctx context.Context, _ int64) {
		s.setFault(func(string, string, string) int { return 500 })
		<-ctx.Done()
	})
	if err == nil {
		t.Error("no error")
	}
}
