package conductor

import (
	"context"
	"maps"
	"sync"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// question is what a provider is asked about.
type question struct {
	rollout           string // namespace/name
	stable, candidate string
	attempt           int64
	share             rollout.Share
}

// providers asks the providers of one rollout, each at its interval, in the
// background: one that is slow holds up nothing. Methods are called from one
// goroutine. The zero value with an asker asks nobody.
type providers struct {
	asker   *asker
	asking  map[translate.Provider]context.CancelFunc
	attempt int64
	running sync.WaitGroup

	mu      sync.Mutex
	about   question
	answers map[string]answer // not given yet, by guardrail
	count   int
}

// answer is one value; number tells it from the next one.
type answer struct {
	rollout.Value
	number int
}

// ask keeps the providers of list asked about q until ctx ends or it is called
// again; an empty list: nobody. Answers about another attempt are thrown away.
func (p *providers) ask(ctx context.Context, list []translate.Provider, q question) {
	p.mu.Lock()
	p.about = q
	p.mu.Unlock()
	wanted := make(map[translate.Provider]bool, len(list))
	for _, x := range list {
		wanted[x] = true
	}
	for x, cancel := range p.asking {
		if !wanted[x] || p.attempt != q.attempt {
			cancel()
			delete(p.asking, x)
		}
	}
	if p.attempt != q.attempt {
		p.mu.Lock()
		p.attempt, p.answers = q.attempt, nil
		p.mu.Unlock()
	}
	for x := range wanted {
		if p.asking[x] == nil {
			work, cancel := context.WithCancel(ctx)
			if p.asking == nil {
				p.asking = map[translate.Provider]context.CancelFunc{}
			}
			p.asking[x] = cancel
			p.running.Go(func() { p.follow(work, x) })
		}
	}
}

// follow asks one provider until ctx ends.
func (p *providers) follow(ctx context.Context, x translate.Provider) {
	every := time.NewTicker(x.Interval)
	defer every.Stop()
	for {
		p.mu.Lock()
		about := p.about
		p.mu.Unlock()
		value, err := p.asker.ask(ctx, x, about)
		if ctx.Err() != nil {
			return
		}
		v := rollout.Value{Guardrail: x.Guardrail, Value: value}
		if err != nil {
			v.Err = err.Error()
		}
		p.keep(about.attempt, v)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (p *providers) keep(attempt int64, v rollout.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if attempt != p.attempt {
		return
	}
	if p.answers == nil {
		p.answers = map[string]answer{}
	}
	p.count++
	p.answers[v.Guardrail] = answer{v, p.count}
}

// fresh returns the answers that were not given yet.
func (p *providers) fresh() (values []rollout.Value, upTo int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		values = append(values, a.Value)
	}
	return values, p.count
}

// given forgets the answers that came up to a number: they are part of a state now.
func (p *providers) given(upTo int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.answers, func(_ string, a answer) bool { return a.number <= upTo })
}

// stop asks nobody any more, and returns when nobody is being asked.
func (p *providers) stop() {
	for _, cancel := range p.asking {
		cancel()
	}
	clear(p.asking)
	p.running.Wait()
}

// ask has the providers asked while an attempt of the plan is under way.
func (w *worker) ask(ctx context.Context) {
	plan, s := &w.followed.Plan, w.state
	var list []translate.Provider
	if s.Phase.Running() && s.Key == plan.Key() {
		list = w.followed.Providers
	}
	w.providers.ask(ctx, list, question{rollout: plan.Name, stable: s.Stable, candidate: s.Candidate, attempt: s.Number, share: s.Share.Set})
}
