package sim

// kvPool is the engine's KV cache: a fixed number of blocks, each held by any
// number of sequences. Blocks that nobody holds keep their content, and with it
// their name, in a queue; a new block is taken from the old end of that queue.
type kvPool struct {
	size   int       // blocks the pool may hold
	blocks []kvBlock // blocks used at least once; grows to size
	named  map[uint64]int32

	oldest, newest int32 // ends of the queue of unheld blocks; none when empty
	idle           int   // length of the queue
}

type kvBlock struct {
	name       uint64 // hash of the prefix that ends with it; 0 is anonymous
	holders    int32
	prev, next int32 // neighbours in the queue while holders is 0
}

const none = int32(-1)

func newKVPool(size int) *kvPool {
	return &kvPool{size: size, named: make(map[uint64]int32), oldest: none, newest: none}
}

// free is the number of blocks that can be taken.
func (p *kvPool) free() int { return p.idle + p.size - len(p.blocks) }

// match finds the blocks of the longest named prefix.
func (p *kvPool) match(dst []int32, names []uint64) []int32 {
	for _, name := range names {
		b, ok := p.named[name]
		if !ok {
			break
		}
		dst = append(dst, b)
	}
	return dst
}

// unheld counts the blocks nobody holds: holding them makes them untakeable.
func (p *kvPool) unheld(blocks []int32) int {
	n := 0
	for _, b := range blocks {
		if p.blocks[b].holders == 0 {
			n++
		}
	}
	return n
}

// hold adds a holder to each block.
func (p *kvPool) hold(blocks []int32) {
	for _, b := range blocks {
		if p.blocks[b].holders == 0 {
			p.unlink(b)
		}
		p.blocks[b].holders++
	}
}

// take returns an anonymous block with one holder. Blocks never used come
// first, as they stand at the head of vLLM's queue. The caller has checked free.
func (p *kvPool) take() int32 {
	if len(p.blocks) < p.size {
		p.blocks = append(p.blocks, kvBlock{holders: 1, prev: none, next: none})
		return int32(len(p.blocks) - 1)
	}
	b := p.oldest
	p.unlink(b)
	block := &p.blocks[b]
	if block.name != 0 {
		delete(p.named, block.name)
		block.name = 0
	}
	block.holders = 1
	return b
}

// publish names a held block, unless another block already has the name.
func (p *kvPool) publish(b int32, name uint64) {
	if _, taken := p.named[name]; taken || p.blocks[b].name != 0 {
		return
	}
	p.blocks[b].name = name
	p.named[name] = b
}

// release drops one holder of each block, last block first, so that the end of
// a prefix is evicted before its beginning.
func (p *kvPool) release(blocks []int32) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		p.blocks[b].holders--
		if p.blocks[b].holders == 0 {
			p.enqueue(b)
		}
	}
}

func (p *kvPool) enqueue(b int32) {
	block := &p.blocks[b]
	block.prev, block.next = p.newest, none
	if p.newest == none {
		p.oldest = b
	} else {
		p.blocks[p.newest].next = b
	}
	p.newest = b
	p.idle++
}

func (p *kvPool) unlink(b int32) {
	block := &p.blocks[b]
	if block.prev == none {
		p.oldest = block.next
	} else {
		p.blocks[block.prev].next = block.next
	}
	if block.next == none {
		p.newest = block.prev
	} else {
		p.blocks[block.next].prev = block.prev
	}
	block.prev, block.next = none, none
	p.idle--
}
