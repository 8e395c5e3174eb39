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
// when ctx ended, else an error, for then another process may lead. run is told how
// often the lead has changed hands, and one, so that it is at least 1: of two
// processes that both believe to lead, the one with the higher number does. The
// context of run ends when ctx does or when the lead is lost. The Lease is given back once run
// has returned, so that the next process leads within a moment and never beside
// this one.
func Elect(ctx context.Context, cfg *rest.Config, o LeaseOptions, run func(ctx context.Context, epoch int64)) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	leads := make(chan context.Context, 1)
	elector, lock, err := newElector(cfg, o, leads)
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
		if epoch, ok := epochNow(within, lock, cmp.Or(o.Retry, retryPeriod)); ok {
			run(within, epoch)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errLost
}

// epochNow asks the Lease how often it has changed hands, until it is told or ctx
// ends, as it does soon when the lead is lost again.
func epochNow(ctx context.Context, lock resourcelock.Interface, pause time.Duration) (epoch int64, ok bool) {
	for {
		record, _, err := lock.Get(ctx)
		if err == nil && record.HolderIdentity == lock.Identity() {
			return int64(record.LeaderTransitions) + 1, true
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(pause):
		}
	}
}

// retryPeriod is the pause between tries to lead where none is set.
const retryPeriod = 2 * time.Second

// newElector returns an elector that hands over a context when we lead, which ends
// when we do not any longer, and its lock, for others to read.
func newElector(cfg *rest.Config, o LeaseOptions, leads chan<- context.Context) (*leaderelection.LeaderElector, resourcelock.Interface, error) {
	client, err := coordination.NewForConfig(cfg)
	if err != nil {
		return nil, nil, err
	}
	newLock := func() resourcelock.Interface { // one is not safe for concurrent use
		return &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Client: client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		}
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            newLock(),
		LeaseDuration:   cmp.Or(o.Duration, 15*time.Second),
		RenewDeadline:   cmp.Or(o.Renew, 10*time.Second),
		RetryPeriod:     cmp.Or(o.Retry, retryPeriod),
		ReleaseOnCancel: true,
		Name:            o.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lead context.Context) { leads <- lead },
			OnStoppedLeading: func() {},
		},
	})
	return elector, newLock(), err
}
