package gossip

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"crossfade.dev/internal/scheduling"
)

// A gateway that begins knows nothing of what engines have cached, and its peers
// tell only what changes. So it asks them, once for each pool, for the blocks they
// know, those of the latest use first, page by page. Nothing waits for it.
const (
	// recallPeers is how many that have any are asked for all they know: the first
	// may itself be about to learn.
	recallPeers = 2
	// recallPages bounds those of one peer and pool: 4 MB, and one that ends early
	// for each of as many endpoints as a pool has.
	recallPages = 1 << 10
	// recallRounds is how often all are asked, while some of them do not answer,
	// recallAgain apart.
	recallRounds = 10
	recallAgain  = time.Second
)

// recall learns what peers know of pools, until ctx ends.
func (g *Gossip) recall(ctx context.Context, first []scheduling.Page) {
	defer g.recalling.Store(false)
	for _, page := range first {
		answered := map[*peer]int{} // with how many blocks
		for round := 1; !g.recallPool(ctx, page, answered) && round < recallRounds; round++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(recallAgain):
			}
		}
		g.options.Books.Recalled(page.Pool)
	}
}

// recallPool asks one peer after the other, but for those that have answered, and
// reports whether that need not be done again: enough of them knew something, or
// all have answered.
func (g *Gossip) recallPool(ctx context.Context, first scheduling.Page, answered map[*peer]int) bool {
	knew, all := 0, true
	peers := g.all()
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	for _, p := range peers {
		if _, has := answered[p]; !has {
			blocks, err := g.recallFrom(ctx, p, first)
			if err != nil {
				all = false
				continue
			}
			answered[p] = blocks
		}
		if answered[p] > 0 {
			knew++
		}
		if knew == recallPeers {
			return true
		}
	}
	return all
}

// recallFrom takes over what one peer knows, and returns how many blocks that were.
func (g *Gossip) recallFrom(ctx context.Context, p *peer, page scheduling.Page) (blocks int, err error) {
	for range recallPages {
		m, err := p.ask(ctx, page)
		if err != nil || len(m.news.Pools) == 0 {
			return blocks, err
		}
		n := &m.news.Pools[0]
		next, more := page.After(n)
		if !more {
			return blocks, nil
		}
		g.options.Books.Recall(*n)
		for i := range n.Endpoints {
			blocks += len(n.Endpoints[i].Blocks)
			g.counts.recalled.Add(uint64(len(n.Endpoints[i].Blocks)))
		}
		page = next
	}
	return blocks, nil
}

// ask gets one page.
func (p *peer) ask(ctx context.Context, page scheduling.Page) (message, error) {
	q := url.Values{"pool": {page.Pool}, "endpoint": {page.Endpoint}, "skip": {strconv.Itoa(page.Skip)}, "each": {strconv.Itoa(page.Each)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"?"+q.Encode(), nil)
	if err != nil {
		return message{}, err
	}
	answer, err := p.gossip.sender.client.Do(r)
	if err != nil {
		return message{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMessage))
	if err != nil {
		return message{}, err
	}
	if answer.StatusCode != http.StatusOK {
		return message{}, fmt.Errorf("it answers %s", answer.Status)
	}
	return parseMessage(body)
}

// remember answers a peer that asks for a page.
func (g *Gossip) remember(w http.ResponseWriter, r *http.Request) int {
	if !g.ears.knows(r.RemoteAddr) {
		return http.StatusForbidden
	}
	q := r.URL.Query()
	skip, wrongSkip := strconv.ParseUint(q.Get("skip"), 10, 31)
	each, wrongEach := strconv.ParseUint(q.Get("each"), 10, 31)
	if wrongSkip != nil || wrongEach != nil {
		return http.StatusBadRequest
	}
	g.remembering.Lock() // one at a time, for calls need the processor too
	n := g.options.Books.Remember(scheduling.Page{Pool: q.Get("pool"), Endpoint: q.Get("endpoint"), Skip: int(skip), Each: int(each)})
	g.remembering.Unlock()
	body, err := appendMessage(nil, &message{news: scheduling.News{Origin: g.options.Origin, Pools: []scheduling.PoolNews{n}}})
	if err != nil {
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(body) // whoever asked may be gone
	return http.StatusOK
}
