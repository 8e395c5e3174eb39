package gossip

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// gateway is a scheduler with its gossip at a port of its own.
type gateway struct {
	*scheduling.Scheduler
	gossip *Gossip
	server *httptest.Server
	merged chan scheduling.News // what it was told; a value for each
	// recalled is closed when it has asked what others remember.
	recalled chan struct{}

	stop context.CancelFunc
	done chan struct{}
}

// Merge tells the test of what was merged.
func (g *gateway) Merge(n scheduling.News, at time.Time) {
	g.Scheduler.Merge(n, at)
	select {
	case g.merged <- n:
	default: // nobody waits
	}
}

// Recalled tells the test.
func (g *gateway) Recalled(pool string) {
	g.Scheduler.Recalled(pool)
	close(g.recalled)
}

func newGateway(t *testing.T, name string, log io.Writer) *gateway {
	g := &gateway{
		Scheduler: scheduling.New(scheduling.Options{Share: true, Rand: rand.New(rand.NewPCG(1, 1))}),
		merged:    make(chan scheduling.News, 1),
		recalled:  make(chan struct{}),
		done:      make(chan struct{}),
	}
	o := Options{Books: g, Interval: 20 * time.Millisecond, Origin: name}
	if log != nil {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	g.gossip = New(o)
	g.server = httptest.NewServer(g.gossip)
	var ctx context.Context
	ctx, g.stop = context.WithCancel(t.Context())
	go func() {
		defer close(g.done)
		_ = g.gossip.Run(ctx)
	}()
	t.Cleanup(g.die)
	return g
}

// die ends a gateway without a farewell.
func (g *gateway) die() {
	g.stop()
	<-g.done
	g.server.CloseClientConnections()
	g.server.Close()
}

func (g *gateway) at() netip.AddrPort {
	return netip.MustParseAddrPort(g.server.Listener.Addr().String())
}

// acquaint makes all of them peers of each other.
func acquaint(all []*gateway) {
	for _, g := range all {
		var peers []netip.AddrPort
		for _, other := range all {
			if other != g {
				peers = append(peers, other.at())
			}
		}
		g.gossip.SetPeers(peers)
	}
}

// hears waits until g has merged news of an origin with so many requests.
func (g *gateway) hears(t *testing.T, origin string, requests int) {
	t.Helper()
	for n := range g.merged {
		sum := 0
		for _, p := range n.Pools {
			for _, e := range p.Endpoints {
				sum += e.Requests
			}
		}
		if n.Origin == origin && sum == requests {
			return
		}
	}
}

func poolOf(n int) *routing.Pool {
	p := &routing.Pool{ID: "p", Inference: true}
	for i := range n {
		p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: fmt.Sprintf("10.0.%d.%d:8000", i/250, i%250+1)})
	}
	return p
}

func (g *gateway) pick(t *testing.T, pool *routing.Pool, prompt string) scheduling.Decision {
	t.Helper()
	return g.pickAs(t, pool, &llm.Request{Prompt: []byte(prompt), Stream: true})
}

func (g *gateway) pickAs(t *testing.T, pool *routing.Pool, r *llm.Request) scheduling.Decision {
	t.Helper()
	d, err := g.Pick(t.Context(), &scheduling.Call{
		Request: r, Model: "m", At: time.Now(), Explain: true,
	}, pool)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Three gateways that each get a third of the calls spread them as one would: no
// endpoint has two more than another. A prompt that one has sent somewhere is
// known to the others.
func TestThreeGatewaysChooseAsOne(t *testing.T) {
	pool := poolOf(6)
	var all []*gateway
	for _, name := range []string{"a", "b", "c"} {
		g := newGateway(t, name, nil)
		g.pick(t, pool, "").Reservation.End(scheduling.EndResult{At: time.Now()}) // it knows the pool now
		all = append(all, g)
	}
	acquaint(all)

	requests := map[string]int{}
	for i := range 36 {
		at := i % len(all)
		d := all[at].pick(t, pool, strings.Repeat(fmt.Sprintf("%6d", i), 600))
		requests[d.Endpoint.Address]++
		for j, other := range all {
			if j != at {
				other.hears(t, all[at].gossip.options.Origin, i/len(all)+1)
			}
		}
	}
	for _, e := range pool.Endpoints {
		if n := requests[e.Address]; n != 6 {
			t.Errorf("%s has %d calls of 36, want 6", e.Address, n)
		}
	}

	for i, stream := range []bool{true, false} {
		r := &llm.Request{Prompt: []byte(strings.Repeat(fmt.Sprintf("shared %d", i), 4000)), Stream: stream}
		first := all[0].pickAs(t, pool, r)
		all[2].hears(t, "a", 13+i)
		second := all[2].pickAs(t, pool, r)
		if second.Endpoint.Address != first.Endpoint.Address {
			t.Errorf("stream %t: a sent the prompt to %s, c to %s", stream, first.Endpoint.Address, second.Endpoint.Address)
		}
	}
}

// A gateway that comes later learns what its peers remember, and routes to the
// endpoint that one of them has warmed.
func TestFreshGatewayLearnsWhatPeersRemember(t *testing.T) {
	pool := poolOf(8)
	snapshot := &routing.Snapshot{Pools: map[string]*routing.Pool{pool.ID: pool}}
	a, b := newGateway(t, "a", nil), newGateway(t, "b", nil)
	warmed := map[string]string{}
	for i := range 20 {
		prompt := strings.Repeat(fmt.Sprintf("%8d", i), 8000) // 250 blocks: 5000 in all
		d := a.pick(t, pool, prompt)
		warmed[prompt] = d.Endpoint.Address
		d.Reservation.End(scheduling.EndResult{At: time.Now()})
	}
	b.Retain(snapshot)
	acquaint([]*gateway{a, b})
	<-b.recalled
	for prompt, want := range warmed {
		d := b.pick(t, pool, prompt)
		if d.Endpoint.Address != want {
			t.Errorf("a sent a prompt to %s, b sends it to %s", want, d.Endpoint.Address)
		}
		d.Reservation.End(scheduling.EndResult{At: time.Now()})
	}
	if n := b.gossip.Stats().Recalled; n < 5000 {
		t.Errorf("%d blocks are recalled, want 5000", n)
	}
}

// A prompt that takes an engine long is told of before the interval is over, but not
// as often as prompts come.
func TestUrgentNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scheduling.New(scheduling.Options{Share: true})
		g := New(Options{Books: s, Interval: time.Hour})
		posts := 0
		g.sender.client.Transport = transport(func(*http.Request) (*http.Response, error) {
			posts++
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
		})
		g.SetPeers([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.7:19000")})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		gateway := &gateway{Scheduler: s}
		pool := poolOf(2)
		for i, c := range []struct {
			prompt int // bytes
			after  time.Duration
			want   int // posts so far
		}{
			{100, time.Minute, 0},
			{100_000, time.Minute, 1},
			{100_000, 0, 2},
			{100_000, 0, 2},
			{100_000, urgentPause, 3},
		} {
			gateway.pick(t, pool, strings.Repeat(fmt.Sprintf("%10d", i), c.prompt/10))
			time.Sleep(c.after)
			synctest.Wait()
			if posts != c.want {
				t.Errorf("%d messages after call %d, want %d", posts, i, c.want)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A peer that does not answer at first is asked again.
func TestRecallAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remembers := map[string]scheduling.PoolNews{"": {ID: "p", Endpoints: []scheduling.EndpointNews{{Address: "e", Blocks: []uint64{1, 2, 3}}}}}
		books := &recalling{t: t, remembers: remembers}
		tries := 0
		g := New(Options{Books: books, Interval: time.Hour})
		g.sender.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
			if tries++; tries < 3 {
				return nil, io.ErrUnexpectedEOF
			}
			w := httptest.NewRecorder()
			r.RemoteAddr = "10.0.0.7:1"
			g.ServeHTTP(w, r)
			return w.Result(), nil
		})
		g.SetPeers([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.7:19000")})
		began := time.Now()
		g.recall(t.Context(), []scheduling.Page{{Pool: "p", Each: 9}})
		if took := time.Since(began); took != 2*recallAgain {
			t.Errorf("it took %s, want two pauses", took)
		}
		if books.blocks != 3 || books.ended != "p" || tries != 4 {
			t.Errorf("%d blocks, ended %q after %d requests; want 3 blocks and an end at the second page", books.blocks, books.ended, tries)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// recalling are books that remember something and note what they recall.
type recalling struct {
	counting
	t         *testing.T
	remembers map[string]scheduling.PoolNews // by the endpoint asked for
	blocks    int
	ended     string
}

func (r *recalling) Remember(p scheduling.Page) scheduling.PoolNews { return r.remembers[p.Endpoint] }
func (r *recalling) Recalled(pool string)                           { r.ended = pool }
func (r *recalling) Recall(n scheduling.PoolNews) {
	for _, e := range n.Endpoints {
		r.blocks += len(e.Blocks)
	}
}

func TestWhoMayAsk(t *testing.T) {
	g, _, _ := one(t)
	for _, c := range []struct {
		remote, query string
		want          int
	}{
		{"10.0.0.7:41234", "pool=p&skip=0&each=5", 200},
		{"10.0.0.8:41234", "pool=p&skip=0&each=5", 403},
		{"", "pool=p&skip=0&each=5", 403},
		{"10.0.0.7:41234", "pool=p&skip=-1&each=5", 400},
		{"10.0.0.7:41234", "pool=p&skip=0&each=99999999999999999999", 400},
		{"10.0.0.7:41234", "", 400},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path+"?"+c.query, nil)
		r.RemoteAddr = c.remote
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("%s asks %q: %d, want %d", c.remote, c.query, w.Code, c.want)
		}
	}
}

// A gateway that is gone is let alone, and said to be so once; the others go on.
func TestPeerThatDies(t *testing.T) {
	var log lines
	pool := poolOf(2)
	a, b, c := newGateway(t, "a", &log), newGateway(t, "b", nil), newGateway(t, "c", nil)
	all := []*gateway{a, b, c}
	for _, g := range all {
		g.pick(t, pool, "")
	}
	acquaint(all)
	b.hears(t, "a", 1)
	c.die()
	log.wait("takes no news")
	a.pick(t, pool, "")
	b.hears(t, "a", 2)
	if n := strings.Count(log.String(), "takes no news"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}

	a.gossip.SetPeers([]netip.AddrPort{b.at()})
	if n := a.gossip.Stats().Peers; n != 1 {
		t.Errorf("%d peers once it has been taken from the list", n)
	}
}

// lines is a log that a test can wait for.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) wait(text string) {
	for {
		l.mu.Lock()
		found := strings.Contains(l.text.String(), text)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if found {
			return
		}
		<-changed
	}
}

// one is a gateway's ear without a mouth: what posts to it is the test.
func one(t *testing.T) (g *Gossip, post func(remote string, body []byte) int, merges *int) {
	merges = new(int)
	g = New(Options{Books: counting{merges}, Interval: time.Hour, Origin: "me"})
	g.SetPeers([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.7:19000"), netip.MustParseAddrPort("[fd00::7]:19000")})
	return g, func(remote string, body []byte) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path, bytes.NewReader(body))
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code
	}, merges
}

type counting struct{ merges *int }

func (counting) News(string, time.Time) scheduling.News { return scheduling.News{} }
func (c counting) Merge(scheduling.News, time.Time)     { *c.merges++ }
func (counting) Urgent() <-chan struct{}                { return nil }
func (counting) Lacking() []scheduling.Page             { return nil }
func (counting) Recall(scheduling.PoolNews)             {}
func (counting) Recalled(string)                        {}
func (counting) Remember(p scheduling.Page) scheduling.PoolNews {
	return scheduling.PoolNews{ID: p.Pool}
}

func TestWhoMayTell(t *testing.T) {
	_, post, merges := one(t)
	news := func(origin string, sequence uint64) []byte {
		return mustAppend(t, message{sequence, scheduling.News{Origin: origin}})
	}
	for _, c := range []struct {
		name, remote string
		body         []byte
		want, merges int
	}{
		{"a peer, from any port", "10.0.0.7:41234", news("x", 5), 204, 1},
		{"mapped into IPv6", "[::ffff:10.0.0.7]:41234", news("x", 6), 204, 2},
		{"of IPv6", "[fd00::7]:41234", news("y", 1), 204, 3},
		{"the same again", "10.0.0.7:41234", news("x", 6), 204, 3},
		{"older", "10.0.0.7:41234", news("x", 4), 204, 3},
		{"its own", "10.0.0.7:41234", news("me", 9), 204, 3},
		{"a stranger", "10.0.0.8:41234", news("z", 1), 403, 3},
		{"nobody", "", news("z", 1), 403, 3},
		{"garbage", "10.0.0.7:41234", []byte("{}"), 400, 3},
		{"too much", "10.0.0.7:41234", make([]byte, maxMessage+1), 413, 3},
	} {
		if got := post(c.remote, c.body); got != c.want || *merges != c.merges {
			t.Errorf("%s: %d with %d merges so far, want %d with %d", c.name, got, *merges, c.want, c.merges)
		}
	}
}

// Origins are bounded: an address that invents them does not fill the memory.
func TestOriginsAreBounded(t *testing.T) {
	g, post, merges := one(t)
	for i := range maxOrigins + 10 {
		post("10.0.0.7:1", mustAppend(t, message{1, scheduling.News{Origin: fmt.Sprint(i)}}))
	}
	if *merges != maxOrigins || len(g.ears.heard) != maxOrigins {
		t.Errorf("%d merged, %d remembered", *merges, len(g.ears.heard))
	}
	if g.ears.fresh("late", 1, time.Now().Add(2*forgetAfter)) == false {
		t.Error("those who fell silent make no room")
	}
}

// The pause after failures grows to its bound and ends with a success; of what
// waits for a slow peer the newest is kept.
func TestPeerIsLetAloneForLonger(t *testing.T) {
	g := New(Options{Interval: time.Hour})
	p := &peer{gossip: g}
	for range 40 {
		before := time.Now()
		p.settle(io.ErrUnexpectedEOF, 1)
		if pause := p.until.Sub(before); pause < firstPause || pause > longestPause+time.Minute {
			t.Fatalf("after %d failures let alone for %s", p.failures, pause)
		}
		if p.offer([]byte("x"), before) {
			t.Fatal("offered at once")
		}
	}
	p.settle(nil, 1)
	for i := range mostWaits + 2 {
		if begin := p.offer([]byte{byte(i)}, time.Now()); begin != (i == 0) {
			t.Errorf("news %d: begin is %v", i, begin)
		}
	}
	for want := 2; ; want++ {
		body, ok := p.next()
		if !ok && want == mostWaits+2 {
			break
		}
		if !ok || body[0] != byte(want) {
			t.Fatalf("got %v, want %d", body, want)
		}
	}
	if !p.offer(nil, time.Now()) {
		t.Error("still busy when nothing waits")
	}
}
