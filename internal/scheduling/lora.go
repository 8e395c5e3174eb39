package scheduling

import "time"

// loraSeconds is the time until the call's adapter is loaded.
func loraSeconds(d *Demand, c *Candidate) float64 {
	switch c.Adapter {
	case FreeSlot:
		return adapterLoadSeconds
	case NoSlot:
		// All requests of some adapter must end: the running ones spread
		// over the adapters, so those of one end within one request's time
		// shared by as many adapters.
		return adapterLoadSeconds + c.Load.turnover(d, c.ActiveAdapters)
	}
	return 0
}

// assumedAdapters is the number of slots of an endpoint that does not tell.
const assumedAdapters = 8

// adapter is a LoRA adapter that an endpoint has had requests for.
type adapter struct {
	name     string
	inFlight int       // our requests
	listed   bool      // the last scrape showed it running or waiting
	used     time.Time // last
}

// active reports whether the adapter has requests; fresh says that the last
// scrape may be believed.
func (a *adapter) active(fresh bool) bool { return a.inFlight > 0 || fresh && a.listed }

// adapters are those an endpoint probably has loaded. Engines list adapters
// with requests only; an idle one stays loaded until its slot is needed, least
// recently used first.
type adapters struct {
	slots int // 0 unknown
	list  []adapter
}

// use returns the entry of name, in use at the given instant.
func (s *adapters) use(name string, at time.Time) *adapter {
	for i := range s.list {
		if a := &s.list[i]; a.name == name {
			if at.After(a.used) {
				a.used = at
			}
			return a
		}
	}
	s.list = append(s.list, adapter{name: name, used: at})
	return &s.list[len(s.list)-1]
}

// release ends one request for name.
func (s *adapters) release(name string) {
	for i := range s.list {
		if a := &s.list[i]; a.name == name {
			a.inFlight--
			return
		}
	}
}

// refresh takes over what a scrape showed.
func (s *adapters) refresh(m *Metrics) {
	s.slots = m.MaxAdapters
	for i := range s.list {
		s.list[i].listed = false
	}
	for _, name := range m.ActiveAdapters {
		s.use(name, m.At).listed = true
	}
	for _, name := range m.WaitAdapters {
		s.use(name, m.At).listed = true
	}
	s.trim()
}

// trim forgets idle adapters that no slot is left for. Active ones stay, so
// that the list may be longer than the slots.
func (s *adapters) trim() {
	for len(s.list) > s.capacity() {
		oldest := -1
		for i := range s.list {
			if a := &s.list[i]; !a.active(true) && (oldest < 0 || a.used.Before(s.list[oldest].used)) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		last := len(s.list) - 1
		s.list[oldest] = s.list[last]
		s.list[last] = adapter{}
		s.list = s.list[:last]
	}
}

func (s *adapters) capacity() int {
	if s.slots > 0 {
		return s.slots
	}
	return assumedAdapters
}

// residency says where the adapter called name is, and how many adapters have
// requests. fresh says that the last scrape may be believed.
func (s *adapters) residency(name string, fresh bool) (r Residency, active int) {
	found := false
	for i := range s.list {
		if s.list[i].active(fresh) {
			active++
		}
		found = found || s.list[i].name == name
	}
	switch {
	case found:
		r = Resident
	case s.slots == 0 || active < s.slots:
		r = FreeSlot
	default:
		r = NoSlot
	}
	return r, active
}
