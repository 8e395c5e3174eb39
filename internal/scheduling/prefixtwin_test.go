package scheduling

import "slices"

// twin is the prefix index written to be obviously right.
type twin struct {
	have  map[uint64]map[int]bool // by hash and slot: asked again
	rings map[int][]uint64        // by slot; 0 is anonymous
	sizes map[int]int
}

func newTwin() *twin {
	return &twin{have: map[uint64]map[int]bool{}, rings: map[int][]uint64{}, sizes: map[int]int{}}
}

func (w *twin) add(hashes []uint64, slot int) (changed []uint64) {
	for i := len(hashes) - 1; i >= 0; i-- {
		h := hashes[i]
		if w.have[h] == nil {
			w.have[h] = map[int]bool{}
		}
		asked, again := w.have[h][slot]
		if !asked {
			changed = append(changed, h)
		}
		if again {
			w.have[h][slot] = true
			continue
		}
		w.have[h][slot] = false
		w.rings[slot] = append(w.rings[slot], h)
	}
	w.trim(slot)
	slices.Reverse(changed)
	return changed
}

func (w *twin) addAnonymous(n, slot int) {
	for range min(n, w.sizes[slot]) {
		w.rings[slot] = append(w.rings[slot], 0)
	}
	w.trim(slot)
}

func (w *twin) addOldest(hashes []uint64, slot int) {
	for _, h := range hashes {
		if len(w.rings[slot]) >= w.sizes[slot] {
			return
		}
		if w.have[h] == nil {
			w.have[h] = map[int]bool{}
		}
		if _, has := w.have[h][slot]; !has {
			w.have[h][slot] = false
			w.rings[slot] = append([]uint64{h}, w.rings[slot]...)
		}
	}
}

func (w *twin) newest(slot, skip, n int) []uint64 {
	out := slices.Clone(w.rings[slot])
	slices.Reverse(out)
	out = out[min(skip, len(out)):]
	return out[:min(n, len(out))]
}

func (w *twin) trim(slot int) {
	for len(w.rings[slot]) > w.sizes[slot] {
		h := w.rings[slot][0]
		w.rings[slot] = w.rings[slot][1:]
		if h == 0 {
			continue
		}
		if w.have[h][slot] {
			w.have[h][slot] = false
			w.rings[slot] = append(w.rings[slot], h)
			continue
		}
		delete(w.have[h], slot)
	}
}

func (w *twin) forget(slot int) {
	for _, set := range w.have {
		delete(set, slot)
	}
	delete(w.rings, slot)
	delete(w.sizes, slot)
}

func (w *twin) match(hashes []uint64, slots int) []int32 {
	out := make([]int32, slots)
	for s := range out {
		for int(out[s]) < len(hashes) {
			if _, has := w.have[hashes[out[s]]][s]; !has {
				break
			}
			out[s]++
		}
	}
	return out
}

func (w *twin) pairs() int {
	n := 0
	for _, r := range w.rings {
		n += len(r)
	}
	return n
}
