package llm

import (
	"bytes"
	"strings"
	"time"
)

// Meter watches the bytes of one response while they are forwarded, and knows
// at the end what the response reported. It never fails: what it does not
// understand it does not count. It keeps no text but the model's name and the
// finish reason, in memory that is bounded and, with Reset, used again.
//
// It understands the responses of OpenAI's chat, completions, embeddings and
// Responses APIs and of Anthropic's messages API, as JSON and as event streams.
type Meter struct {
	// GapObserver, if set, is called with the time between each two content
	// events, as it is seen. Reset leaves it alone.
	GapObserver func(gap time.Duration)

	stream bool
	events EventReader
	doc    walker
	count  Report // all but the usage and the two names
	judge  judge
	usage  usageCounts
	model  []byte
	finish []byte

	// Of the event being read:
	content  bool // it brings something the model wrote
	terminal bool // it says that the stream is complete
	mark     int  // bytes of doneMark its data has matched, or noMark
}

// doneMark is the data of the event that ends a stream of OpenAI's older APIs.
const doneMark = "[DONE]"

// noMark means that the data of an event is not doneMark.
const noMark = -1

// Reset makes the meter ready for another response, whose Content-Type decides
// whether it is an event stream; anything else is tried as one JSON document.
func (m *Meter) Reset(contentType string) {
	m.doc.reset()
	m.judge.reset()
	*m = Meter{
		GapObserver: m.GapObserver,
		doc:         m.doc,
		judge:       m.judge,
		model:       m.model[:0],
		finish:      m.finish[:0],
		stream:      isEventStream(contentType),
	}
}

// Expect tells the meter, after Reset, what request the response answers, so that
// it can judge by what was asked for. The meter uses the request's body, which
// r.Tools is a part of, up to the last Observe.
func (m *Meter) Expect(r *Request) {
	m.judge.asked, m.judge.wants, m.judge.tools = true, r.WantsJSON, r.Tools
}

// isEventStream reports whether a Content-Type names an event stream, whatever
// its parameters.
func isEventStream(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// Observe takes the next bytes of the body, of any length and cut anywhere,
// and the instant they were forwarded. It does not keep p.
func (m *Meter) Observe(p []byte, at time.Time) {
	if len(p) == 0 {
		return
	}
	if !m.stream {
		if m.count.FirstToken.IsZero() {
			m.count.FirstToken = at
		}
		m.count.LastToken = at
		m.walk(p)
		return
	}
	for len(p) > 0 {
		n, part := m.events.Next(p)
		switch part {
		case EventLine:
			if m.mark > 0 {
				m.mark = noMark // the mark is one line
			}
			m.walk(lineBreak[:])
		case EventData:
			m.matchMark(p[:n])
			m.walk(p[:n])
		case EventEnd:
			m.endEvent(at)
		}
		p = p[n:]
	}
}

// lineBreak is what stands in an event's data between two of its lines. Before
// the first line it does no harm: to JSON it is white space.
var lineBreak = [1]byte{'\n'}

// AtBoundary reports whether the body seen so far is an event stream that
// stands between two events, so that one more may be written to the client.
func (m *Meter) AtBoundary() bool { return m.stream && m.events.AtBoundary() }

// matchMark compares an event's data with doneMark.
func (m *Meter) matchMark(p []byte) {
	for _, c := range p {
		if m.mark == noMark || m.mark == len(doneMark) || c != doneMark[m.mark] {
			m.mark = noMark
			return
		}
		m.mark++
	}
}

// endEvent counts the event that just ended and makes ready for the next.
func (m *Meter) endEvent(at time.Time) {
	m.count.Events++
	if m.terminal || m.mark == len(doneMark) {
		m.count.Done = true
	}
	if m.content {
		m.endContent(at)
	}
	m.judge.endEvent()
	m.content, m.terminal, m.mark = false, false, 0
	m.doc.reset()
}

// endContent notes the time of an event with content.
func (m *Meter) endContent(at time.Time) {
	m.count.ContentEvents++
	if m.count.FirstToken.IsZero() {
		m.count.FirstToken, m.count.LastToken = at, at
		return
	}
	gap := at.Sub(m.count.LastToken)
	m.count.LastToken = at
	m.count.Gaps.add(gap)
	if m.GapObserver != nil {
		m.GapObserver(gap)
	}
}

// walk follows the next bytes of the JSON document.
func (m *Meter) walk(p []byte) {
	for len(p) > 0 {
		n, t := m.doc.next(p)
		p = p[n:]
		switch t {
		case tokenKey:
			m.nameKey()
		case tokenPiece:
			m.hear()
		case tokenString:
			if len(m.doc.piece) > 0 {
				m.hear()
			}
			m.readText()
		case tokenNumber:
			m.readNumber()
		case tokenOpen:
			// An error that is null, as in every good answer of the
			// Responses API, opens nothing.
			if m.doc.at(1) == labelError {
				m.count.Failed = true
			}
			m.enter()
		case tokenClose:
			m.leave()
			if m.doc.depth == 0 && !m.stream {
				m.count.Done = true
			}
		}
	}
}

// hear takes over a piece of text.
func (m *Meter) hear() {
	m.judge.hear(m.doc.piece)
	m.doc.piece = nil
}

// nameKey labels the key just read.
func (m *Meter) nameKey() {
	if m.doc.cut {
		m.doc.name(0, 0)
		return
	}
	l := responseLabel(m.doc.text)
	if l == labelModel && len(m.model) > 0 {
		// Every event repeats it; once is enough.
		m.doc.name(l, 0)
		return
	}
	m.doc.name(l, l.room())
	if l.judged() {
		m.attend(l)
	}
}

// root returns the depth of the object that holds the response: that of the
// document, or the one that an event wraps.
func (m *Meter) root() int {
	if wrap := m.doc.at(1); wrap == labelResponse || wrap == labelMessage {
		return 2
	}
	return 1
}

// readNumber takes over a number if it stands in a usage object.
func (m *Meter) readNumber() {
	if m.doc.here() == labelIndex {
		m.readIndex()
		return
	}
	d, r := m.doc.depth, m.root()
	if d <= r || m.doc.at(r) != labelUsage || m.doc.cut {
		return
	}
	l := m.doc.here()
	switch {
	case d == r+1 && l != labelCachedTokens:
		m.usage.note(l, m.doc.text)
	case d == r+2 && l == labelCachedTokens && m.doc.at(r+1) == labelTokenDetails:
		m.usage.note(l, m.doc.text)
	}
}

// readText takes over a string value.
func (m *Meter) readText() {
	if !m.doc.some {
		return
	}
	m.content = m.content || m.isContent()
	d, l := m.doc.depth, m.doc.here()
	if l.judged() || l == 0 && d > 1 {
		m.judgeText()
	}
	if l == labelError && d == 1 {
		m.count.Failed = true
	}
	if l.room() == 0 || m.doc.cut {
		return
	}
	r, text := m.root(), m.doc.text
	switch {
	case l == labelModel && d == r:
		m.model = append(m.model, text...)
	case l == labelFinish && m.isFinish(d, r):
		m.finish = append(m.finish[:0], text...)
	case l == labelStatus && d == r && endsResponse(text):
		m.finish = append(m.finish[:0], text...)
	case l == labelType && d == 1 && m.stream:
		m.readType(text)
	}
}

// isFinish reports whether a finish reason at depth d is the answer's: in a
// choice, in the response itself, or in the delta that ends Anthropic's stream.
func (m *Meter) isFinish(d, r int) bool {
	first := m.doc.at(1)
	return d == r || d == 2 && first == labelDelta || d == 3 && first == labelChoices
}

// endsResponse reports whether a status of the Responses API is final.
func endsResponse(status []byte) bool {
	switch string(status) {
	case "completed", "incomplete", "failed", "cancelled":
		return true
	}
	return false
}

// readType recognises the events that end a stream, by their type.
func (m *Meter) readType(text []byte) {
	m.judge.mute = bytes.HasPrefix(text, []byte("response.reasoning"))
	switch string(text) {
	case "response.completed", "response.incomplete", "message_stop":
		m.terminal = true
	case "response.failed", "error":
		m.terminal, m.count.Failed = true, true
	}
}

// isContent reports whether the string just read, which is not empty, is
// something the model wrote, as opposed to the words of the protocol. Whatever
// stands in a delta counts, unless known to be protocol: engines keep
// inventing names for reasoning and tool calls.
func (m *Meter) isContent() bool {
	d := m.doc.depth
	switch m.doc.at(1) {
	case labelChoices:
		if d == 3 {
			return m.doc.at(3) == labelText // completions
		}
		return d > 3 && m.doc.at(3) == labelDelta && !isProtocol(m.doc.here()) // chat
	case labelDelta:
		return d == 1 || !isProtocol(m.doc.here()) // Responses; Anthropic
	}
	return false
}

// isProtocol reports whether a string with this label inside a delta is a word
// of the protocol.
func isProtocol(l label) bool {
	switch l {
	case labelRole, labelType, labelID, labelFinish, labelStop, labelSignature:
		return true
	}
	return false
}
