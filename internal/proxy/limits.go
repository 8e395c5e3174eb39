package proxy

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what strangers can make the proxy hold. Zero values mean the
// defaults of DefaultLimits.
type Limits struct {
	// MaxBodyBytes is the largest request body that is read into memory, unless
	// the listener sets another.
	MaxBodyBytes int64
	// BufferBytes is the memory that request bodies of all requests may take
	// together; requests beyond it get 503.
	BufferBytes int64
	// MaxHeaderBytes is the largest request head.
	MaxHeaderBytes int
	// MaxConcurrentStreams is how many streams one HTTP/2 connection may have open.
	MaxConcurrentStreams int
	// Retries is how many further endpoints one request may be tried on; -1 for
	// none.
	Retries int
	// Mirrors is how many copies of requests may be under way to mirrors, and
	// MirrorBytes the memory that their bodies may take together. Copies beyond
	// either are dropped; -1 for none.
	Mirrors     int
	MirrorBytes int64
}

// DefaultLimits returns what Limits are when nothing is set.
func DefaultLimits() Limits {
	return Limits{
		MaxBodyBytes:         32 << 20,
		BufferBytes:          1 << 30,
		MaxHeaderBytes:       64 << 10,
		MaxConcurrentStreams: 250,
		Retries:              2,
		Mirrors:              256,
		MirrorBytes:          64 << 20,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	l.MaxBodyBytes = orDefault(l.MaxBodyBytes, d.MaxBodyBytes)
	l.BufferBytes = orDefault(l.BufferBytes, d.BufferBytes)
	l.MaxHeaderBytes = orDefault(l.MaxHeaderBytes, d.MaxHeaderBytes)
	l.MaxConcurrentStreams = orDefault(l.MaxConcurrentStreams, d.MaxConcurrentStreams)
	l.Retries = max(orDefault(l.Retries, d.Retries), 0)
	l.Mirrors = orDefault(l.Mirrors, d.Mirrors)
	l.MirrorBytes = orDefault(l.MirrorBytes, d.MirrorBytes)
	return l
}

// Timeouts bound waiting. There is none on a call as a whole: that is a route's
// to set (routing.Timeouts). Negative values mean none; zero values mean the
// defaults of DefaultTimeouts, which has none for FirstByte and StreamIdle.
type Timeouts struct {
	ReadHeader time.Duration // for the client to send a request head
	Idle       time.Duration // between two requests on a client's connection
	BodyRead   time.Duration // between two pieces of a body that is buffered
	ClientRead time.Duration // for the client to take a piece of the answer
	FirstByte  time.Duration // for an endpoint to begin its answer
	StreamIdle time.Duration // between two pieces of an endpoint's answer
	Mirror     time.Duration // for a mirror's answer in all
}

// DefaultTimeouts returns what Timeouts are when nothing is set.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		ReadHeader: 10 * time.Second,
		Idle:       5 * time.Minute,
		BodyRead:   time.Minute,
		ClientRead: 5 * time.Minute,
		Mirror:     5 * time.Minute,
	}
}

func (t Timeouts) withDefaults() Timeouts {
	d := DefaultTimeouts()
	t.ReadHeader = orDefault(t.ReadHeader, d.ReadHeader)
	t.Idle = orDefault(t.Idle, d.Idle)
	t.BodyRead = orDefault(t.BodyRead, d.BodyRead)
	t.ClientRead = orDefault(t.ClientRead, d.ClientRead)
	t.Mirror = orDefault(t.Mirror, d.Mirror)
	return t
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// budget is a number of bytes that all requests share.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or none of them and returns false.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// Buffers come in powers of two. Those above maxPooled are left to the garbage
// collector: one huge prompt must not be kept for ever.
const (
	minClass  = 12 // 4 KiB: a usual chat request
	maxPooled = 20 // 1 MiB
)

// bufferPool recycles the memory of request bodies.
type bufferPool struct {
	classes [maxPooled - minClass + 1]sync.Pool
}

// roundUp returns the size of the buffer that get returns for n bytes.
func roundUp(n int64) int64 {
	if n <= 1<<minClass {
		return 1 << minClass
	}
	if n > 1<<maxPooled {
		return n
	}
	return 1 << bits.Len64(uint64(n-1))
}

// get returns an empty buffer with room for at least n bytes.
func (p *bufferPool) get(n int64) *[]byte {
	size := roundUp(n)
	if size <= 1<<maxPooled {
		if b, ok := p.classes[bits.Len64(uint64(size))-1-minClass].Get().(*[]byte); ok {
			return b
		}
	}
	b := make([]byte, 0, size)
	return &b
}

// put takes a buffer back that get returned.
func (p *bufferPool) put(b *[]byte) {
	size := cap(*b)
	if size > 1<<maxPooled || size < 1<<minClass || size&(size-1) != 0 {
		return
	}
	*b = (*b)[:0]
	p.classes[bits.Len64(uint64(size))-1-minClass].Put(b)
}
