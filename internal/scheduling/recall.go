package scheduling

import (
	"cmp"
	"slices"
)

// Page says which part of what a gateway remembers of prompts in a pool another
// one asks for: endpoints in the order of their addresses, and of each its blocks,
// those of the latest use first.
type Page struct {
	Pool     string // ID
	Endpoint string // address of the first; "" from the beginning
	Skip     int    // so many blocks of that one
	Each     int    // most blocks of an endpoint, skipped ones included
}

const (
	// pageBlocks is how many blocks a page has at most: 64 KB, and less than a
	// millisecond of a pool's lock.
	pageBlocks = 1 << 13
	// recallBlocks is how many blocks a gateway asks for in all of a pool: 4 MB.
	recallBlocks = 1 << 19
)

// After returns the page that follows got, the answer to p; false when got was
// the last.
func (p Page) After(got *PoolNews) (Page, bool) {
	if got.ID != p.Pool || len(got.Endpoints) == 0 {
		return p, false
	}
	last := &got.Endpoints[len(got.Endpoints)-1]
	switch {
	case last.Address < p.Endpoint, len(last.Blocks) == 0:
		return p, false // it would go round in circles
	case last.Address > p.Endpoint:
		p.Endpoint, p.Skip = last.Address, 0
	}
	p.Skip += len(last.Blocks)
	return p, true
}

// Remember returns a page: of its endpoints nothing but Blocks, in which 0 stands
// for one that is no prompt's.
func (s *Scheduler) Remember(page Page) PoolNews {
	s.mu.RLock()
	p := s.pools[page.Pool]
	s.mu.RUnlock()
	if p == nil {
		return PoolNews{ID: page.Pool}
	}
	return PoolNews{ID: page.Pool, Endpoints: p.remember(page)}
}

func (p *pool) remember(page Page) (out []EndpointNews) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := make([]string, 0, len(p.endpoints))
	for a := range p.endpoints {
		if a >= page.Endpoint {
			addresses = append(addresses, a)
		}
	}
	slices.Sort(addresses)
	room := pageBlocks
	for _, a := range addresses {
		skip := 0
		if a == page.Endpoint {
			skip = max(0, page.Skip)
		}
		blocks := p.prefixes.newest(p.endpoints[a].slot, skip, min(room, page.Each-skip))
		if len(blocks) == 0 {
			continue
		}
		out = append(out, EndpointNews{Address: a, Blocks: blocks})
		if room -= len(blocks); room == 0 {
			break
		}
	}
	return out
}

// Recall takes over a page of what another gateway remembers, as older than all
// that is known here. Endpoints that are not known are passed over.
func (s *Scheduler) Recall(n PoolNews) {
	s.mu.RLock()
	p := s.pools[n.ID]
	s.mu.RUnlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n.Endpoints {
		if e := p.endpoints[n.Endpoints[i].Address]; e != nil {
			p.prefixes.addOldest(blocksOf(n.Endpoints[i].Blocks), e.slot)
		}
	}
}

// Lacking returns the first pages of pools that no other gateway was asked of since
// they came into being, by ID. Options.Share must be set.
func (s *Scheduler) Lacking() []Page {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Page
	for id, p := range s.pools {
		if p.recalled.Load() {
			continue
		}
		if n, prompts := p.size(); prompts {
			out = append(out, Page{Pool: id, Each: recallBlocks / max(1, n)})
		}
	}
	slices.SortFunc(out, func(a, b Page) int { return cmp.Compare(a.Pool, b.Pool) })
	return out
}

// size returns how many endpoints there are, and whether they are sent prompts.
func (p *pool) size() (endpoints int, prompts bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.endpoints), p.aligned != nil && p.aligned.Inference
}

// Recalled ends that a pool is lacking.
func (s *Scheduler) Recalled(id string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.pools[id]; p != nil {
		p.recalled.Store(true)
	}
}
