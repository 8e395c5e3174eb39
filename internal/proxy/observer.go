package proxy

import (
	"net/http"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// A Visit is one request as an Observer sees it. It is valid during the calls of
// that Observer alone: the proxy uses its memory again.
//
// The pointers are those of one Snapshot, so an Observer may keep what it derives
// from them (a resolved set of metric labels, say) by pointer.
type Visit struct {
	// Request as it arrived. Its body must not be read.
	Request *http.Request
	// Listener, Route and Backend are nil where the request did not get so far. Backend
	// may change between Begin and End (RescueObserver).
	Listener *routing.Listener
	Route    *routing.Route
	Backend  *routing.Backend
	// Model is the rule of Backend's pool that the model fell under, nil when none.
	Model *routing.ModelRule
	// Excluded says that weighted pools of the route left the draw because they are
	// known not to serve the model; routing.Rule.Excluded names them.
	Excluded bool
	// Parts are the rollouts that the request has a part in: OfRule that of its
	// route's rule, OfModel that of its model's targets.
	Parts [2]Part
	// Outcome is complete in End; before, it has what is known so far.
	Outcome llm.Outcome
}

// Indices of Visit.Parts.
const (
	OfRule  = 0
	OfModel = 1
)

// Part is what a request has to do with one rollout.
type Part struct {
	Assignment *routing.Assignment // nil: nothing
	routing.Place
	// Failed is why the request failed on the candidate before the first byte of an
	// answer, one of llm's reasons; "" when it did not. A RolloutObserver has been told.
	Failed string
	// Rescued is why the candidate's try was given up, one of llm's reasons, before
	// stable was asked instead; "" when that did not happen. The Outcome is then
	// stable's. It is Failed, or llm.ReasonRolloutCancelled, which is no failure.
	//
	// A request's other part has it as well, whatever its side: its Outcome belongs to
	// neither version of that rollout.
	Rescued string
	// Ticket is the Observer's own: what it notes in Begin stays until End.
	Ticket uint64
}

// An Observer is told of every request; metrics and access log stand behind it.
// It is called in the request's own goroutine, so it must be quick and safe for
// concurrent use, and must not keep the Visit.
type Observer interface {
	// Begin comes once per request: when its backend is drawn and it is about to be
	// sent, or right before End when it never gets so far.
	Begin(v *Visit)
	// Gap comes for each time between two content events of a streamed answer.
	Gap(v *Visit, gap time.Duration)
	// End comes once per request, after the last byte.
	End(v *Visit)
}

// A RolloutObserver is an Observer that is also told of what happens to requests with
// a part in a rollout before they end, which may be minutes later. The rules of an
// Observer's methods hold; Begin has come, End has not.
type RolloutObserver interface {
	// Failed comes once at most for each part whose candidate failed before the first
	// byte of an answer, whether the request is then rescued or not; v.Outcome has the
	// start, and the endpoint that failed last. What the gateway or the client is to
	// blame for is no failure, nor is an answer below 500. reason is that of the Part.
	Failed(v *Visit, part int, reason string)
	// FirstByte comes once, when the client is about to be sent the first byte of an
	// answer's body, of any status. Answers without a body have none. For a request
	// that was rescued it is stable's answer; Parts tell. It may follow Failed where
	// a candidate's error is passed on.
	FirstByte(v *Visit)
}

// A RescueObserver is an Observer that is also told when a request goes over from a
// candidate to stable. The rules of an Observer's methods hold.
type RescueObserver interface {
	// Rescued comes once at most, after Begin and Failed. v.Backend is the one that is
	// asked from now on, drawn the one that Begin was called with: the same where the
	// rollout is one of a model's targets.
	Rescued(v *Visit, drawn *routing.Backend)
}

// A MirrorObserver is an Observer that is also told what became of each copy of a
// request that a mirror was meant to get.
type MirrorObserver interface {
	// Mirrored comes once per copy; result is MirrorAnswered, MirrorFailed or
	// MirrorDropped. The same rules hold as for an Observer's methods, but the
	// goroutine may be another than the request's.
	Mirrored(m *routing.Mirror, result string)
}

// A ShadowObserver is an Observer that is also told what became of each copy of a
// request of stable's that the candidate of a rollout was meant to get.
type ShadowObserver interface {
	// Shadowed comes once per copy, as Mirrored does.
	Shadowed(a *routing.Assignment, result string)
}

// A CompareObserver is an Observer that is also told how the candidate of a rollout
// did what stable did for a client.
type CompareObserver interface {
	// Compared comes once for each copy that was not dropped, when both the request on
	// stable and the copy are over, in the goroutine of either. The outcomes are the
	// observer's to keep.
	//
	// Both were asked the same, but the copy for no more tokens than a.Shadow.MaxTokens:
	// where an answer is that long, its length and finish reason say nothing. Start of
	// the candidate's is when the copy was taken up. Its times are those of arrival
	// here, for nobody takes its answer. In a full pool copies come after all clients,
	// so there their times are longer.
	Compared(a *routing.Assignment, stable, candidate *llm.Outcome)
}

// nobody is the Observer of a Proxy that was given none.
type nobody struct{}

func (nobody) Begin(*Visit)              {}
func (nobody) Gap(*Visit, time.Duration) {}
func (nobody) End(*Visit)                {}
