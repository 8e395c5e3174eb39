package gossip

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/scheduling"
)

// Path is where a gateway's admin port takes news.
const Path = "/gossip"

// Books are what news is of; [scheduling.Scheduler] keeps them, with
// Options.Share.
type Books interface {
	News(origin string, at time.Time) scheduling.News
	Merge(news scheduling.News, at time.Time)
	// Urgent has a value when there is news that should not wait.
	Urgent() <-chan struct{}

	// Lacking, Recall and Recalled learn what peers remember, Remember tells them.
	Lacking() []scheduling.Page
	Recall(scheduling.PoolNews)
	Recalled(pool string)
	Remember(scheduling.Page) scheduling.PoolNews
}

// Options of a Gossip.
type Options struct {
	// Books tell and take news; required.
	Books Books
	// Interval between two news, above 0.
	Interval time.Duration
	// Origin names this gateway among its peers; "" means a name by lot.
	Origin string
	// Logger hears of peers that cease to answer and answer again; nil means
	// nobody does.
	Logger *slog.Logger
}

// Gossip tells a changing set of peers the news of one gateway, and takes theirs
// as an http.Handler. It is safe for concurrent use.
type Gossip struct {
	options Options
	sender  sender
	changed chan struct{} // holds a value when peers have come
	ears    ears
	counts  counts

	sequence uint64 // of the last news; of Run alone

	recalling   atomic.Bool // somebody does
	remembering sync.Mutex  // held while a page is made

	mu    sync.Mutex
	peers map[netip.AddrPort]*peer
}

// counts are what Stats tells.
type counts struct {
	sent, failed, skipped, bytes, received, refused, recalled atomic.Uint64
}

// Stats are counts since the start.
type Stats struct {
	Peers    int
	Sent     uint64 // news that peers took, counted for each
	Failed   uint64 // that they did not take
	Skipped  uint64 // not sent, as the peer was let alone or far behind
	Bytes    uint64 // of those sent
	Received uint64 // news of others that was taken over
	Refused  uint64 // that was not: from strangers, old or unreadable
	Recalled uint64 // blocks of prompts that peers said they remember
}

// New returns a Gossip without peers. It sends nothing until Run.
func New(o Options) *Gossip {
	if o.Origin == "" {
		o.Origin = strconv.FormatUint(rand.Uint64(), 36)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gossip{
		options: o,
		sender:  newSender(),
		changed: make(chan struct{}, 1),
		ears:    newEars(),
		peers:   map[netip.AddrPort]*peer{},
	}
}

// SetPeers says where the admin ports of the others are. News is taken from
// their addresses alone, and from any port.
func (g *Gossip) SetPeers(at []netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for a := range g.peers {
		if !slices.Contains(at, a) {
			delete(g.peers, a)
		}
	}
	for _, a := range at {
		if g.peers[a] == nil {
			g.peers[a] = &peer{gossip: g, url: "http://" + a.String() + Path}
			select {
			case g.changed <- struct{}{}:
			default:
			}
		}
	}
	g.ears.know(at)
}

// Stats returns how much has been told and heard.
func (g *Gossip) Stats() Stats {
	c := &g.counts
	return Stats{
		Peers: len(g.all()), Sent: c.sent.Load(), Failed: c.failed.Load(), Skipped: c.skipped.Load(), Bytes: c.bytes.Load(),
		Received: c.received.Load(), Refused: c.refused.Load(), Recalled: c.recalled.Load(),
	}
}

func (g *Gossip) all() []*peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*peer, 0, len(g.peers))
	for _, p := range g.peers {
		out = append(out, p)
	}
	return out
}

// Run sends news until ctx ends; it returns nil, when the last has been sent or
// given up.
func (g *Gossip) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer g.sender.close()
	defer sending.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.changed:
		}
		// What was noted while nobody listened is too old to be told.
		g.options.Books.News(g.options.Origin, time.Now())
		g.talk(ctx, &sending)
	}
}

// talk sends news at each interval and when it is urgent, until ctx ends or no
// peer is left.
func (g *Gossip) talk(ctx context.Context, sending *sync.WaitGroup) {
	ticks := time.NewTicker(g.options.Interval)
	defer ticks.Stop()
	pause := time.NewTimer(0) // until news may be urgent again
	defer pause.Stop()
	var s said
	for {
		var urgent <-chan struct{}
		if s.paused {
			urgent = g.options.Books.Urgent()
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
			s.paused = true
			continue
		case <-urgent:
		case <-ticks.C:
			if lacking := g.options.Books.Lacking(); len(lacking) > 0 && g.recalling.CompareAndSwap(false, true) {
				sending.Go(func() { g.recall(ctx, lacking) })
			}
		}
		peers := g.all()
		if len(peers) == 0 {
			return
		}
		g.say(ctx, &s, peers, sending)
		s.paused = false
		pause.Reset(time.Duration(len(peers)) * urgentPause)
	}
}

// urgentPause for each peer is between news and urgent news: that bounds what
// telling many costs.
const urgentPause = 5 * time.Millisecond

// said is what talk remembers of the last news.
type said struct {
	paused          bool // urgentPause is over
	silent, tooMuch bool
}

// say sends news, unless nothing was told last time and there still is none.
func (g *Gossip) say(ctx context.Context, s *said, peers []*peer, sending *sync.WaitGroup) {
	now := time.Now()
	g.sequence++
	m := message{g.sequence, g.options.Books.News(g.options.Origin, now)}
	if s.silent && len(m.news.Pools) == 0 {
		return
	}
	s.silent = len(m.news.Pools) == 0
	body, err := appendMessage(nil, &m)
	if err != nil && !s.tooMuch {
		g.options.Logger.Warn("other gateways are told nothing", "error", err)
	}
	if s.tooMuch = err != nil; s.tooMuch {
		return
	}
	for _, p := range peers {
		if p.offer(body, now) {
			sending.Go(func() { p.send(ctx) })
		}
	}
}
