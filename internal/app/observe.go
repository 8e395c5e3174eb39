package app

import (
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/tally"
)

// observer hands what the proxy tells of each request to metrics, access log and the
// books of rollouts.
type observer struct {
	metrics *admin.Metrics
	log     *admin.AccessLog
	books   *tally.Books
}

func (o observer) Begin(v *proxy.Visit) {
	o.metrics.InFlight(poolOf(v), 1)
	for i := range v.Parts {
		if p := &v.Parts[i]; p.Assignment != nil {
			p.Ticket = o.books.Arrive(tally.Part(*p), &v.Outcome, time.Now())
			o.metrics.Rollout(p.Assignment.Rollout, p.Candidate)
		}
	}
}

func (o observer) Gap(v *proxy.Visit, gap time.Duration) { o.metrics.Gap(&v.Outcome, gap) }

func (o observer) End(v *proxy.Visit) {
	o.metrics.InFlight(poolOf(v), -1)
	o.metrics.Record(&v.Outcome, v.Excluded)
	o.log.Record(v.Request, &v.Outcome)
	for i := range v.Parts {
		o.books.Close(tally.Part(v.Parts[i]), &v.Outcome)
	}
}

func (o observer) Failed(v *proxy.Visit, part int, _ string) {
	o.books.Failed(tally.Part(v.Parts[part]), time.Now())
}

func (o observer) FirstByte(v *proxy.Visit) {
	for i := range v.Parts {
		if v.Parts[i].Assignment != nil {
			o.books.FirstByte(tally.Part(v.Parts[i]), v.Outcome.Status, time.Now())
		}
	}
}

// Rescued moves the request's place among those in flight to where it is sent now,
// which End takes it from.
func (o observer) Rescued(v *proxy.Visit, drawn *routing.Backend) {
	o.metrics.InFlight(poolName(drawn), -1)
	o.metrics.InFlight(poolOf(v), 1)
	for i := range v.Parts {
		o.books.Rescued(tally.Part(v.Parts[i]), time.Now())
	}
}

func (o observer) Mirrored(m *routing.Mirror, result string) { o.metrics.Mirrored(m.Pool.Name, result) }

func (o observer) Compared(a *routing.Assignment, stable, candidate *llm.Outcome) {
	o.books.Pair(a, stable, candidate, time.Now())
}

// What proxy looks for in its Observer.
var (
	_ proxy.RolloutObserver = observer{}
	_ proxy.RescueObserver  = observer{}
	_ proxy.MirrorObserver  = observer{}
	_ proxy.CompareObserver = observer{}
)

// poolOf is the pool a request is at, "" when it did not get so far. Begin and End
// must agree on it but for Rescued, so it does not come from the growing Outcome.
func poolOf(v *proxy.Visit) string { return poolName(v.Backend) }

func poolName(b *routing.Backend) string {
	if b == nil || b.Pool == nil {
		return ""
	}
	return b.Pool.Name
}
