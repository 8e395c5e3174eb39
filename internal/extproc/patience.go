package extproc

import (
	"sync"
	"time"
)

// patience bounds waiting. It is safe for concurrent use: what is waited for and
// what ends a wait come from both directions of a stream.
type patience struct {
	mu      sync.Mutex
	period  time.Duration
	timer   *time.Timer
	waiting bool
}

// start begins the first wait; the end of this and of all later ones is fired.
func (p *patience) start(fire func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.period, fire)
	p.waiting = true
}

// begin begins a wait, if none is under way.
func (p *patience) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.waiting {
		p.waiting = true
		p.timer.Reset(p.period)
	}
}

// stop ends a wait.
func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	p.timer.Stop()
}

// extend changes how long waits are, and begins the one under way anew.
func (p *patience) extend(period time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.period = period
	if p.waiting {
		p.timer.Reset(p.period)
	}
}
