package scheduling

// noAdapter is the adapter of a call for a base model.
const noAdapter = -1

// assumedAdapters is the number of slots of an endpoint that does not tell.
const assumedAdapters = 8

// Residency says where an adapter is at an endpoint.
type residency int

// From best to worst.
const (
	resident residency = iota // loaded, as far as is known
	freeSlot                  // must be loaded, into a slot without requests
	noSlot                    // must wait until another adapter has no requests
)

// adapterNames numbers the LoRA adapters of a pool.
type adapterNames struct {
	ids   map[string]int32
	names []string
}

// maxAdapterNames bounds the names a pool knows as adapters.
const maxAdapterNames = 4096

// learn makes a name known; it returns noAdapter when there are too many.
func (n *adapterNames) learn(name string) int32 {
	if id, ok := n.ids[name]; ok {
		return id
	}
	if len(n.names) == maxAdapterNames {
		return noAdapter
	}
	if n.ids == nil {
		n.ids = map[string]int32{}
	}
	id := int32(len(n.names))
	n.ids[name] = id
	n.names = append(n.names, name)
	return id
}

func (n *adapterNames) find(name string) int32 {
	if id, ok := n.ids[name]; ok {
		return id
	}
	return noAdapter
}

// adapter is a LoRA adapter that an endpoint has had requests for.
type adapter struct {
	id       int32
	listed   bool // the last scrape showed it running or waiting
	inFlight int32
	answered int32   // of inFlight: those whose answer has begun, so it is loaded
	used     float64 // last
}

// adapters are those an endpoint probably has loaded. Engines list adapters
// with requests only; an idle one stays loaded until its slot is needed, least
// recently used first. A slot counts as taken from the moment a call is sent.
type adapters struct {
	slots int // 0 unknown
	list  []adapter
	names *adapterNames // of the pool
}

func (s *adapters) find(id int32) *adapter {
	for i := range s.list {
		if s.list[i].id == id {
			return &s.list[i]
		}
	}
	return nil
}

// use returns the entry of an adapter, in use at the given instant.
func (s *adapters) use(id int32, at float64) *adapter {
	if a := s.find(id); a != nil {
		a.used = max(a.used, at)
		return a
	}
	s.list = append(s.list, adapter{id: id, used: at})
	return &s.list[len(s.list)-1]
}

// release ends one request for an adapter.
func (s *adapters) release(id int32, answered bool) {
	if a := s.find(id); a != nil {
		a.inFlight--
		if answered {
			a.answered--
		}
	}
}

// refresh takes over what a scrape showed.
func (s *adapters) refresh(m *Metrics, at float64) {
	s.slots = m.MaxAdapters
	for i := range s.list {
		s.list[i].listed = false
	}
	for _, names := range [...][]string{m.ActiveAdapters, m.WaitAdapters} {
		for _, name := range names {
			if id := s.names.learn(name); id != noAdapter {
				s.use(id, at).listed = true
			}
		}
	}
	s.trim()
}

// trim forgets idle adapters that no slot is left for. Active ones stay, so
// that the list may be longer than the slots.
func (s *adapters) trim() {
	for len(s.list) > s.capacity() {
		oldest := -1
		for i := range s.list {
			a := &s.list[i]
			if a.inFlight == 0 && !a.listed && (oldest < 0 || a.used < s.list[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		last := len(s.list) - 1
		s.list[oldest] = s.list[last]
		s.list = s.list[:last]
	}
}

// forget takes all adapters of an endpoint that leaves out of the books.
func (s *adapters) forget() {
	s.list = nil
}

func (s *adapters) capacity() int {
	if s.slots > 0 {
		return s.slots
	}
	return assumedAdapters
}

// residency says where an adapter is, and how many adapters have requests.
// fresh says that the last scrape may be believed.
func (s *adapters) residency(id int32, fresh bool) (r residency, active int) {
	found, waits := false, false
	for i := range s.list {
		a := &s.list[i]
		isActive := a.inFlight > 0 || fresh && a.listed
		if isActive {
			active++
		}
		if a.id == id {
			found = true
			waits = isActive && a.inFlight > 0 && a.answered == 0
		}
	}
	switch {
	case found && waits && s.slots > 0 && active > s.slots:
		r = noSlot // it was sent here, but more adapters than fit have been
	case found:
		r = resident
	case s.slots == 0 || active < s.slots:
		r = freeSlot
	default:
		r = noSlot
	}
	return r, active
}

// loraSeconds is the time until an adapter is loaded at an endpoint with the
// work w, and what its load costs those who run there meanwhile. waits says that
// the call would have to wait inside the engine until another adapter is done.
func (p *pool) loraSeconds(d *demand, s *adapters, w *work, fresh bool) (seconds float64, waits bool) {
	r, active := s.residency(d.adapter, fresh)
	if r == resident {
		return 0, false
	}
	seconds = adapterLoadSeconds * (1 + p.weights.harm*w.requests)
	if r == noSlot {
		// All requests of some adapter must end: the running ones spread over
		// the adapters, so those of one end within one request's time shared by
		// as many adapters.
		decodes := max(1, w.requests-w.prefills)
		turnover := d.output * p.engine.stepSeconds(decodes, w.context) / float64(active)
		seconds += turnover * float64(active-s.slots+1)
	}
	return seconds, r == noSlot
}
