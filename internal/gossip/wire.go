package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"crossfade.dev/internal/scheduling"
)

// The form of news on the wire: magic, then a record of origin, sequence and
// pools, each pool a record of its own, and each endpoint. Records, texts and lists
// have their length in front, numbers are varints, and blocks are eight bytes
// each, the least significant first. What is new comes at the end of a record: who
// does not know it passes it over, and to who misses it, it is nothing. Any other
// change of the form changes the magic, so that gateways of two versions do not
// misread each other: they refuse each other's news, and choose without.
const magic = "cfn2"

// Limits of one message, for both sides.
const (
	maxMessage = 4 << 20 // bytes
	maxNames   = 1 << 17 // pools, endpoints and adapters together
	maxName    = 1 << 10 // bytes of each
	maxPrompts = 1 << 8  // of an endpoint
	// maxBlocks leaves half a message to everything else.
	maxBlocks = maxMessage / 2 / 8
)

var (
	errForm    = errors.New("not news in a form that this gateway reads")
	errTooMuch = fmt.Errorf("news has more than %d bytes or %d names", maxMessage, maxNames)
)

// message is news with its place among those of its origin.
type message struct {
	sequence uint64
	news     scheduling.News
}

// appendMessage appends m's form to b. Blocks beyond maxBlocks are left out, which
// the others bear.
func appendMessage(b []byte, m *message) ([]byte, error) {
	w := writer{b: append(b, magic...), blocks: maxBlocks}
	w.record(func() {
		w.text(m.news.Origin)
		w.number(m.sequence)
		w.number(uint64(len(m.news.Pools)))
		for i := range m.news.Pools {
			w.record(func() { w.pool(&m.news.Pools[i]) })
		}
	})
	if len(w.b)-len(b) > maxMessage || w.names > maxNames {
		return b, errTooMuch
	}
	return w.b, nil
}

type writer struct {
	b      []byte
	names  int
	blocks int // that may still be written
}

func (w *writer) number(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

// record writes what write does, with its length in front.
func (w *writer) record(write func()) {
	at := len(w.b)
	write()
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(w.b)-at))
	w.b = slices.Insert(w.b, at, length[:n]...)
}

func (w *writer) text(s string) {
	s = s[:min(len(s), maxName)]
	w.names++
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) pool(p *scheduling.PoolNews) {
	w.text(p.ID)
	w.number(uint64(len(p.Endpoints)))
	for i := range p.Endpoints {
		w.record(func() { w.endpoint(&p.Endpoints[i]) })
	}
}

func (w *writer) endpoint(e *scheduling.EndpointNews) {
	w.text(e.Address)
	for _, n := range [...]int{e.Requests, e.Prefills, e.Pending, e.Context, e.KV, e.Computed, e.Answers} {
		w.number(uint64(max(0, n)))
	}
	w.duration(e.FirstToken)
	prompts := e.Prompts[:min(len(e.Prompts), maxPrompts)]
	w.number(uint64(len(prompts)))
	for _, r := range prompts {
		w.duration(r.Sent)
		w.number(uint64(max(0, r.Tokens)))
		w.coming(r.BlocksNews)
	}
	w.number(uint64(len(e.Adapters)))
	for _, a := range e.Adapters {
		w.text(a)
	}
	blocks := e.Blocks[:min(len(e.Blocks), w.blocks)]
	w.blocks -= len(blocks)
	w.number(uint64(len(blocks)))
	for _, h := range blocks {
		w.b = binary.LittleEndian.AppendUint64(w.b, h)
	}
	coming := e.Coming[:min(len(e.Coming), maxPrompts)]
	w.number(uint64(len(coming)))
	for _, c := range coming {
		w.coming(c)
	}
}

func (w *writer) coming(n scheduling.BlocksNews) {
	w.number(uint64(max(0, n.Blocks)))
	if n.Blocks > 0 {
		w.number(uint64(max(0, n.At)))
		w.b = binary.LittleEndian.AppendUint64(w.b, n.First)
	}
}

// duration writes whole milliseconds, at least one of what is not 0.
func (w *writer) duration(d time.Duration) {
	w.number(uint64(max(0, d+time.Millisecond-1) / time.Millisecond))
}

// parseMessage reads what appendMessage wrote. It takes memory in proportion to
// the message, whatever lengths that claims.
func parseMessage(b []byte) (message, error) {
	r := reader{b: b}
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return message{}, errForm
	}
	r.b = b[len(magic):]
	var m message
	r.record(func() {
		m.news.Origin = r.text()
		m.sequence = r.number()
		for range r.count() {
			var p scheduling.PoolNews
			r.record(func() { p = r.pool() })
			m.news.Pools = append(m.news.Pools, p)
			if r.err != nil {
				break
			}
		}
	})
	if r.err == nil && len(r.b) > 0 {
		r.err = errForm
	}
	return m, r.err
}

// reader reads from b, a record, until its first error or its end; then all it
// reads is nothing.
type reader struct {
	b     []byte
	depth int // of records
	names int
	slab  []scheduling.PromptNews // for prompts
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

// record reads one as read does, and passes over what that leaves.
func (r *reader) record(read func()) {
	n := r.count()
	if r.depth == 0 && n != len(r.b) || r.depth > 0 && n == 0 {
		r.fail(errForm)
	}
	if r.err != nil {
		return
	}
	rest := r.b[n:]
	r.b = r.b[:n]
	r.depth++
	read()
	r.depth--
	if r.err == nil {
		r.b = rest
	}
}

func (r *reader) number() uint64 {
	if len(r.b) == 0 && r.depth > 0 {
		return 0 // the record is of somebody who does not know of it
	}
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail(errForm)
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads the length of a list, each part of which takes a byte at least.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail(errForm)
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	if r.names++; r.names > maxNames {
		r.fail(errTooMuch)
	}
	if n > maxName {
		r.fail(errForm)
	}
	if r.err != nil {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// leastEndpoint is how few bytes an endpoint of ours takes: its length and thirteen
// numbers.
const leastEndpoint = 14

func (r *reader) pool() scheduling.PoolNews {
	p := scheduling.PoolNews{ID: r.text()}
	n := r.count()
	if room := min(n, len(r.b)/leastEndpoint); room > 0 {
		p.Endpoints = make([]scheduling.EndpointNews, 0, room)
	}
	for range n {
		var e scheduling.EndpointNews
		r.record(func() { e = r.endpoint() })
		if r.err != nil {
			break
		}
		p.Endpoints = append(p.Endpoints, e)
	}
	return p
}

func (r *reader) endpoint() scheduling.EndpointNews {
	e := scheduling.EndpointNews{Address: r.text()}
	for _, n := range [...]*int{&e.Requests, &e.Prefills, &e.Pending, &e.Context, &e.KV, &e.Computed, &e.Answers} {
		*n = r.int()
	}
	e.FirstToken = r.duration()
	n := r.count()
	if n > maxPrompts {
		r.fail(errForm)
	}
	if r.err == nil && n > 0 {
		e.Prompts = r.prompts(n)
	}
	for i := range e.Prompts {
		e.Prompts[i] = scheduling.PromptNews{Sent: r.duration(), Tokens: r.int(), BlocksNews: r.coming()}
	}
	for range r.count() {
		e.Adapters = append(e.Adapters, r.text())
		if r.err != nil {
			break
		}
	}
	e.Blocks = r.blocks()
	if n = r.count(); n > maxPrompts {
		r.fail(errForm)
	}
	for ; n > 0 && r.err == nil; n-- {
		e.Coming = append(e.Coming, r.coming())
	}
	return e
}

func (r *reader) coming() (n scheduling.BlocksNews) {
	if n.Blocks = r.int(); n.Blocks > 0 {
		n.At, n.First = r.int(), r.hash()
	}
	return n
}

// prompts returns room for n.
func (r *reader) prompts(n int) []scheduling.PromptNews {
	if len(r.slab) < n {
		r.slab = make([]scheduling.PromptNews, max(n, 64))
	}
	out := r.slab[:n:n]
	r.slab = r.slab[n:]
	return out
}

func (r *reader) int() int { return int(min(r.number(), math.MaxInt32)) }

func (r *reader) duration() time.Duration { return time.Duration(r.int()) * time.Millisecond }

func (r *reader) hash() uint64 {
	if len(r.b) < 8 {
		r.fail(errForm)
		return 0
	}
	h := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return h
}

func (r *reader) blocks() []uint64 {
	n := r.count()
	if n > len(r.b)/8 {
		r.fail(errForm)
		return nil
	}
	if n == 0 {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = r.hash()
	}
	return out
}
