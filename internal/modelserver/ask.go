package modelserver

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// silentInterval is for endpoints that answer, but not with metrics we know.
const silentInterval = 30 * time.Second

func (p *Poller) askMetrics(e *endpoint) {
	if p.options.OnMetrics == nil {
		e.metrics.done(silentInterval)
		return
	}
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	// The state described is later than this, whatever the answer takes.
	at := time.Now()
	status, err := p.fetch(e, "/metrics", maxMetricsBytes, buf)
	if err == nil && status != http.StatusOK && !doesNotTell(status) {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		e.metrics.failed(lastRetry)
		p.failed(e, "/metrics", err)
		return
	}
	m, known := parseMetrics(*buf)
	if !known || status != http.StatusOK {
		e.metrics.done(silentInterval)
		return
	}
	if e.metrics.failures > 0 {
		// It may have been started anew, with other models.
		e.models.due = at
	}
	e.metrics.done(p.options.Interval)
	p.recovered(e)
	m.At = at
	e.setMetrics(m, p.options.OnMetrics)
}

func (p *Poller) askModels(e *endpoint) {
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	status, err := p.fetch(e, "/v1/models", maxModelsBytes, buf)
	var names, adapters []string
	switch {
	case err != nil:
	case status == http.StatusOK:
		names, adapters, err = parseModels(*buf)
	case doesNotTell(status):
	default:
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		e.models.failed(p.options.ModelsInterval)
		p.failed(e, "/v1/models", err)
		return
	}
	if !e.answered {
		// All endpoints of a snapshot are asked first at the same time.
		e.models.due = e.models.due.Add(rand.N(p.options.ModelsInterval) - p.options.ModelsInterval/2)
	}
	e.models.done(p.options.ModelsInterval)
	p.recovered(e)
	e.setModels(names, adapters, p.options.OnModels)
}

// doesNotTell is the answer of a server that has no such page, or not for us;
// asking more often would not help.
func doesNotTell(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

func (p *Poller) failed(e *endpoint, path string, err error) {
	if !e.down && e.ctx.Err() == nil {
		e.down = true
		p.options.Logger.Info("model server does not answer", "endpoint", e.target.Address, "path", path, "error", err)
	}
}

func (p *Poller) recovered(e *endpoint) {
	if e.down && !e.suspect() {
		e.down = false
		p.options.Logger.Info("model server answers again", "endpoint", e.target.Address)
	}
}
