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

// adapterNames numbers the LoRA adapters of a pool, and counts by number.
type adapterNames struct {
	ids   map[string]int32
	names []string
	at    []int32 // endpoints that probably have it
	slots int     // of all endpoints that tell

	// Calls, the older the lighter; only quotients mean something.
	calls []float64 // for each
	loads float64   // that loaded an adapter
	call  float64   // the next one; 0 before the first
}

// maxAdapterNames bounds the names a pool knows as adapters.
const maxAdapterNames = 4096

// callsKept is how many calls of an adapter are remembered on average. A call
// counts less by the number of calls since, not by the time: how long an adapter
// that went out of fashion keeps its slot then is a matter of what others ask for.
const callsKept = 8

// called counts a call for an adapter.
func (n *adapterNames) called(id int32) {
	// To make each later call heavier is to make all earlier ones lighter.
	n.call = max(1, n.call*(1+1/(callsKept*float64(len(n.names)))))
	n.calls[id] += n.call
	const heavy = 1e12
	if n.call > heavy {
		for i := range n.calls {
			n.calls[i] /= heavy
		}
		n.loads /= heavy
		n.call /= heavy
	}
}

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
	n.at = append(n.at, 0)
	n.calls = append(n.calls, 0)
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
	used     float64 // last: when it was sent, seen or done
}

// adapters are those an endpoint probably has loaded. Engines list adapters
// with requests only; an idle one stays loaded until its slot is needed, least
// recently used first; vLLM uses an adapter in each step that computes for it.
// A slot counts as taken from the moment a call is sent.
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
	s.names.at[id]++
	return &s.list[len(s.list)-1]
}

// book sends a request for an adapter at an instant.
func (s *adapters) book(id int32, at float64) {
	if s.slots > 0 && s.find(id) == nil {
		s.names.loads += s.names.call
	}
	s.use(id, at).inFlight++
	s.trim()
}

// release ends one request for an adapter at an instant.
func (s *adapters) release(id int32, answered bool, at float64) {
	if a := s.find(id); a != nil {
		a.inFlight--
		a.used = max(a.used, at)
		if answered {
			a.answered--
		}
	}
}

// refresh takes over what a scrape showed.
func (s *adapters) refresh(m *Metrics, at float64) {
	s.names.slots += m.MaxAdapters - s.slots
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
		s.names.at[s.list[oldest].id]--
		last := len(s.list) - 1
		s.list[oldest] = s.list[last]
		s.list = s.list[:last]
	}
}

// forget takes all adapters of an endpoint that leaves out of the books.
func (s *adapters) forget() {
	for i := range s.list {
		s.names.at[s.list[i].id]--
	}
	s.names.slots -= s.slots
	s.list, s.slots = nil, 0
}

func (s *adapters) capacity() int {
	if s.slots > 0 {
		return s.slots
	}
	return assumedAdapters
}

// standing is how an adapter stands at an endpoint.
type standing struct {
	residency
	active int   // adapters with requests
	victim int32 // the adapter that a load would push out; noAdapter for none
}

// standing says how an adapter stands. fresh says that the last scrape may be
// believed.
func (s *adapters) standing(id int32, fresh bool) standing {
	v := standing{victim: noAdapter}
	found, waits, oldest := false, false, 0.0
	for i := range s.list {
		a := &s.list[i]
		isActive := a.inFlight > 0 || fresh && a.listed
		if isActive {
			v.active++
		} else if v.victim == noAdapter || a.used < oldest {
			v.victim, oldest = a.id, a.used
		}
		if a.id == id {
			found = true
			waits = isActive && a.inFlight > 0 && a.answered == 0
		}
	}
	switch {
	case found && waits && s.slots > 0 && v.active > s.slots:
		v.residency = noSlot // it was sent here, but more adapters than fit have been
	case found:
		v.residency = resident
	case s.slots == 0 || v.active < s.slots:
		v.residency = freeSlot
	default:
		v.residency = noSlot
	}
	if len(s.list) < s.slots || s.slots == 0 {
		v.victim = noAdapter // there is an empty slot, or nobody knows
	}
	return v
}

// churn is how much a load counts that takes a slot from another adapter: more
// than its time, for it is not the last (docs/scheduling.md).
const churn = 3.0

// loraSeconds is the time until an adapter is loaded at an endpoint with the
// work w, and what its load costs others: those who run there meanwhile, and
// those who will call for the adapter that it pushes out. waits says that the
// call would have to wait inside the engine until another adapter is done.
func (p *pool) loraSeconds(d *demand, s *adapters, w *work, fresh bool) (seconds float64, waits bool) {
	v := s.standing(d.adapter, fresh)
	if v.residency == resident {
		return 0, false
	}
	seconds = adapterLoadSeconds * (1 + p.weights.harm*w.requests)
	if v.victim != noAdapter {
		// A load into an empty slot is paid once.
		seconds = churn * (seconds + adapterLoadSeconds*p.adapters.loss(v.victim, d.adapter))
	}
	if v.residency == noSlot {
		// All requests of some adapter must end: the running ones spread over
		// the adapters, so those of one end within one request's time shared by
		// as many adapters.
		decodes := max(1, w.requests-w.prefills)
		turnover := d.output * p.engine.stepSeconds(decodes, w.context) / float64(v.active)
		seconds += turnover * float64(v.active-s.slots+1)
	}
	return seconds, v.residency == noSlot
}

// loss is what pushing victim out for id loses, in loads: twice the odds that
// victim is called for before id is, and before its slot changes hands anyway. So
// equals lose 1 at most, and who is called for far more 2: those keep their
// slots, and the others take turns in few. Where slots change hands all the time
// nothing is worth keeping. Nothing is lost of what is loaded elsewhere too.
func (n *adapterNames) loss(victim, id int32) float64 {
	if victim == noAdapter || n.at[victim] > 1 || n.calls[victim] == 0 {
		return 0
	}
	changes := n.loads / float64(max(1, n.slots))
	return 2 * n.calls[victim] / (n.calls[victim] + n.calls[id] + changes)
}
