package sim

import "slices"

// adapterSlots are the LoRA adapters that fit on the accelerator at once, the
// least recently used first.
type adapterSlots struct {
	max      int
	resident []string
}

// load makes every active adapter resident, evicting idle ones from the old
// end, and returns how many had to be brought in. There are at most max active
// adapters.
func (s *adapterSlots) load(active []string) int {
	loads := 0
	for _, name := range active {
		if i := slices.Index(s.resident, name); i >= 0 {
			s.resident = append(slices.Delete(s.resident, i, i+1), name)
		}
	}
	for _, name := range active {
		if slices.Contains(s.resident, name) {
			continue
		}
		if len(s.resident) >= s.max {
			s.evict(active)
		}
		s.resident = append(s.resident, name)
		loads++
	}
	return loads
}

func (s *adapterSlots) evict(active []string) {
	for i, name := range s.resident {
		if !slices.Contains(active, name) {
			s.resident = slices.Delete(s.resident, i, i+1)
			return
		}
	}
}

// drop forgets an adapter that was unloaded.
func (s *adapterSlots) drop(name string) {
	if i := slices.Index(s.resident, name); i >= 0 {
		s.resident = slices.Delete(s.resident, i, i+1)
	}
}
