package scheduling

import (
	"time"
)

// News is what one gateway tells the others of a Gateway: the work it has at
// each endpoint, whole, and the prompt blocks it has sent there since its last
// news. News that is lost is made up for by the next: only some blocks stay
// unknown.
type News struct {
	// Origin names the gateway, as no other is named.
	Origin string
	Pools  []PoolNews
}

// PoolNews is that of one pool.
type PoolNews struct {
	ID        string
	Endpoints []EndpointNews // those with work or blocks
}

// EndpointNews is that of one endpoint.
type EndpointNews struct {
	Address string
	// Requests in flight; Prefills of them have no first token.
	Requests, Prefills int
	// Tokens: Pending uncached prompt tokens without a first token, Context of
	// prompts and answers so far, KV in use with shared ones once.
	Pending, Context, KV int
	// Adapters with requests.
	Adapters []string
	// Blocks are hashes of prompt blocks that the endpoint had not been sent.
	Blocks []uint64
}

const (
	// peersFor is how long news is believed: a few times the interval at which
	// it comes, so that a gateway that dies takes its work with it.
	peersFor = 2.0 // seconds
	// newsBlocks bounds the blocks of a pool that wait to be told of.
	newsBlocks = 1 << 16
	// newsOrigins bounds the gateways whose news a pool keeps.
	newsOrigins = 64
)

// toldBlock is a block that was sent to a slot since the last news.
type toldBlock struct {
	hash uint64
	slot int32
}

// tell notes blocks for the next news.
func (p *pool) tell(hashes []uint64, slot int) {
	if !p.options.Share {
		return
	}
	for _, h := range hashes {
		if len(p.untold) == newsBlocks {
			return
		}
		p.untold = append(p.untold, toldBlock{h, int32(slot)})
	}
}

// News returns what there is to tell at an instant, and forgets which blocks.
// Options.Share must be set.
func (s *Scheduler) News(origin string, at time.Time) News {
	s.mu.RLock()
	defer s.mu.RUnlock()
	news := News{Origin: origin}
	for id, p := range s.pools {
		if n := p.news(at); len(n) > 0 {
			news.Pools = append(news.Pools, PoolNews{ID: id, Endpoints: n})
		}
	}
	return news
}

func (p *pool) news(at time.Time) []EndpointNews {
	p.mu.Lock()
	defer p.mu.Unlock()
	blocks := map[int32][]uint64{}
	for _, b := range p.untold {
		blocks[b.slot] = append(blocks[b.slot], b.hash)
	}
	p.untold = p.untold[:0]
	now := p.seconds(at)
	var out []EndpointNews
	for _, e := range p.endpoints {
		w := e.own
		e.load.progressed(now, &p.engine, &w)
		if w == (work{}) && blocks[int32(e.slot)] == nil {
			continue
		}
		n := EndpointNews{
			Address: e.address, Requests: int(w.requests), Prefills: int(w.prefills),
			Pending: int(w.pending), Context: int(w.context), KV: int(w.kv), Blocks: blocks[int32(e.slot)],
		}
		for _, a := range e.adapters.list {
			if a.inFlight > 0 {
				n.Adapters = append(n.Adapters, p.adapters.names[a.id])
			}
		}
		out = append(out, n)
	}
	return out
}

// Merge takes over another gateway's news that came at an instant. Pools and
// endpoints that are not known here are passed over.
func (s *Scheduler) Merge(news News, at time.Time) {
	told := map[string]*PoolNews{}
	for i := range news.Pools {
		told[news.Pools[i].ID] = &news.Pools[i]
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, p := range s.pools {
		n := told[id]
		if n == nil {
			n = &PoolNews{} // it has nothing there any more
		}
		p.merge(news.Origin, n, at)
	}
}

// peer is the last news of one gateway.
type peer struct {
	until float64
	work  []work // by slot
}

func (p *pool) merge(origin string, n *PoolNews, at time.Time) {
	p.mu.Lock()
	defer p.unlock()
	now := p.seconds(at)
	from := p.peers[origin]
	if from == nil {
		if len(p.peers) >= newsOrigins {
			p.sumPeers(now) // those that are silent make room
		}
		if len(p.peers) >= newsOrigins {
			return
		}
		from = &peer{}
	}
	from.until = now + peersFor
	clear(from.work)
	if more := p.slots.count - len(from.work); more > 0 {
		from.work = append(from.work, make([]work, more)...)
	}
	for i := range n.Endpoints {
		p.mergeEndpoint(from, &n.Endpoints[i], now)
	}
	if p.peers == nil {
		p.peers = map[string]*peer{}
	}
	p.peers[origin] = from
	p.sumPeers(now)
	p.drain(now)
}

func (p *pool) mergeEndpoint(from *peer, n *EndpointNews, now float64) {
	e := p.endpoints[n.Address]
	if e == nil {
		return
	}
	from.work[e.slot] = work{
		requests: count(n.Requests), prefills: min(count(n.Prefills), count(n.Requests)),
		pending: count(n.Pending), context: count(n.Context), kv: count(n.KV),
	}
	p.prefixes.add(n.Blocks[:min(len(n.Blocks), newsBlocks)], e.slot)
	for _, name := range n.Adapters[:min(len(n.Adapters), 256)] {
		if id := p.adapters.find(name); id != noAdapter {
			e.adapters.use(id, now).listed = true
		}
	}
	e.adapters.trim()
}

// count keeps what another gateway says within what one can have.
func count(n int) float64 { return float64(max(0, min(n, 1<<30))) }

// sumPeers adds up the news that is believed.
func (p *pool) sumPeers(now float64) {
	for origin, from := range p.peers {
		if now > from.until {
			delete(p.peers, origin)
		}
	}
	for _, e := range p.endpoints {
		e.peers, e.peersUntil = work{}, now+peersFor
		for _, from := range p.peers {
			if e.slot < len(from.work) {
				e.peers.add(&from.work[e.slot])
			}
		}
		e.setOthers()
	}
}
