package main

import "container/list"

// lru is an approximate prefix index as the endpoint picker of llm-d keeps one:
// per endpoint the blocks of the prompts that were sent there, a fixed number,
// least recently used first out. Blocks of a prompt are used from the first to
// the last, so its beginning leaves first.
type lru struct {
	capacity int
	order    []*list.List
	at       []map[uint64]*list.Element
}

func newLRU(endpoints, capacity int) *lru {
	x := &lru{capacity: capacity}
	for range endpoints {
		x.order = append(x.order, list.New())
		x.at = append(x.at, map[uint64]*list.Element{})
	}
	return x
}

func (x *lru) add(r *request, i int) {
	for _, id := range r.blocks {
		if e := x.at[i][id]; e != nil {
			x.order[i].MoveToFront(e)
			continue
		}
		x.at[i][id] = x.order[i].PushFront(id)
		if x.order[i].Len() > x.capacity {
			last := x.order[i].Back()
			delete(x.at[i], last.Value.(uint64))
			x.order[i].Remove(last)
		}
	}
}

// match returns how many of r's blocks endpoint i is believed to have. A gap
// does not end it, as long as any endpoint has the block.
func (x *lru) match(r *request, i int) int {
	n := 0
	for _, id := range r.blocks {
		if x.at[i][id] != nil {
			n++
			continue
		}
		anywhere := false
		for j := range x.at {
			if x.at[j][id] != nil {
				anywhere = true
				break
			}
		}
		if !anywhere {
			break
		}
	}
	return n
}
