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

func (o observer) Mirrored(m *routing.Mirror, result string) { o.metrics.Mirrored(m.Pool.Name, result) }

// poolOf is the pool a request was drawn to, "" when it did not get so far. Begin
// and End must agree on it, so it does not come from the growing Outcome.
func poolOf(v *proxy.Visit) string {
	if v.Backend == nil || v.Backend.Pool == nil {
		return ""
	}
	return v.Backend.Pool.Name
}
