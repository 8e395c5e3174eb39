package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// impatient makes silence fail soon, but not before a busy machine has made a
// connection and brought the picker its first messages. Tests wait for it beside each
// other.
func impatient(_ *routing.Pool, o *extproc.Options) { o.Timeout = 3 * time.Second }

// flood sends messages for as long as anybody takes them.
func flood(m *extprocv3.ProcessingResponse) epptest.Script {
	return func(s *epptest.Stream) error {
		for {
			if err := s.Send(m); err != nil {
				return err
			}
		}
	}
}

func many(n int) (fields []string) {
	for i := range n {
		fields = append(fields, fmt.Sprintf("x-%d", i), "v")
	}
	return fields
}

// Whatever a picker does wrong, the pool's failureMode says what follows.
func TestPickerFailures(t *testing.T) {
	one := echoEngine(t, "one")
	differing := epptest.Chosen(one)
	differing.DynamicMetadata = epptest.Metadata("10.9.9.9:1")
	then := func(m ...*extprocv3.ProcessingResponse) epptest.Script { return epptest.Says(epptest.Hangs, m...) }
	cases := map[string]epptest.Script{
		"refuses":                func(*epptest.Stream) error { return status.Error(codes.Internal, "no endpoints available") },
		"breaks off":             epptest.Says(func(*epptest.Stream) error { return status.Error(codes.Unavailable, "gone") }, epptest.Chosen(one)),
		"leaves without a word":  epptest.Leaves,
		"leaves in the middle":   epptest.Says(epptest.Leaves, epptest.Chosen(one)),
		"is silent":              epptest.Hangs,
		"is silent on the body":  then(epptest.Chosen(one)),
		"names no endpoint":      then(epptest.RequestHead(nil), epptest.RequestBody(nil)),
		"names a stranger":       then(epptest.Chosen("10.9.9.9:1"), epptest.RequestBody(nil)),
		"names nothing":          then(epptest.Chosen(""), epptest.RequestBody(nil)),
		"names garbage":          then(epptest.Chosen(strings.Repeat("x,", 9000)), epptest.RequestBody(nil)),
		"contradicts itself":     then(differing, epptest.RequestBody(nil)),
		"answers twice":          then(epptest.Chosen(one), epptest.Chosen(one)),
		"answers what is not":    then(epptest.RequestBody(nil), epptest.RequestBody(nil), epptest.Chosen(one)),
		"answers the answer":     then(epptest.Chosen(one), epptest.ResponseHead()),
		"smuggles a field":       then(epptest.Chosen(one, "x-a", "1\r\nx-b: 2"), epptest.RequestBody(nil)),
		"smuggles a name":        then(epptest.Chosen(one, "x-a: 1\r\nx-b", "2"), epptest.RequestBody(nil)),
		"sets too many fields":   then(epptest.Chosen(one, many(300)...), epptest.RequestBody(nil)),
		"sets too large fields":  then(epptest.Chosen(one, "x-a", strings.Repeat("v", 70<<10)), epptest.RequestBody(nil)),
		"sends a huge message":   then(epptest.Chosen(one), epptest.RequestBody(epptest.Whole(strings.Repeat("x", 5<<20)))),
		"sends no end of body":   epptest.Says(flood(epptest.RequestBody(epptest.Streamed(strings.Repeat("x", 1<<20), false))), epptest.Chosen(one)),
		"sends no end of emptys": epptest.Says(flood(&extprocv3.ProcessingResponse{})),
		"answers absurdly":       then(epptest.Immediate(99, "")),
	}
	for name, script := range cases {
		t.Run(name, func(t *testing.T) {
			var change []func(*routing.Pool, *extproc.Options)
			if strings.Contains(name, "silent") {
				t.Parallel()
				change = append(change, impatient)
			}
			if strings.Contains(name, "no end of body") {
				// A busy machine takes its time for the 32 MiB that are the default.
				change = append(change, func(_ *routing.Pool, o *extproc.Options) { o.MaxBodyBytes = 4 << 20 })
			}
			p := epptest.Start(t, script)
			closed := newPicked(t, []string{p.Address}, []string{one}, change...)
			a := closed.complete(prompt)
			if a.status != 503 || !strings.Contains(a.body, `{"error":{"message":`) || a.outcome.Reason != llm.ReasonPickerFailed {
				t.Errorf("FailClose: answer is %d %s for %s", a.status, a.body, a.outcome.Reason)
			}
			open := newPicked(t, []string{p.Address}, []string{one}, append(change, failOpen)...)
			if a := open.complete(prompt); a.status != 200 || a.body != prompt || a.outcome.Reason != llm.ReasonOK {
				t.Errorf("FailOpen: answer is %d %s for %s", a.status, a.body, a.outcome.Reason)
			}
		})
	}
}

func TestPickersThatCannotBeReached(t *testing.T) {
	one := echoEngine(t, "one")
	alive := epptest.Start(t, epptest.Light(one))
	cases := map[string]struct {
		addresses []string
		closed    int // with FailClose
	}{
		"none":            {nil, 503},
		"dead":            {[]string{noListener(t)}, 503},
		"no picker":       {[]string{one}, 503},
		"one of them is":  {[]string{noListener(t), noListener(t), alive.Address}, 200},
		"others speak no": {[]string{one, alive.Address}, 200},
	}
	for name, c := range cases {
		for range 3 { // whichever is asked first
			w := newPicked(t, c.addresses, []string{one})
			if a := w.complete(prompt); a.status != c.closed {
				t.Errorf("%s, FailClose: answer is %d %s", name, a.status, a.body)
			}
			w = newPicked(t, c.addresses, []string{one}, failOpen)
			if a := w.complete(prompt); a.status != 200 || a.body != prompt {
				t.Errorf("%s, FailOpen: answer is %d %s", name, a.status, a.body)
			}
		}
	}
}

func TestPlaintextPicker(t *testing.T) {
	one := echoEngine(t, "one")
	p := epptest.StartPlaintext(t, epptest.Light(one))
	w := newPicked(t, []string{p.Address}, []string{one}, func(p *routing.Pool, _ *extproc.Options) { p.Picker.Plaintext = true })
	if a := w.complete(prompt); a.status != 200 {
		t.Errorf("answer is %d %s", a.status, a.body)
	}
	w = newPicked(t, []string{p.Address}, []string{one})
	if a := w.complete(prompt); a.status != 503 {
		t.Errorf("over TLS the answer is %d %s", a.status, a.body)
	}
}

// A picker's own answer is no failure: it is passed on in either mode.
func TestImmediateResponses(t *testing.T) {
	one := echoEngine(t, "one")
	refusal := epptest.Immediate(429, "later", "retry-after", "7", "x-llm-d-request-dropped-reason", "queue", "content-length", "1", "connection", "x")
	cases := map[string]epptest.Script{
		"at the head": func(s *epptest.Stream) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			return s.Send(refusal)
		},
		"after the body":     epptest.Says(epptest.Leaves, refusal),
		"after the head's":   epptest.Says(epptest.Hangs, epptest.Chosen(one), refusal),
		"at the answer":      epptest.Says(on(refusal), epptest.Chosen(one), epptest.RequestBody(nil)),
		"in the answer body": epptest.Says(on(epptest.ResponseHead(), refusal), epptest.Chosen(one), epptest.RequestBody(nil)),
	}
	for name, script := range cases {
		for _, mode := range []func(*routing.Pool, *extproc.Options){func(*routing.Pool, *extproc.Options) {}, failOpen} {
			w := newPicked(t, []string{epptest.Start(t, script).Address}, []string{one}, mode)
			a := w.complete(prompt)
			if name == "in the answer body" {
				// Its head was sent, so all that is left is to break off.
				if a.err == nil || a.outcome.Reason != llm.ReasonRateLimited {
					t.Errorf("%s: answer is %d %q, %v, for %s", name, a.status, a.body, a.err, a.outcome.Reason)
				}
				continue
			}
			if a.status != 429 || a.body != "later" || a.header.Get("Retry-After") != "7" || a.header.Get("X-Llm-D-Request-Dropped-Reason") != "queue" {
				t.Errorf("%s: answer is %d %v %q", name, a.status, a.header, a.body)
			}
			if a.outcome.Reason != llm.ReasonRateLimited {
				t.Errorf("%s: reason is %s", name, a.outcome.Reason)
			}
		}
	}
}

// on sends messages when the answer's head comes, then hangs.
func on(messages ...*extprocv3.ProcessingResponse) epptest.Script {
	return func(s *epptest.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return epptest.Hangs(s)
	}
}

func TestImmediateResponsesOfOtherStatus(t *testing.T) {
	one := echoEngine(t, "one")
	for status, reason := range map[int]string{200: llm.ReasonOK, 204: llm.ReasonOK, 401: llm.ReasonPickerRejected, 503: llm.ReasonNoEndpoints, 500: llm.ReasonPickerRejected} {
		w := newPicked(t, []string{epptest.Start(t, epptest.Says(epptest.Leaves, epptest.Immediate(status, ""))).Address}, []string{one})
		if a := w.complete(prompt); a.status != status || a.body != "" || a.outcome.Reason != reason {
			t.Errorf("answer is %d %q for %s, want %d for %s", a.status, a.body, a.outcome.Reason, status, reason)
		}
	}
}

// A picker may evict a request that an endpoint is working on; and without a picker
// that fails closed nobody may have the answer.
func TestPickersEndRequestsUnderWay(t *testing.T) {
	for name, c := range map[string]struct {
		last   func(s *epptest.Stream) error
		status int
		mode   func(*routing.Pool, *extproc.Options)
	}{
		"evicts":                 {func(s *epptest.Stream) error { return s.Send(epptest.Immediate(429, "evicted")) }, 429, failOpen},
		"breaks off, FailClose":  {func(*epptest.Stream) error { return status.Error(codes.Unavailable, "gone") }, 503, nil},
		"breaks off, FailOpen":   {func(*epptest.Stream) error { return status.Error(codes.Unavailable, "gone") }, 200, failOpen},
		"leaves":                 {epptest.Leaves, 200, nil},
		"babbles about the past": {func(s *epptest.Stream) error { return s.Send(epptest.RequestBody(nil)) }, 200, failOpen},
	} {
		t.Run(name, func(t *testing.T) {
			working, said, stopped := make(chan bool), make(chan bool), make(chan bool)
			engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				close(working)
				<-said
				if c.status != 200 {
					<-r.Context().Done() // it is told to stop
					close(stopped)
					return
				}
				_, _ = io.WriteString(w, "done")
			}))
			defer engine.Close()
			address := engine.Listener.Addr().String()
			p := epptest.Start(t, epptest.Says(func(s *epptest.Stream) error {
				<-working
				defer close(said)
				return c.last(s)
			}, epptest.Chosen(address), epptest.RequestBody(nil)))
			change := []func(*routing.Pool, *extproc.Options){}
			if c.mode != nil {
				change = append(change, c.mode)
			}
			w := newPicked(t, []string{p.Address}, []string{address}, change...)
			a := w.complete(prompt)
			if a.status != c.status {
				t.Errorf("answer is %d %s, want %d", a.status, a.body, c.status)
			}
			if c.status != 200 {
				<-stopped
			}
		})
	}
}

// The list is walked in order when an endpoint cannot be reached, but a list that is
// used up is used up: nobody else chooses.
func TestListsAreWalkedInOrder(t *testing.T) {
	one, two, other := echoEngine(t, "one"), echoEngine(t, "two"), echoEngine(t, "other")
	dead, dying := noListener(t), noListener(t)
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer full.Close()
	engines := []string{one, two, other, dead, dying, full.Listener.Addr().String()}
	cases := map[string]struct {
		list           string
		status, tries  int
		engine, reason string
	}{
		"first":            {two + "," + one, 200, 0, "two", llm.ReasonOK},
		"second":           {dead + " , " + two + "," + one, 200, 1, "two", llm.ReasonOK},
		"strangers aside":  {"10.9.9.9:1," + two, 200, 0, "two", llm.ReasonOK},
		"twice the same":   {dead + "," + dead + "," + one, 200, 1, "one", llm.ReasonOK},
		"none is left":     {dead + "," + dying, 502, 1, "", llm.ReasonUpstreamConnect},
		"only one":         {dead, 502, 0, "", llm.ReasonUpstreamConnect},
		"the next of full": {full.Listener.Addr().String() + "," + one, 200, 1, "one", llm.ReasonOK},
		"full alone":       {full.Listener.Addr().String(), 503, 0, "", llm.ReasonUpstreamError},
	}
	for name, c := range cases {
		w := newPicked(t, []string{epptest.Start(t, epptest.Light(c.list)).Address}, engines, failOpen)
		a := w.complete(prompt)
		if a.status != c.status || a.header.Get("X-Engine") != c.engine || a.outcome.Retries != c.tries || a.outcome.Reason != c.reason {
			t.Errorf("%s: answer is %d from %q after %d tries for %s", name, a.status, a.header.Get("X-Engine"), a.outcome.Retries, a.outcome.Reason)
		}
	}
}

// An address without a port is any of the pool's endpoints there.
func TestAddressAlone(t *testing.T) {
	one := echoEngine(t, "one")
	w := newPicked(t, []string{epptest.Start(t, epptest.Light("127.0.0.1")).Address}, []string{one})
	if a := w.complete(prompt); a.status != 200 || a.outcome.Endpoint != one {
		t.Errorf("answer is %d from %s", a.status, a.outcome.Endpoint)
	}
}

// A client that leaves while the picker thinks takes the picker's stream along.
func TestClientLeavesWhileThePickerThinks(t *testing.T) {
	one := echoEngine(t, "one")
	thinking := make(chan bool)
	p := epptest.Start(t, epptest.Says(func(s *epptest.Stream) error {
		close(thinking)
		return epptest.Hangs(s)
	}))
	w := newPicked(t, []string{p.Address}, []string{one}, failOpen)
	ctx, leave := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "POST", w.server.URL+"/v1/completions", strings.NewReader(prompt))
	r.Header.Set("Content-Type", "application/json")
	go func() {
		<-thinking
		leave()
	}()
	if resp, err := w.server.Client().Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("answer is %d", resp.StatusCode)
	}
	if o := <-w.ended; o.Reason != llm.ReasonClientClosed {
		t.Errorf("reason is %s", o.Reason)
	}
	eventually(t, "the stream ends", func() bool { return len(p.Ended()) == 1 })
}
