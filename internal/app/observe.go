package app

import (
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
)

// observer hands what the proxy tells of each request to metrics and access log.
type observer struct {
	metrics *admin.Metrics
	log     *admin.AccessLog
}

func (o observer) Begin(v *proxy.Visit) { o.metrics.InFlight(poolOf(v), 1) }

func (o observer) Gap(v *proxy.Visit, gap time.Duration) { o.metrics.Gap(&v.Outcome, gap) }

func (o observer) End(v *proxy.Visit) {
	o.metrics.InFlight(poolOf(v), -1)
	o.metrics.Record(&v.Outcome, v.Excluded)
	o.log.Record(v.Request, &v.Outcome)
}

// Rescued moves the request's place among those in flight to the pool it is sent to
// now, which End takes it from.
func (o observer) Rescued(v *proxy.Visit, drawn *routing.Backend) {
	o.metrics.InFlight(nameOf(drawn), -1)
	o.metrics.InFlight(poolOf(v), 1)
}

func (o observer) Mirrored(m *routing.Mirror, result string) { o.metrics.Mirrored(m.Pool.Name, result) }

// poolOf is the pool a request is at, "" when it did not get so far. Begin and End
// must agree on it but for Rescued, so it does not come from the growing Outcome.
func poolOf(v *proxy.Visit) string { return nameOf(v.Backend) }

func nameOf(b *routing.Backend) string {
	if b == nil || b.Pool == nil {
		return ""
	}
	return b.Pool.Name
}
