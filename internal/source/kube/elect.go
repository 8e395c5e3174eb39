package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// LeaseOptions are the settings of Elect.
type LeaseOptions struct {
	// Namespace and Name of the Lease; Identity is ours, different from that of
	// every other process, such as the pod's name.
	Namespace, Name, Identity string
	// Duration is how long a leader that is silent is still taken for one, 0 is
	// 15 s; Renew is when a leader that cannot renew gives up, 0 is 10 s; Retry
	// is the pause between tries, 0 is 2 s.
	Duration, Renew, Retry time.Duration
	// Logger is told who leads; nil logs nothing.
	Logger *slog.Logger
}

// errLost says that what leads ended though nobody asked it to.
var errLost = errors.New("elect a leader: the lease was lost to another process, or could not be renewed in time")

// Elect waits until this process leads, runs run, and returns when run has: nil
// when ctx ended, else an error, for then another process may lead. The context of
// run ends when ctx does or when the lead is lost. The Lease is given back once run
// has returned, so that the next process leads within a moment and never beside
// this one.
func Elect(ctx context.Context, cfg *rest.Config, o LeaseOptions, run func(context.Context)) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	leads := make(chan context.Context, 1)
	elector, err := newElector(cfg, o, leads)
	if err != nil {
		return fmt.Errorf("elect a leader: %w", err)
	}
	hold, release := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.FromSlogHandler(o.Logger.Handler())))
	var election sync.WaitGroup
	election.Go(func() { elector.Run(hold) })
	defer election.Wait()
	defer release()

	select {
	case <-ctx.Done():
		return nil
	case lead := <-leads:
		o.Logger.Info("this process leads", "lease", o.Namespace+"/"+o.Name)
		within, cancel := context.WithCancel(lead)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		run(within)
	}
	if ctx.Err() != nil {
		return nil
	}
	return errLost
}

// newElector returns an elector that hands over a context when we lead, which ends
// when we do not any longer.
func newElector(cfg *rest.Config, o LeaseOptions, leads chan<- context.Context) (*leaderelection.LeaderElector, error) {
	client, err := coordination.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Client: client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		},
		LeaseDuration:   cmp.Or(o.Duration, 15*time.Second),
		RenewDeadline:   cmp.Or(o.Renew, 10*time.Second),
		RetryPeriod:     cmp.Or(o.Retry, 2*time.Second),
		ReleaseOnCancel: true,
		Name:            o.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lead context.Context) { leads <- lead },
			OnStoppedLeading: func() {},
		},
	})
}
