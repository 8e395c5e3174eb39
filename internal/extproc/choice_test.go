package extproc

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/scheduling"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const same = "(same)"

// What makes a choice complete, and the body it leaves.
func TestChoiceOfABody(t *testing.T) {
	head, nothing := epptest.Chosen("10.0.0.1:1"), epptest.RequestBody(nil)
	announcing := func(n string) *extprocv3.ProcessingResponse { return epptest.Chosen("10.0.0.1:1", "Content-Length", n) }
	streamed := func(s string, end bool) *extprocv3.ProcessingResponse {
		return epptest.RequestBody(epptest.Streamed(s, end))
	}
	whole := func(s string) *extprocv3.ProcessingResponse { return epptest.RequestBody(epptest.Whole(s)) }
	type messages = []*extprocv3.ProcessingResponse
	cases := map[string]struct {
		pieces string // separated by |
		in     messages
		want   string // the new body; "…" when more is awaited
	}{
		"bodyless":                         {"", messages{head}, same},
		"bodyless, body added":             {"", messages{replace(head, "x")}, "x"},
		"head alone":                       {"ab", messages{head}, "…"},
		"body alone":                       {"ab", messages{nothing}, "…"},
		"head first":                       {"ab", messages{head, nothing}, same},
		"body first":                       {"ab|cd", messages{nothing, head, nothing}, same},
		"one of two":                       {"ab|cd", messages{head, nothing}, "…"},
		"one of two changed":               {"ab|cd", messages{head, nothing, whole("x")}, "abx"},
		"one of two cleared":               {"ab|cd", messages{head, epptest.RequestBody(epptest.Clear()), nothing}, "cd"},
		"all cleared":                      {"ab", messages{head, epptest.RequestBody(epptest.Clear())}, ""},
		"clear_body: false":                {"ab", messages{head, epptest.RequestBody(&extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{}})}, same},
		"streamed":                         {"ab|cd", messages{head, streamed("x", false), streamed("", false), streamed("y", true)}, "xy"},
		"streamed without an end":          {"ab", messages{head, streamed("ab", false)}, "…"},
		"streamed, the end alone":          {"ab", messages{head, streamed("ab", false), streamed("", true)}, "ab"},
		"streamed after an answered piece": {"ab|cd", messages{head, nothing, streamed("x", true)}, "abx"},
		"streamed early":                   {"ab|cd|ef", messages{streamed("x", true), head, nothing, nothing}, "x"},
		"collected":                        {"ab|cd|ef", messages{announcing("3"), whole("xyz")}, "xyz"},
		"collected, body first":            {"ab|cd|ef", messages{whole("xyz"), announcing("3")}, "xyz"},
		"a piece that is not all":          {"ab|cd|ef", messages{announcing("6"), whole("xyz")}, "…"},
		"replaced with the head":           {"ab|cd", messages{replace(head, "x")}, "x"},
		"enough said with the head":        {"ab|cd", messages{enough(head)}, same},
		"override of a timeout":            {"ab", messages{{}, head, {}, nothing}, same},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			made := &choice{limit: 100}
			if c.pieces != "" {
				for p := range strings.SplitSeq(c.pieces, "|") {
					made.pieces = append(made.pieces, []byte(p))
				}
			}
			for i, m := range c.in {
				if err := made.take(m); err != nil {
					t.Fatal(err)
				}
				if made.done() && i < len(c.in)-1 && c.want != "x" {
					t.Errorf("done after message %d", i)
				}
			}
			got := "…"
			if made.done() {
				if got = string(bytes.Join(made.newBody(), nil)); made.newBody() == nil {
					got = same
				}
			}
			if got != c.want {
				t.Errorf("body is %q, want %q", got, c.want)
			}
		})
	}
}

func replace(m *extprocv3.ProcessingResponse, body string) *extprocv3.ProcessingResponse {
	m = enough(m)
	m.GetRequestHeaders().GetResponse().BodyMutation = epptest.Whole(body)
	return m
}

func enough(m *extprocv3.ProcessingResponse) *extprocv3.ProcessingResponse {
	m = proto.Clone(m).(*extprocv3.ProcessingResponse)
	m.GetRequestHeaders().GetResponse().Status = extprocv3.CommonResponse_CONTINUE_AND_REPLACE
	return m
}

func TestHeaderMutations(t *testing.T) {
	option := func(name, value string, action corev3.HeaderValueOption_HeaderAppendAction, old *wrapperspb.BoolValue) *corev3.HeaderValueOption {
		//lint:ignore SA1019 pickers still set it
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: action, Append: old}
	}
	const (
		unset    = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
		absent   = corev3.HeaderValueOption_ADD_IF_ABSENT
		always   = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		existing = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS
	)
	var e edits
	both := option("raw", "plain", unset, nil)
	both.Header.RawValue = []byte("raw")
	if err := e.add(&extprocv3.HeaderMutation{
		RemoveHeaders: []string{"gone", "back", ":path", "host"},
		SetHeaders: []*corev3.HeaderValueOption{
			option("twice", "1", unset, nil), option("TWICE", "2", unset, nil), option("back", "new", unset, nil), both,
			option("old-true", "2", unset, wrapperspb.Bool(true)), option("old-false", "2", absent, wrapperspb.Bool(false)),
			option("absent", "2", absent, nil), option("absent-new", "2", absent, nil), option("always", "2", always, nil),
			option("existing", "2", existing, nil), option("existing-new", "2", existing, nil), option("empty", "", unset, nil),
			option(":method", "PUT", unset, nil), option("Host", "evil", unset, nil), option("x-gateway-destination-endpoint", "10.0.0.1:1", unset, nil),
		},
	}); err != nil {
		t.Fatal(err)
	}
	h := http.Header{":method": {"GET"}, ":path": {"/"}, "Host": {"h"}, "Gone": {"1"}, "Back": {"1"}, "Twice": {"0"}, "Old-True": {"1"},
		"Old-False": {"1"}, "Absent": {"1"}, "Always": {"1"}, "Existing": {"1"}, "Kept": {"1", "2"}}
	kept := h["Old-True"]
	e.apply(h)
	want := http.Header{":method": {"GET"}, ":path": {"/"}, "Host": {"h"}, "Back": {"new"}, "Twice": {"2"}, "Raw": {"raw"}, "Old-True": {"1", "2"},
		"Old-False": {"2"}, "Absent": {"1"}, "Absent-New": {"2"}, "Always": {"2"}, "Existing": {"2"}, "Empty": {""}, "Kept": {"1", "2"}}
	if d := cmp.Diff(want, h); d != "" {
		t.Error(d)
	}
	if len(kept) != 1 {
		t.Error("a value was appended in place")
	}
	if v, ok := e.value(destinationField); !ok || v != "10.0.0.1:1" {
		t.Errorf("destination is %q", v)
	}
}

func TestDestinations(t *testing.T) {
	pool := testPool("10.0.0.1:3000", "10.0.0.1:3002", "10.0.0.2:3000", "[fd00::1]:3000")
	for list, want := range map[string]string{
		"10.0.0.2:3000":                          "10.0.0.2:3000",
		" 10.0.0.2:3000 , 10.0.0.1:3002":         "10.0.0.2:3000 10.0.0.1:3002",
		"10.0.0.2:3000,10.0.0.2:3000":            "10.0.0.2:3000",
		"10.9.9.9:1,,10.0.0.1:3000":              "10.0.0.1:3000",
		"10.0.0.1":                               "10.0.0.1:3000 10.0.0.1:3002",
		"10.0.0.1,10.0.0.2":                      "10.0.0.1:3000 10.0.0.1:3002 10.0.0.2:3000",
		"fd00::1":                                "[fd00::1]:3000",
		"[fd00:0::1]:3000":                       "[fd00::1]:3000",
		"[fd00::1]":                              "[fd00::1]:3000",
		"":                                       "",
		"10.0.0.1:9":                             "",
		"localhost:3000":                         "",
		"10.0.0.1:3000;10.0.0.2:3000":            "",
		strings.Repeat("1", maxDestinationLen+1): "",
		strings.Repeat("1,", 100) + "10.0.0.1:3000": "", // beyond what is looked at
	} {
		got, err := destinations(list, pool.Endpoints)
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%.40q gives %v, %v; want %q", list, got, err, want)
		}
	}
}

// FuzzChoice feeds a choice whatever decodes as messages. It must neither panic nor
// make more of a body than allowed, and once done it stays done.
func FuzzChoice(f *testing.F) {
	seed := func(messages ...*extprocv3.ProcessingResponse) {
		var all []byte
		for _, m := range messages {
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			all = append(append(all, byte(len(b)>>8), byte(len(b))), b...)
		}
		f.Add(all, uint8(2))
	}
	seed(epptest.Chosen("10.0.0.1:3000"), epptest.RequestBody(nil))
	seed(epptest.RequestBody(epptest.Streamed("x", true)), replace(epptest.Chosen("10.0.0.1", "content-length", "1"), "y"))
	seed(epptest.Chosen("10.0.0.1:3000", "x", "y"), epptest.RequestBody(epptest.Whole("z")), epptest.RequestBody(epptest.Clear()))
	seed(epptest.Immediate(429, "no", "a", "b"))
	seed(epptest.ResponseHead("a", "b"), epptest.ResponseBody(epptest.Streamed("x", false)), epptest.ResponseTrailers("c", "d"))
	pool := testPool("10.0.0.1:3000", "10.0.0.2:3000")
	f.Fuzz(func(t *testing.T, in []byte, pieces uint8) {
		const limit = 64
		made, through := &choice{limit: limit}, newRelay(limit)
		for i := range int(pieces % 4) {
			made.pieces = append(made.pieces, []byte{byte('a' + i)})
			_ = through.sent([]byte{byte('a' + i)}, false)
		}
		h := http.Header{":path": {"/"}, "Host": {"h"}, "Content-Length": {"1"}}
		for len(in) >= 2 {
			n := min(int(in[0])<<8|int(in[1]), len(in)-2)
			m := &extprocv3.ProcessingResponse{}
			if proto.Unmarshal(in[2:2+n], m) != nil {
				return
			}
			in = in[2+n:]
			fuzzRelay(t, through, m)
			was := made.done()
			err := made.take(m)
			var answer *scheduling.ExternalAnswer
			if errors.As(err, &answer) && (answer.Status < 200 || answer.Status > 599) {
				t.Fatalf("client is answered %d", answer.Status)
			}
			if err != nil {
				return
			}
			if was && !made.done() {
				t.Fatal("what was done is not any more")
			}
		}
		made.edits.apply(h)
		if h[":path"][0] != "/" || h["Host"][0] != "h" || h["Content-Length"][0] != "1" {
			t.Fatalf("guarded fields changed: %v", h)
		}
		if size := len(bytes.Join(made.newBody(), nil)); size > limit+len(made.pieces) {
			t.Fatalf("body is %d bytes", size)
		}
		if list, err := made.list(); err == nil {
			got, err := destinations(list, pool.Endpoints)
			for _, a := range got {
				if _, ok := search(pool.Endpoints, a); !ok || err != nil {
					t.Fatalf("%s is not of the pool (%v)", a, err)
				}
			}
		}
	})
}

func fuzzRelay(t *testing.T, r *relay, m *extprocv3.ProcessingResponse) {
	if _, err := r.take(m); err != nil {
		return
	}
	if r.heldBytes < 0 || r.outBytes < 0 || r.size() > r.limit {
		t.Fatalf("relay holds %d and %d bytes", r.heldBytes, r.outBytes)
	}
	held := 0
	for _, p := range r.held {
		held += len(p)
	}
	if held != r.heldBytes {
		t.Fatalf("relay counts %d bytes held of %d", r.heldBytes, held)
	}
}
