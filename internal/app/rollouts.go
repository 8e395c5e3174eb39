package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/conductor"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// rollouts are the statuses of rollouts where no API server keeps them: in memory
// and, with a path, in a state file. It is the conductor's Store and Teller.
type rollouts struct {
	path string // of the state file; "" for none
	ring func() // asks for another build
	log  *slog.Logger

	mu       sync.Mutex
	file     *stateFile // nil until it is needed, and without a path
	opened   bool       // file is open, or none is needed
	problems []translate.Problem
	// objects as they were last read; statuses may hold some that are gone from the
	// files while these have errors.
	objects  map[types.NamespacedName]*cfv1a1.InferenceRollout
	statuses map[types.NamespacedName]cfv1a1.InferenceRolloutStatus
	accepted map[types.NamespacedName][]metav1.Condition
	recalled map[types.NamespacedName]bool // an earlier run began them
	written  chan struct{}                 // closed at the next write
	// absent is since when statuses have no object.
	absent map[types.NamespacedName]time.Time
	// unsaved: the file is older than statuses, because it could not be written.
	unsaved bool

	again, forget *time.Timer // ask for another build: to try again, and to prune
}

var errStateTaken = errors.New("another crossfade uses the state file")

func newRollouts(path string, ring func(), log *slog.Logger) *rollouts {
	return &rollouts{path: path, ring: ring, log: log, written: make(chan struct{}),
		statuses: map[types.NamespacedName]cfv1a1.InferenceRolloutStatus{}, absent: map[types.NamespacedName]time.Time{}}
}

func (r *rollouts) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.close() // it was only read since the last write
		r.file, r.opened = nil, false
	}
}

// apply takes over the objects that the files have now and returns copies with their
// statuses, and problems. Statuses of objects that are gone are forgotten after a while,
// unless the files have errors: then it is not known what is gone. ok is false while
// statuses cannot be kept: then the rollouts must not be followed.
func (r *rollouts) apply(objects []*cfv1a1.InferenceRollout, errs bool) (out []*cfv1a1.InferenceRollout, problems []translate.Problem, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (len(objects) > 0 || r.remembers()) && !r.open() {
		ringAfter(&r.again, rebind, r.ring) // whoever has the file may have let go
	}
	r.saveAgain()
	r.objects = map[types.NamespacedName]*cfv1a1.InferenceRollout{}
	for _, o := range objects {
		if o == nil {
			continue
		}
		r.objects[nameOf(o)] = o
		copied := *o
		copied.Status = r.statuses[nameOf(o)]
		out = append(out, &copied)
	}
	if !errs && r.opened {
		r.prune()
	}
	return out, r.problems, r.opened
}

// absence is how long an object may be absent before its status is forgotten. A file
// that is just being written may be empty for a moment, and a rollout that was aborted
// must not begin anew for that.
const absence = time.Minute

// prune forgets the statuses of objects that have been gone for long.
func (r *rollouts) prune() {
	now := time.Now()
	left, next := maps.Clone(r.statuses), absence
	maps.DeleteFunc(r.absent, func(name types.NamespacedName, _ time.Time) bool { return r.objects[name] != nil })
	for name := range r.statuses {
		if r.objects[name] != nil {
			continue
		}
		if _, known := r.absent[name]; !known {
			r.absent[name] = now
		}
		if since := now.Sub(r.absent[name]); since >= absence {
			delete(left, name)
		} else {
			next = min(next, absence-since)
		}
	}
	if len(left) < len(r.statuses) {
		if err := r.save(left); err != nil {
			r.log.Error("forget rollouts that are gone", "error", err)
			return // the next build tries again
		}
		r.statuses = left
		maps.DeleteFunc(r.absent, func(name types.NamespacedName, _ time.Time) bool { _, ok := left[name]; return !ok })
	}
	if len(r.absent) > 0 {
		ringAfter(&r.forget, next, r.ring)
	}
}

// ringAfter rings once after d, and no more when t was about to: else each build that
// asks for another one would do so for ever.
func ringAfter(t **time.Timer, d time.Duration, ring func()) {
	if *t != nil {
		(*t).Stop()
	}
	*t = time.AfterFunc(d, ring)
}

// remembers reports whether there is a file that is not open. Without rollouts it is
// opened to forget those that are gone.
func (r *rollouts) remembers() bool {
	if r.opened || r.path == "" {
		return false
	}
	_, err := os.Stat(r.path)
	return err == nil
}

// open opens the state file when it is first needed, and reports whether it is open.
func (r *rollouts) open() bool {
	if r.opened || r.path == "" {
		r.opened = true
		return true
	}
	file, saved, err := openState(r.path)
	var broken *unreadableState
	r.problems = nil
	switch {
	case errors.As(err, &broken):
		r.problems = append(r.problems, r.problem(err, "rollouts begin anew; what was there is in "+broken.moved))
		r.log.Error("state file moved aside; rollouts begin anew", "error", err, "moved", broken.moved)
	case err != nil:
		r.problems = append(r.problems, r.problem(fmt.Errorf("rollouts stand still: %w", err), "stop the other one, name another file by --state FILE, or remember nothing by --state none"))
		return false
	}
	r.file, r.opened = file, true
	r.recalled = map[types.NamespacedName]bool{}
	for _, s := range saved {
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		r.statuses[name], r.recalled[name] = s.Status, true
	}
	return true
}

func (r *rollouts) problem(err error, remedy string) translate.Problem {
	return translate.Problem{Severity: translate.Error, Ref: translate.ObjectRef{Kind: "File", Name: r.path}, Message: err.Error(), Remedy: remedy}
}

// save writes statuses to the file.
func (r *rollouts) save(statuses map[types.NamespacedName]cfv1a1.InferenceRolloutStatus) error {
	if r.file == nil {
		return nil
	}
	var list []savedRollout
	for _, name := range slices.SortedFunc(maps.Keys(statuses), compareNames) {
		list = append(list, savedRollout{Namespace: name.Namespace, Name: name.Name, Status: statuses[name]})
	}
	return r.file.write(list)
}

// put makes a status that of an object, on the disk first. What is urgent does not wait
// for a disk that is full: an abort that is lost at the next crash is better than none.
func (r *rollouts) put(name types.NamespacedName, status cfv1a1.InferenceRolloutStatus, urgent bool) error {
	next := maps.Clone(r.statuses)
	next[name] = status
	err := r.save(next)
	switch {
	case err != nil && !urgent:
		return err
	case err != nil:
		r.log.Error("the rollout is stopped, but a crash would forget that until the state file can be written", "rollout", name.String(), "error", err)
		ringAfter(&r.again, rebind, r.ring)
	}
	r.unsaved = err != nil
	r.statuses = next
	close(r.written)
	r.written = make(chan struct{})
	return nil
}

// saveAgain writes what could not be written.
func (r *rollouts) saveAgain() {
	if !r.unsaved {
		return
	}
	if r.save(r.statuses) != nil {
		ringAfter(&r.again, rebind, r.ring)
		return
	}
	r.unsaved = false
	r.log.Info("the state file can be written again")
}

// stops reports whether a status takes traffic from the candidate, or keeps it from
// getting more.
func stops(was, next *cfv1a1.InferenceRolloutStatus) bool {
	switch {
	case next.Shares == nil || was.Shares == nil:
		return false
	case next.Phase == string(rollout.Aborting) || next.Phase == string(rollout.Aborted):
		return true
	}
	return next.Attempt == was.Attempt && next.Shares.Set < was.Shares.Set
}

// Write implements conductor.Store.
func (r *rollouts) Write(_ context.Context, base, next *cfv1a1.InferenceRollout) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := nameOf(base)
	if r.objects[name] == nil {
		return conductor.ErrGone
	}
	was := r.statuses[name]
	if was.Machine != base.Status.Machine {
		return conductor.ErrStale
	}
	status := next.Status
	status.Request = was.Request
	if err := r.put(name, status, stops(&was, &status)); err != nil {
		return err
	}
	if !conductor.Alike(&was, &status) {
		r.ring()
	}
	return nil
}

// Tell implements conductor.Teller.
func (r *rollouts) Tell(o *cfv1a1.InferenceRollout, reason, message string, alarm bool) {
	say := r.log.Info
	if alarm {
		say = r.log.Error
	}
	say(message, "rollout", nameOf(o).String(), "reason", reason)
}

// accept takes over what translation says of rollouts.
func (r *rollouts) accept(statuses []translate.Status) {
	accepted := map[types.NamespacedName][]metav1.Condition{}
	for _, s := range statuses {
		if s.Ref.Kind == "InferenceRollout" && s.Ref.Group == cfv1a1.Group {
			accepted[types.NamespacedName{Namespace: s.Ref.Namespace, Name: s.Ref.Name}] = s.Conditions
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted = accepted
}

// list returns all rollouts as an API server would show them.
func (r *rollouts) list() []*cfv1a1.InferenceRollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*cfv1a1.InferenceRollout
	for _, name := range slices.SortedFunc(maps.Keys(r.objects), compareNames) {
		out = append(out, r.shown(name))
	}
	return out
}

func (r *rollouts) shown(name types.NamespacedName) *cfv1a1.InferenceRollout {
	o := *r.objects[name]
	o.TypeMeta = metav1.TypeMeta{APIVersion: cfv1a1.Group + "/" + cfv1a1.Version, Kind: "InferenceRollout"}
	o.Status = r.statuses[name]
	o.Status.Conditions = slices.Concat(r.accepted[name], o.Status.Conditions)
	return &o
}

// stateOf is the machine's state of a rollout; its zero value if there is none that
// can be read.
func (r *rollouts) stateOf(name types.NamespacedName) *rollout.State {
	status := r.statuses[name]
	state, err := conductor.StateOf(&status)
	if err != nil {
		return &rollout.State{}
	}
	return state
}

func nameOf(o *cfv1a1.InferenceRollout) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

func compareNames(a, b types.NamespacedName) int {
	return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
}
