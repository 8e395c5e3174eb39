package rollout

import "testing"

// checkStep checks what never happens, for one step of any story.
func checkStep(t *testing.T, plan *Plan, before, after *State, e Event, actions []Action) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s at share %s, step %d, to %s at %s, step %d: "+format, append([]any{before.Phase, before.Share.Set, before.Step, after.Phase, after.Share.Set, after.Step}, args...)...)
	}
	if after.Share.Set < before.Share.Set && after.Phase != Aborting && after.Phase != Aborted && after.Phase != Superseded &&
		after.Number == before.Number && (e.Request == nil || e.Request.Verb != VerbSetShare) {
		fail("the share falls")
	}
	if after.Share.Set != before.Share.Set || after.Number != before.Number {
		if len(actions) == 0 || actions[0].Kind != Apply || actions[0].Share != after.Share.Set {
			fail("the share is not the first action: %v", actions)
		}
		if after.Share.Revision != before.Share.Revision+1 {
			fail("the share's revision goes from %d to %d", before.Share.Revision, after.Share.Revision)
		}
	}
	if n := count(actions, Apply); n > 1 {
		fail("%d shares by one event", n)
	}
	if after.Share.Set < 0 || after.Share.Set > Whole {
		fail("no such share")
	}
	if after.Number == before.Number && after.Step < before.Step {
		fail("a step backwards")
	}
	if after.At.Before(before.At) || after.Epoch < before.Epoch || after.Number < before.Number {
		fail("time, epoch or attempt go back")
	}
	switch after.Phase {
	case Aborting, Aborted, Superseded, Idle:
		if after.Share.Set != 0 {
			fail("the candidate keeps traffic")
		}
	case Promoted:
		if after.Share.Set != Whole {
			fail("promoted without all traffic")
		}
	}
	if before.Phase == Aborting && after.Number == before.Number && after.Phase != Aborting && after.Phase != Aborted {
		fail("an abort is left for something else")
	}
	if after.Pause != nil && after.Phase != Paused {
		fail("a pause in phase %s", after.Phase)
	}
	if len(after.History) > plan.HistoryLimit {
		fail("%d records", len(after.History))
	}
	if r := e.Request; r != nil && r.Verb == VerbAbort && r.ID != before.LastRequest && (r.Attempt == 0 || r.Attempt == before.Number) &&
		before.Phase.Running() && after.Share.Set != 0 && e.Epoch >= before.Epoch {
		fail("an abort was not followed")
	}
}

func count(actions []Action, kind ActionKind) int {
	n := 0
	for _, a := range actions {
		if a.Kind == kind {
			n++
		}
	}
	return n
}
