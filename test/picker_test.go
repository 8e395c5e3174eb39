package test

import (
	"fmt"
	"strings"
	"testing"

	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/llm"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Every way of talking leads to the endpoint chosen, and the bytes of both bodies
// come through.
func TestPickersThatTalkDifferently(t *testing.T) {
	scripts := map[string]func(string) epptest.Script{
		"light": epptest.Light,
		"echo":  epptest.Echo,
		"full":  func(list string) epptest.Script { return epptest.Full(list, unchanged) },
		"leaves": func(list string) epptest.Script {
			return epptest.Says(epptest.Leaves, epptest.Chosen(list), epptest.RequestBody(epptest.Streamed(prompt, true)))
		},
		"whole body": func(list string) epptest.Script {
			return epptest.Says(epptest.Leaves, epptest.Chosen(list, "content-length", fmt.Sprint(len(prompt))), epptest.RequestBody(epptest.Whole(prompt)))
		},
		"body first": func(list string) epptest.Script {
			return epptest.Says(epptest.Leaves, epptest.RequestBody(nil), epptest.Chosen(list))
		},
		"metadata alone": func(list string) epptest.Script {
			m := epptest.RequestHead(nil)
			m.DynamicMetadata = epptest.Metadata(list)
			return epptest.Says(epptest.Leaves, m, epptest.RequestBody(nil))
		},
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			one, two := echoEngine(t, "one"), echoEngine(t, "two")
			for engine, address := range map[string]string{"one": one, "two": two} {
				p := epptest.Start(t, script(address))
				w := newPicked(t, []string{p.Address}, []string{one, two})
				a := w.complete(prompt)
				if a.status != 200 || a.header.Get("X-Engine") != engine || a.body != prompt || a.err != nil {
					t.Errorf("answer is %d from %s: %q, %v", a.status, a.header.Get("X-Engine"), a.body, a.err)
				}
				if a.outcome.Reason != llm.ReasonOK || a.outcome.Endpoint != address || a.outcome.Model != "m" {
					t.Errorf("outcome is %+v", a.outcome)
				}
			}
		})
	}
}

// A picker that starts to answer before it has heard all must not stall the rest.
func TestLargeBodiesPassBothWays(t *testing.T) {
	big := `{"model":"m","prompt":"` + strings.Repeat("x", 900_000) + `"}`
	scripts := map[string]func(string) epptest.Script{
		"light": epptest.Light,
		"echo":  epptest.Echo,
		"full":  func(list string) epptest.Script { return epptest.Full(list, unchanged) },
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			one := echoEngine(t, "one")
			w := newPicked(t, []string{epptest.Start(t, script(one)).Address}, []string{one})
			if a := w.complete(big); a.status != 200 || a.body != big {
				t.Errorf("answer is %d with %d bytes, want %d", a.status, len(a.body), len(big))
			}
			if a := w.complete(big + strings.Repeat(" ", 1<<20)); a.status != 413 {
				t.Errorf("above the limit the answer is %d", a.status)
			}
		})
	}
}

// What the picker is told of a request.
func TestWhatPickersAreTold(t *testing.T) {
	told := make(chan *extprocv3.ProcessingRequest, 10)
	one, two := echoEngine(t, "one"), echoEngine(t, "two")
	p := epptest.Start(t, func(s *epptest.Stream) error {
		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			told <- m
			if m.GetRequestHeaders().GetEndOfStream() || m.GetRequestBody().GetEndOfStream() {
				if err := s.Send(epptest.Chosen(two)); err != nil {
					return err
				}
				return s.Send(epptest.RequestBody(nil))
			}
		}
	})
	w := newPicked(t, []string{p.Address}, []string{one, two})
	body := `{"model":"m","prompt":"` + strings.Repeat("x", 100_000) + `"}`
	a := w.complete(body, "X-Gateway-Destination-Endpoint", one, "X-Gateway-Destination-Endpoint-Subset", one,
		"X-Gateway-Inference-Objective", "food-review", "X-Own", "1", "Connection", "X-Hop", "X-Hop", "1")
	_ = a // this picker answers one piece of two; what counts is what it was told
	head := (<-told)
	h := head.GetRequestHeaders().GetHeaders()
	for name, want := range map[string]string{
		":method": "POST", ":path": "/v1/completions", ":scheme": "http", ":authority": strings.TrimPrefix(w.server.URL, "http://"),
		"x-own": "1", "x-gateway-inference-objective": "food-review", "content-length": fmt.Sprint(len(body)),
		"x-gateway-destination-endpoint": "", "x-gateway-destination-endpoint-subset": "", "x-hop": "",
	} {
		if got := epptest.Field(h, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, f := range h.GetHeaders() {
		if f.GetKey() != strings.ToLower(f.GetKey()) {
			t.Errorf("%s is not in lower case", f.GetKey())
		}
	}
	if c := head.GetProtocolConfig(); c.GetRequestBodyMode().String() != "FULL_DUPLEX_STREAMED" || c.GetResponseBodyMode().String() != "FULL_DUPLEX_STREAMED" {
		t.Errorf("protocol_config is %v", c)
	}
	got := ""
	for m := head; ; m = <-told {
		list := m.GetMetadataContext().GetFilterMetadata()["envoy.lb.subset_hint"].GetFields()["x-gateway-destination-endpoint-subset"].GetListValue().GetValues()
		if len(list) != 2 || list[0].GetStringValue() != w.pool.Endpoints[0].Address {
			t.Fatalf("the subset hint is %v", list)
		}
		b := m.GetRequestBody()
		if len(b.GetBody()) > 62<<10 {
			t.Errorf("a message carries %d bytes", len(b.GetBody()))
		}
		got += string(b.GetBody())
		if b.GetEndOfStream() {
			break
		}
	}
	if got != body {
		t.Errorf("body is %d bytes, want %d", len(got), len(body))
	}
}

// A request without a body is one message, and its answer may be empty.
func TestBodylessRequests(t *testing.T) {
	one := echoEngine(t, "one")
	for name, script := range map[string]epptest.Script{"light": epptest.Light(one), "echo": epptest.Echo(one), "full": epptest.Full(one, unchanged)} {
		w := newPicked(t, []string{epptest.Start(t, script).Address}, []string{one})
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			a := w.send(method, "/x?q=1", "")
			if a.status != 200 || a.header.Get("X-Engine") != "one" || a.header.Get("X-Query") != "/x?q=1" || a.header.Get("X-Went-Into-Resp-Headers") != "true" {
				t.Errorf("%s %s: answer is %d %v", name, method, a.status, a.header)
			}
		}
	}
}

func TestPickersChangeRequests(t *testing.T) {
	one := echoEngine(t, "one")
	cases := map[string]struct {
		script epptest.Script
		body   string
	}{
		"streamed":      {epptest.Full(one, strings.ToUpper), strings.ToUpper(prompt)},
		"longer":        {epptest.Full(one, func(s string) string { return strings.Repeat(s, 5000) }), strings.Repeat(prompt, 5000)},
		"emptied":       {epptest.Full(one, func(string) string { return "" }), ""},
		"whole":         {epptest.Says(epptest.Leaves, epptest.Chosen(one), epptest.RequestBody(epptest.Whole("new"))), "new"},
		"cleared":       {epptest.Says(epptest.Leaves, epptest.Chosen(one), epptest.RequestBody(epptest.Clear())), ""},
		"with the head": {epptest.Says(epptest.Leaves, replacing(one, "with the head")), "with the head"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newPicked(t, []string{epptest.Start(t, c.script).Address}, []string{one})
			a := w.complete(prompt)
			if a.status != 200 || a.body != c.body || a.header.Get("X-Length") != fmt.Sprint(len(c.body)) {
				t.Errorf("engine was sent %s bytes: %.100q, want %.100q", a.header.Get("X-Length"), a.body, c.body)
			}
		})
	}
}

func replacing(list, body string) *extprocv3.ProcessingResponse {
	m := epptest.Chosen(list)
	r := m.GetRequestHeaders().GetResponse()
	r.Status, r.BodyMutation = extprocv3.CommonResponse_CONTINUE_AND_REPLACE, epptest.Whole(body)
	return m
}

func TestPickersChangeHeaders(t *testing.T) {
	one := echoEngine(t, "one")
	head := epptest.Chosen(one, "X-Own", "picker's", "x-new", "1", ":path", "/stolen", "host", "evil", "content-length", "3",
		"transfer-encoding", "chunked", "connection", "x-new", "x-gateway-inference-objective", "o")
	head.GetRequestHeaders().GetResponse().HeaderMutation.RemoveHeaders = []string{"X-Gone", ":method", "host"}
	w := newPicked(t, []string{epptest.Start(t, epptest.Says(epptest.Leaves, head, epptest.RequestBody(nil))).Address}, []string{one})
	a := w.complete(prompt, "X-Own", "mine", "X-Gone", "1")
	for name, want := range map[string]string{
		"Seen-X-Own": "picker's", "Seen-X-New": "1", "Seen-X-Gone": "", "X-Query": "/v1/completions",
		"Seen-X-Gateway-Destination-Endpoint": "", "Seen-X-Gateway-Inference-Objective": "", "X-Length": fmt.Sprint(len(prompt)),
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if a.status != 200 || a.body != prompt {
		t.Errorf("answer is %d %q", a.status, a.body)
	}
}

// The answer's head is shown with the endpoint that served, and comes back changed;
// a picker that echoes it in whole breaks nothing.
func TestServedEndpointIsReported(t *testing.T) {
	dead, one := noListener(t), echoEngine(t, "one")
	for name, list := range map[string]string{"first": one, "after a dead one": dead + ", " + one} {
		p := epptest.Start(t, epptest.Light(list))
		w := newPicked(t, []string{p.Address}, []string{dead, one})
		a := w.complete(prompt)
		if got := a.header["X-Conformance-Test-Served-Endpoint"]; a.status != 200 || len(got) != 1 || got[0] != one || a.body != prompt {
			t.Errorf("%s: answer is %d, served by %q", name, a.status, got)
		}
		if a.outcome.Endpoint != one {
			t.Errorf("%s: outcome names %s", name, a.outcome.Endpoint)
		}
		eventually(t, "the picker sees an orderly end", func() bool { e := p.Ended(); return len(e) == 1 && e[0] == nil })
	}
}
