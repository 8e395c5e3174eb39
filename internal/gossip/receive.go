package gossip

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// ears know from whom news is taken, and what was heard last.
type ears struct {
	mu    sync.Mutex
	known map[netip.Addr]bool
	heard map[string]last // by origin
}

// last is the newest news of one origin.
type last struct {
	sequence uint64
	at       time.Time
}

const (
	// maxOrigins bounds the origins that are told apart; forgetAfter is when one
	// that is silent makes room for others.
	maxOrigins  = 256
	forgetAfter = time.Minute
)

func newEars() ears { return ears{heard: map[string]last{}} }

func (e *ears) know(peers []netip.AddrPort) {
	known := map[netip.Addr]bool{}
	for _, p := range peers {
		known[p.Addr().Unmap().WithZone("")] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = known
}

// knows says whether a connection's far end is a peer.
func (e *ears) knows(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[a.Addr().Unmap().WithZone("")]
}

// fresh says whether news is newer than what was heard of its origin, and
// remembers it: news that took another way may come late.
func (e *ears) fresh(origin string, sequence uint64, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, ok := e.heard[origin]
	if ok && sequence <= before.sequence {
		return false
	}
	if !ok && len(e.heard) >= maxOrigins {
		for o, l := range e.heard {
			if now.Sub(l.at) > forgetAfter {
				delete(e.heard, o)
			}
		}
		if len(e.heard) >= maxOrigins {
			return false
		}
	}
	e.heard[origin] = last{sequence, now}
	return true
}

// ServeHTTP takes the news of one peer: 204 when it was taken or is none, 403 to
// strangers, 413 and 400 when it is too much or unreadable. A GET asks for a page
// of what is remembered here (recall.go).
func (g *Gossip) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if status := g.remember(w, r); status != http.StatusOK {
			g.counts.refused.Add(1)
			http.Error(w, http.StatusText(status), status)
		}
		return
	}
	status := g.receive(w, r)
	if status != http.StatusNoContent {
		g.counts.refused.Add(1)
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.WriteHeader(status)
}

func (g *Gossip) receive(w http.ResponseWriter, r *http.Request) int {
	if !g.ears.knows(r.RemoteAddr) {
		return http.StatusForbidden
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	} else if err != nil {
		return http.StatusBadRequest
	}
	m, err := parseMessage(body)
	if err != nil {
		return http.StatusBadRequest
	}
	now := time.Now()
	if m.news.Origin == g.options.Origin || !g.ears.fresh(m.news.Origin, m.sequence, now) {
		g.counts.refused.Add(1)
		return http.StatusNoContent // nothing that the sender could do better
	}
	g.options.Books.Merge(m.news, now)
	g.counts.received.Add(1)
	return http.StatusNoContent
}
