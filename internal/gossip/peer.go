package gossip

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long a peer may take: it believes news for two seconds.
	patience = time.Second
	// A peer that fails is let alone for firstPause, twice as long each further
	// time, at most longestPause.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// mostWaits is how many news wait for a peer that is slow: blocks are told of
	// once, so skipping some costs prefixes.
	mostWaits = 16
	// mourned is after how many failures in a row a peer is said not to answer.
	mourned = 3
)

// sender posts to peers, over one connection to each.
type sender struct {
	transport *http.Transport
	client    *http.Client
}

func newSender() sender {
	t := &http.Transport{ // no proxy from the environment: peers are next door
		DisableCompression:  true,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     time.Minute,
	}
	return sender{t, &http.Client{
		Transport: t,
		Timeout:   patience,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// peer is one other gateway.
type peer struct {
	gossip *Gossip
	url    string

	mu       sync.Mutex
	busy     bool     // somebody sends what waits
	waits    [][]byte // news to send, the oldest first
	failures int      // in a row
	until    time.Time
}

// offer hands the peer news, unless it is let alone now, and says whether send must
// follow to carry it.
func (p *peer) offer(body []byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.until) {
		p.gossip.counts.skipped.Add(1)
		return false
	}
	if len(p.waits) == mostWaits {
		p.gossip.counts.skipped.Add(1)
		p.waits = slices.Delete(p.waits, 0, 1)
	}
	p.waits = append(p.waits, body)
	begin := !p.busy
	p.busy = true
	return begin
}

// next takes the oldest news that waits; without any, the peer is no longer busy.
func (p *peer) next() ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waits) == 0 {
		p.busy = false
		return nil, false
	}
	body := p.waits[0]
	p.waits = slices.Delete(p.waits, 0, 1)
	return body, true
}

// send posts what waits, in its order.
func (p *peer) send(ctx context.Context) {
	for body, ok := p.next(); ok; body, ok = p.next() {
		err := p.post(ctx, body)
		if ctx.Err() != nil {
			return
		}
		p.settle(err, len(body))
	}
}

func (p *peer) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := p.gossip.sender.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 1<<10) // so that the connection can be used again
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// settle notes how sending size bytes went, and says so when that has changed.
func (p *peer) settle(err error, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts, log := &p.gossip.counts, p.gossip.options.Logger
	if err == nil {
		counts.sent.Add(1)
		counts.bytes.Add(uint64(size))
		if p.failures >= mourned {
			log.Info("a gateway takes news again", "peer", p.url)
		}
		p.failures, p.until = 0, time.Time{}
		return
	}
	counts.failed.Add(1)
	if p.failures++; p.failures == mourned {
		log.Warn("a gateway takes no news, so it chooses endpoints without knowing what is sent there from here", "peer", p.url, "error", err)
	}
	p.waits = nil // when it comes back, newer is better
	p.until = time.Now().Add(min(longestPause, firstPause<<min(p.failures-1, 10)))
}
