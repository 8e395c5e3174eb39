package main

// cache is the KV blocks of one engine. Full prompt blocks are shared by
// content; those nobody uses stay until their room is needed, the longest
// unused first. Others are anonymous.
type cache struct {
	total     int
	used      int // blocks that requests hold, shared ones once
	blocks    map[uint64]*block
	lru       block                         // ring of blocks nobody holds; next is the oldest
	idle      int                           // blocks in it
	onChange  func(id uint64, present bool) // for those who see KV events
	hits      int                           // tokens
	looked    int                           // tokens
	evictions int
}

type block struct {
	id         uint64
	refs       int
	prev, next *block
}

func newCache(total int) cache { return cache{total: total, blocks: map[uint64]*block{}} }

// free is how many blocks a request could get.
func (c *cache) free() int { return c.total - c.used }

// match returns how many of r's tokens are cached; one at least is left to
// compute.
func (c *cache) match(r *request) int {
	n := 0
	for n < len(r.blocks) && c.blocks[r.blocks[n]] != nil {
		n++
	}
	return min(n*blockTokens, max(0, r.target-1)/blockTokens*blockTokens)
}

// admit gives a waiting request the hit blocks and room up to tokens; false,
// and nothing is changed, when they do not fit.
func (c *cache) admit(r *request, hit, tokens int) bool {
	need := (tokens+blockTokens-1)/blockTokens - hit/blockTokens
	for _, id := range r.blocks[:hit/blockTokens] {
		if c.blocks[id].refs == 0 {
			need++ // it is idle, so it counts as free until r holds it
		}
	}
	if need > c.free() {
		return false
	}
	c.looked += r.prompt
	c.hits += hit
	for _, id := range r.blocks[:hit/blockTokens] {
		c.hold(c.blocks[id])
	}
	r.shared, r.anonymous = hit/blockTokens, 0
	return c.extend(r, tokens)
}

// extend gives r room up to tokens; false when it does not fit. Full blocks of
// its prompt are shared from then on.
func (c *cache) extend(r *request, tokens int) bool {
	need := (tokens+blockTokens-1)/blockTokens - r.shared - r.anonymous
	if need > c.free() {
		return false
	}
	c.used += max(0, need)
	r.anonymous += max(0, need)
	for r.shared < len(r.blocks) && (r.shared+1)*blockTokens <= tokens {
		c.share(r, r.blocks[r.shared])
	}
	c.evict()
	return true
}

// share turns one of r's anonymous blocks into one that others may use. When
// another request has computed it meanwhile, r keeps its own copy, as engines do;
// here it is simply counted once.
func (c *cache) share(r *request, id uint64) {
	r.shared++
	r.anonymous--
	c.used--
	b := c.blocks[id]
	if b == nil {
		b = &block{id: id}
		c.blocks[id] = b
		if c.onChange != nil {
			c.onChange(id, true)
		}
		b.refs = 1
		c.used++
		return
	}
	c.hold(b)
}

func (c *cache) hold(b *block) {
	if b.refs == 0 {
		c.used++
		if b.next != nil {
			b.prev.next, b.next.prev = b.next, b.prev
			b.prev, b.next = nil, nil
			c.idle--
		}
	}
	b.refs++
}

// release frees r's blocks from the last to the first, so that of a prompt the
// end is evicted first.
func (c *cache) release(r *request) {
	c.used -= r.anonymous
	for i := r.shared - 1; i >= 0; i-- {
		b := c.blocks[r.blocks[i]]
		if b.refs--; b.refs == 0 {
			c.used--
			c.retire(b)
		}
	}
	r.shared, r.anonymous = 0, 0
}

func (c *cache) retire(b *block) {
	if c.lru.next == nil {
		c.lru.next, c.lru.prev = &c.lru, &c.lru
	}
	b.prev, b.next = c.lru.prev, &c.lru
	b.prev.next, c.lru.prev = b, b
	c.idle++
}

// evict forgets idle blocks until all fit.
func (c *cache) evict() {
	for c.used+c.idle > c.total {
		b := c.lru.next
		b.prev.next, b.next.prev = b.next, b.prev
		c.idle--
		c.evictions++
		delete(c.blocks, b.id)
		if c.onChange != nil {
			c.onChange(b.id, false)
		}
	}
}
