package extproc

import (
	"math/rand/v2"
	"strings"
	"testing"

	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/routing"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

func testPool(addresses ...string) *routing.Pool {
	p := &routing.Pool{ID: "InferencePool/n/p", Name: "n/p", Inference: true, Picker: &routing.ExternalPicker{Service: "n/epp:9002"}}
	for _, a := range addresses {
		p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: a})
	}
	return p
}

func (r *relay) readAll() string {
	p := make([]byte, 1<<16)
	return string(p[:r.read(p)])
}

// An answer in steps: ">x" sends x, ">x." the last piece; "T" sends trailers; "H"
// answers the head, "-" a piece with nothing, "=x" with x, "~x" streams x, "~x."
// the last of it, "t" answers trailers. "!" goes on without the picker.
func TestRelay(t *testing.T) {
	cases := map[string]struct{ steps, out, state string }{
		"nothing sent":                  {"H", "", "under way"},
		"answered piece by piece":       {"H >a - >b. -", "ab", "done"},
		"head last":                     {">a. - H", "a", "done"},
		"no head":                       {">a. -", "a", "under way"},
		"empty":                         {"H >. -", "", "done"},
		"piece replaced":                {"H >a =xy >b. -", "xyb", "done"},
		"streamed":                      {"H >a ~a >b. ~b.", "ab", "done"},
		"streamed, other pieces":        {"H >abc >def. ~ab ~cde ~f.", "abcdef", "done"},
		"streamed, end alone":           {"H >a ~a >. ~.", "a", "done"},
		"streamed, no end":              {"H >a. ~a", "a", "under way"},
		"kept to the end":               {"H >a >b >c. ~ab ~c.", "abc", "done"},
		"changed":                       {"H >a ~x >b. ~y.", "xy", "done"},
		"changed, late answers":         {"H >a ~x - >b. - ~y.", "xy", "done"},
		"ended early":                   {"H >a >b ~a.", "a", "done"},
		"trailers":                      {"H >a - T t", "a", "done"},
		"trailers, streamed":            {"H >a ~a T t", "a", "done"},
		"trailers unanswered":           {"H >a - T", "a", "under way"},
		"without the picker":            {"H >a >b !", "ab", "raw"},
		"without it after a piece":      {"H >a - >b !", "ab", "raw"},
		"without it after a stream":     {"H >abc ~ab >d !", "abcd", "raw"},
		"without it, head unanswered":   {">a !", "a", "raw"},
		"without it after replacements": {"H >a =x >b !", "xb", "raw"},
		"not without it once changed":   {"H >a ~x >b !", "x", "lost"},
		"not without it once changed 2": {"H >abc ~abx >d !", "abx", "lost"},
		"collected":                     {"L2 >a >b. =xy", "xy", "done"},
		"not all":                       {"L9 >a >b. =xy", "xy", "under way"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, state := newRelay(1000), ""
			for step := range strings.FieldsSeq(c.steps) {
				if err := r.step(step, &state); err != nil {
					t.Fatalf("%s: %v", step, err)
				}
			}
			if state == "" && r.done() {
				state = "done"
			} else if state == "" {
				state = "under way"
			}
			if out := r.readAll(); out != c.out || state != c.state || r.size() != r.heldBytes {
				t.Errorf("%s gives %q, %s, want %q, %s", c.steps, out, state, c.out, c.state)
			}
		})
	}
}

func (r *relay) step(step string, state *string) error {
	text, last := strings.CutSuffix(step[1:], ".")
	var m *extprocv3.ProcessingResponse
	switch step[0] {
	case '>':
		return r.sent([]byte(text), last)
	case 'T':
		r.sentTrailers()
		return nil
	case '!':
		if *state = "lost"; r.withoutPicker() {
			*state = "raw"
		}
		return nil
	case 'H':
		m = epptest.ResponseHead()
	case 'L':
		m = epptest.ResponseHead("content-length", text)
	case '-':
		m = epptest.ResponseBody(nil)
	case '=':
		m = epptest.ResponseBody(epptest.Whole(text))
	case '~':
		m = epptest.ResponseBody(epptest.Streamed(text, last))
	case 't':
		m = epptest.ResponseTrailers()
	}
	_, err := r.take(m)
	return err
}

func TestRelayRefuses(t *testing.T) {
	for name, steps := range map[string]string{
		"an answer to nothing":  "H -",
		"two heads":             "H H",
		"more than was sent":    "H >a. - -",
		"more than it may hold": "H >" + strings.Repeat("x", 600) + " >" + strings.Repeat("x", 600),
		"more than it may give": "H >a ~" + strings.Repeat("x", 1001),
	} {
		r, state := newRelay(1000), ""
		var err error
		for step := range strings.FieldsSeq(steps) {
			if err = r.step(step, &state); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// However a faithful picker cuts what it streams and whenever it is left, the client
// gets the bytes the endpoint sent, each once.
func TestRelayLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		r := newRelay(1 << 20)
		sent, back, got := "", 0, ""
		for range random.IntN(12) {
			switch random.IntN(3) {
			case 0:
				p := strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(5))
				sent += p
				if err := r.sent([]byte(p), false); err != nil {
					t.Fatal(err)
				}
			case 1:
				n := random.IntN(len(sent) - back + 1)
				if _, err := r.take(epptest.ResponseBody(epptest.Streamed(sent[back:back+n], false))); err != nil {
					t.Fatal(err)
				}
				back += n
			default:
				got += r.readAll()
			}
		}
		if !r.withoutPicker() {
			t.Fatal("a faithful picker's answer cannot go on without it")
		}
		if got += r.readAll(); got != sent {
			t.Fatalf("client got %q of %q", got, sent)
		}
	}
}
