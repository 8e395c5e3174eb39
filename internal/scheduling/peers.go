package scheduling

import (
	"cmp"
	"slices"
	"time"
)

// News is what one gateway tells the others of a Gateway: the work it has at
// each endpoint, whole, and what it has learned since its last news of the
// endpoint's cache. News that is lost is made up for by the next: only some blocks
// stay unknown.
type News struct {
	// Origin names the gateway, as no other is named.
	Origin string
	Pools  []PoolNews
}

// PoolNews is that of one pool.
type PoolNews struct {
	ID        string
	Endpoints []EndpointNews // those of which there is any
}

// EndpointNews is that of one endpoint.
type EndpointNews struct {
	Address string
	// Requests in flight; Prefills of them have no first token.
	Requests, Prefills int
	// Tokens: Pending uncached prompt tokens that are to be computed beside
	// Prompts, Context of prompts and answers so far, KV in use with shared ones
	// once.
	Pending, Context, KV int
	// Prompts that have no first token, in the order in which they were sent;
	// of very many the first.
	Prompts []PromptNews
	// Coming is what the latest calls whose answers come in one piece have the
	// endpoint compute; their tokens are in Pending.
	Coming []BlocksNews
	// FirstToken is how long ago the last first token came; 0 when that is not
	// known.
	FirstToken time.Duration
	// Adapters with requests.
	Adapters []string

	// Since the last news: prompt tokens that were Computed, as their first token
	// came, and blocks of Answers that ended.
	Computed, Answers int
	// Blocks are hashes of prompt blocks that the endpoint was sent and had not
	// been, or had not been sent again before: both keep them in its cache.
	Blocks []uint64
}

// PromptNews is a prompt without a first token.
type PromptNews struct {
	Sent   time.Duration // ago
	Tokens int           // uncached
	BlocksNews
}

// BlocksNews is what of a prompt an endpoint had not been sent: Blocks from block At
// on, whose hash is First.
type BlocksNews struct {
	Blocks, At int
	First      uint64
}

func (b *brings) news() BlocksNews {
	return BlocksNews{Blocks: int(b.blocks), At: int(b.at), First: b.first}
}

func (n *BlocksNews) brings() brings {
	return brings{first: n.First, at: int32(count(n.At)), blocks: int32(count(n.Blocks))}
}

const (
	// peersFor is how long news is believed: a few times the interval at which
	// it comes, so that a gateway that dies takes its work with it.
	peersFor = 2.0 // seconds
	// newsBlocks bounds the blocks of a pool that wait to be told of.
	newsBlocks = 1 << 16
	// newsPrompts bounds the prompts of an endpoint that are told one by one.
	newsPrompts = 64
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

// urgentTokens is after how many prompt tokens to be computed news should not
// wait: a tenth of a second of an engine, by which it would be mistaken for idle.
const urgentTokens = 2048

// tellSoon asks for news when an endpoint has been sent much that is not told.
func (p *pool) tellSoon(uncached float64) {
	if !p.options.Share {
		return
	}
	if p.untoldTokens += uncached; p.untoldTokens < urgentTokens {
		return
	}
	select {
	case p.urgent <- struct{}{}:
	default: // it has been asked for
	}
}

// Urgent has a value when the others should not wait for the next news: much has
// been sent to an endpoint since the last.
func (s *Scheduler) Urgent() <-chan struct{} { return s.urgent }

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
	p.untold, p.untoldTokens = p.untold[:0], 0
	now := p.seconds(at)
	var out []EndpointNews
	for _, e := range p.endpoints {
		if e.own == (work{}) && e.untoldComputed == 0 && e.untoldAnswers == 0 && blocks[int32(e.slot)] == nil {
			continue
		}
		n := EndpointNews{
			Address: e.address, Requests: int(e.own.requests), Prefills: int(e.own.prefills),
			Context: int(e.own.context), KV: int(e.own.kv),
			Computed: int(e.untoldComputed), Answers: e.untoldAnswers, Blocks: blocks[int32(e.slot)],
		}
		p.tellPrompts(e, &n, now)
		for _, a := range e.adapters.list {
			if a.inFlight > 0 {
				n.Adapters = append(n.Adapters, p.adapters.names[a.id])
			}
		}
		e.untoldComputed, e.untoldAnswers = 0, 0
		out = append(out, n)
	}
	return out
}

// tellPrompts says what the engine has to compute. How far it is, the others find
// out: that depends on what all have sent.
func (p *pool) tellPrompts(e *endpoint, n *EndpointNews, now float64) {
	pending := e.own.pending
	if e.first != nil {
		n.Prompts = make([]PromptNews, 0, min(newsPrompts, int(e.own.prefills)))
	}
	for r := e.first; r != nil && len(n.Prompts) < newsPrompts; r = r.next {
		n.Prompts = append(n.Prompts, PromptNews{Sent: ago(now - r.begun), Tokens: int(r.uncached), BlocksNews: r.brings.news()})
		pending -= r.uncached
	}
	if e.unary.requests > 0 {
		pending += e.unary.left(now, &p.engine)
		for i := range e.unary.coming {
			if c := &e.unary.coming[i]; now < c.until {
				n.Coming = append(n.Coming, c.news())
			}
		}
	}
	n.Pending = int(max(0, pending))
	if e.done > 0 {
		n.FirstToken = max(1, ago(now-e.done))
	}
}

func ago(seconds float64) time.Duration { return time.Duration(max(0, seconds) * float64(time.Second)) }

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
	told  []told // by slot
}

// told is what a gateway has at one endpoint.
type told struct {
	work
	done    float64      // instant of the last first token
	prompts []toldPrompt // by begun
	coming  []brings
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
	for i := range from.told {
		t := &from.told[i]
		*t = told{done: t.done, prompts: t.prompts[:0], coming: t.coming[:0]}
	}
	if more := p.slots.count - len(from.told); more > 0 {
		from.told = append(from.told, make([]told, more)...)
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
	t := &from.told[e.slot]
	t.work = work{
		requests: count(n.Requests), prefills: min(count(n.Prefills), count(n.Requests)),
		pending: count(n.Pending), context: count(n.Context), kv: count(n.KV),
	}
	if n.FirstToken > 0 {
		t.done = now - n.FirstToken.Seconds()
	}
	for _, r := range n.Prompts[:min(len(n.Prompts), newsPrompts)] {
		tokens := count(r.Tokens)
		t.pending += tokens
		t.prompts = append(t.prompts, toldPrompt{begun: now - max(0, r.Sent.Seconds()), told: now, tokens: tokens, brings: r.brings()})
	}
	for i := range n.Coming[:min(len(n.Coming), comingMost)] {
		t.coming = append(t.coming, n.Coming[i].brings())
	}
	e.computed += count(n.Computed)
	p.prompt(e, count(n.Computed), now)
	p.prefixes.add(blocksOf(n.Blocks), e.slot)
	p.prefixes.addAnonymous(max(0, n.Answers), e.slot)
	for _, name := range n.Adapters[:min(len(n.Adapters), 256)] {
		if id := p.adapters.find(name); id != noAdapter {
			e.adapters.use(id, now).listed = true
		}
	}
	e.adapters.trim()
}

// blocksOf keeps what another gateway says within what prompts have.
func blocksOf(told []uint64) []uint64 {
	told = told[:min(len(told), newsBlocks)]
	if slices.ContainsFunc(told, unlikeBlock) {
		told = slices.DeleteFunc(slices.Clone(told), unlikeBlock)
	}
	return told
}

func unlikeBlock(hash uint64) bool { return tag(hash) == anonymous }

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
		e.ahead, e.toldComing, e.peersDone = e.ahead[:0], e.toldComing[:0], 0
		for _, from := range p.peers {
			if e.slot >= len(from.told) {
				continue
			}
			t := &from.told[e.slot]
			e.peers.add(&t.work)
			e.ahead = append(e.ahead, t.prompts...)
			e.toldComing = append(e.toldComing, t.coming...)
			e.peersDone = max(e.peersDone, t.done)
		}
		if len(e.ahead) > 1 {
			slices.SortFunc(e.ahead, func(a, b toldPrompt) int { return cmp.Compare(a.begun, b.begun) })
		}
		e.toldKV = e.peers.kv
		if now <= e.foreignUntil {
			e.peers.kv *= e.kvShare
		}
		e.setOthers()
	}
}
