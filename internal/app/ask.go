package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/rollout"
	"k8s.io/apimachinery/pkg/types"
)

// askWait is how long an answer waits for the step that takes a verb up.
const askWait = 5 * time.Second

// ask hands a verb to a rollout and waits for the step that takes it up. The verb is
// on the disk before anything happens, and an abort takes effect with the next
// build, even if no step does.
func (r *rollouts) ask(ctx context.Context, namespace, name string, request cfv1a1.RolloutRequest) (*cfv1a1.InferenceRollout, bool, error) {
	at := types.NamespacedName{Namespace: namespace, Name: name}
	if request.ID == "" {
		request.ID = rand.Text()
	}
	if err := r.submit(at, request); err != nil {
		return nil, false, err
	}
	r.ring()
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	for {
		o, state, next := r.look(at)
		switch {
		case o == nil:
			return nil, false, admin.ErrNotFound
		case state.LastRequest == request.ID && state.Refused != "":
			return nil, false, fmt.Errorf("%w: %s", admin.ErrConflict, state.Refused)
		case state.Took(request.ID):
			return o, true, nil
		}
		select {
		case <-ctx.Done():
			return o, false, nil
		case <-next:
		}
	}
}

// submit writes a verb into the status, if the rollout is in a state for it.
func (r *rollouts) submit(at types.NamespacedName, request cfv1a1.RolloutRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects[at] == nil {
		return admin.ErrNotFound
	}
	status := r.statuses[at]
	state := r.stateOf(at)
	stop := request.Verb == string(rollout.VerbAbort) || request.Verb == string(rollout.VerbPause)
	pending := status.Request != nil && !state.Took(status.Request.ID)
	switch {
	case state.Took(request.ID):
		return nil // it comes a second time
	case request.Attempt != status.Attempt && (request.Attempt != 0 || !stop):
		return fmt.Errorf("%w: %s is for attempt %d, but %d is the latest; look again", admin.ErrConflict, request.Verb, request.Attempt, status.Attempt)
	case pending && status.Request.Verb == string(rollout.VerbAbort):
		return fmt.Errorf("%w: an abort is under way", admin.ErrConflict)
	}
	if request.Attempt == 0 {
		request.Attempt = status.Attempt
	}
	status.Request = &request
	return r.put(at, status, request.Verb == string(rollout.VerbAbort))
}

// look returns a rollout, its state, and a channel that is closed when either has
// changed.
func (r *rollouts) look(at types.NamespacedName) (*cfv1a1.InferenceRollout, *rollout.State, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects[at] == nil {
		return nil, nil, nil
	}
	return r.shown(at), r.stateOf(at), r.written
}
