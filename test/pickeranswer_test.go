package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// streamEngine sends each string it receives at once, and ends the answer when the
// channel is closed.
func streamEngine(t testing.TB, contentType string, pieces <-chan string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.(http.Flusher).Flush()
		for {
			select {
			case p, ok := <-pieces:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, p)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func event(text string) string {
	return `data: {"choices":[{"delta":{"content":"` + text + `"}}]}` + "\n\n"
}

const done = "data: [DONE]\n\n"

// open starts a streamed call.
func (w *picked) open(ctx context.Context) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", w.server.URL+"/v1/completions", strings.NewReader(`{"model":"m","stream":true}`))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func readExactly(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q (%v)\nwant %q", got[:n], err, want)
	}
}

// Each event reaches the client before the engine sends the next one.
func TestEventsPassThePickerAtOnce(t *testing.T) {
	for name, script := range map[string]func(string) epptest.Script{
		"light": epptest.Light, "echo": epptest.Echo,
		"full": func(list string) epptest.Script { return epptest.Full(list, unchanged) },
		"leaves": func(list string) epptest.Script {
			return epptest.Says(epptest.Leaves, epptest.Chosen(list), epptest.RequestBody(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := make(chan string)
			one := streamEngine(t, "text/event-stream", events)
			p := epptest.Start(t, script(one))
			w := newPicked(t, []string{p.Address}, []string{one})
			resp := w.open(t.Context())
			for i := range 20 {
				events <- event(fmt.Sprint(i))
				readExactly(t, resp.Body, event(fmt.Sprint(i)))
			}
			events <- done
			close(events)
			readExactly(t, resp.Body, done)
			if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d, %v", n, err)
			}
			o := <-w.ended
			if o.Reason != llm.ReasonOK || !o.Report.Done || o.Report.ContentEvents != 20 {
				t.Errorf("outcome is %+v", o)
			}
			eventually(t, "the picker sees an orderly end", func() bool { e := p.Ended(); return len(e) == 1 && e[0] == nil })
		})
	}
}

// answers follows the request phase of a light picker, then runs script.
func answers(list string, script epptest.Script) epptest.Script {
	return epptest.Says(script, epptest.Chosen(list), epptest.RequestBody(nil))
}

// replies answers message after message of an answer, each when it comes; nil says
// nothing.
func replies(then epptest.Script, messages ...*extprocv3.ProcessingResponse) epptest.Script {
	return func(s *epptest.Stream) error {
		for _, m := range messages {
			if _, err := s.Recv(); err != nil {
				return err
			}
			if m == nil {
				continue
			}
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return then(s)
	}
}

// sends sends messages, then leaves.
func sends(messages ...*extprocv3.ProcessingResponse) epptest.Script {
	return func(s *epptest.Stream) error {
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return nil
	}
}

// says sends messages, then hangs.
func says(messages ...*extprocv3.ProcessingResponse) epptest.Script {
	return func(s *epptest.Stream) error {
		if err := sends(messages...)(s); err != nil {
			return err
		}
		return epptest.Hangs(s)
	}
}

// A picker that goes away in the middle of an answer.
func TestPickerFailsInAnAnswer(t *testing.T) {
	breaks := func(*epptest.Stream) error { return status.Error(codes.Unavailable, "gone") }
	nothing := epptest.ResponseBody(nil)
	first := epptest.ResponseBody(epptest.Streamed(event("0"), false))
	cases := map[string]struct {
		script       epptest.Script
		open, closed bool // whether the answer is whole
	}{
		"breaks off at the head":            {replies(breaks, nil), true, false},
		"breaks off at a piece":             {replies(breaks, epptest.ResponseHead(), nothing, nil), true, false},
		"breaks off streaming":              {replies(breaks, epptest.ResponseHead(), first, nil), true, false},
		"breaks off having streamed less":   {replies(breaks, epptest.ResponseHead(), epptest.ResponseBody(epptest.Streamed(event("0")[:9], false)), nil), true, false},
		"breaks off having changed pieces":  {replies(breaks, epptest.ResponseHead(), epptest.ResponseBody(epptest.Whole(event("0"))), nil), true, false},
		"breaks off having streamed others": {replies(breaks, epptest.ResponseHead(), epptest.ResponseBody(epptest.Streamed(event("0")+"\n", false)), nil), false, false},
		"leaves at the head":                {replies(epptest.Leaves, nil), true, true},
		"leaves at a piece":                 {replies(epptest.Leaves, epptest.ResponseHead(), nothing, nil), true, true},
		"leaves streaming":                  {replies(epptest.Leaves, epptest.ResponseHead(), first, nil), true, true},
		"answers too much":                  {replies(says(nothing, nothing), epptest.ResponseHead()), true, false},
		"answers its head twice":            {replies(epptest.Hangs, epptest.ResponseHead(), epptest.ResponseHead()), true, false},
		"is silent at the head":             {epptest.Hangs, true, false},
		"is silent at a piece":              {replies(epptest.Hangs, epptest.ResponseHead(), nothing), true, false},
		"says nothing endlessly":            {replies(flood(epptest.ResponseBody(epptest.Streamed("", false))), epptest.ResponseHead()), true, false},
	}
	for name, c := range cases {
		for mode, whole := range map[string]bool{"FailOpen": c.open, "FailClose": c.closed} {
			t.Run(name+" "+mode, func(t *testing.T) {
				events := make(chan string)
				one := streamEngine(t, "text/event-stream", events)
				change := []func(*routing.Pool, *extproc.Options){}
				if mode == "FailOpen" {
					change = append(change, failOpen)
				}
				if strings.Contains(name, "silent") {
					t.Parallel()
					change = append(change, impatient)
				}
				begun := make(chan struct{})
				p := epptest.Start(t, func(s *epptest.Stream) error {
					watched := &watchedStream{ExternalProcessor_ProcessServer: s.ExternalProcessor_ProcessServer, begun: begun}
					defer watched.close()
					return answers(one, c.script)(&epptest.Stream{ExternalProcessor_ProcessServer: watched})
				})
				w := newPicked(t, []string{p.Address}, []string{one}, change...)
				// The picker gets the first event by itself; the rest comes as it comes.
				stop := make(chan struct{})
				go func() {
					for i, e := range []string{event("0"), event("1"), event("2"), done} {
						if i == 1 {
							select {
							case <-begun:
							case <-stop:
								return
							}
						}
						select {
						case events <- e:
						case <-stop:
							return
						}
					}
					close(events)
				}()
				defer close(stop)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				resp := w.open(ctx)
				got, _ := io.ReadAll(resp.Body)
				o := <-w.ended
				all := event("0") + event("1") + event("2") + done
				if whole != (string(got) == all) || whole != (o.Reason == llm.ReasonOK) {
					t.Errorf("answer is %d %q for %s", resp.StatusCode, got, o.Reason)
				}
				if !whole && o.Reason != llm.ReasonPickerFailed {
					t.Errorf("reason is %s", o.Reason)
				}
				if !whole && resp.StatusCode == 200 && !strings.Contains(string(got), `data: {"error":`) {
					t.Errorf("the client is not told: %q", got)
				}
				if !whole && resp.StatusCode != 200 && resp.StatusCode != 503 {
					t.Errorf("answer is %d", resp.StatusCode)
				}
			})
		}
	}
}

// A watchedStream tells when a picker has the first piece of an answer, or leaves
// earlier.
type watchedStream struct {
	extprocv3.ExternalProcessor_ProcessServer
	once  sync.Once
	begun chan struct{}
}

func (w *watchedStream) Recv() (*extprocv3.ProcessingRequest, error) {
	m, err := w.ExternalProcessor_ProcessServer.Recv()
	if m.GetResponseBody() != nil {
		w.close()
	}
	return m, err
}

func (w *watchedStream) close() { w.once.Do(func() { close(w.begun) }) }

func TestPickersChangeAnswers(t *testing.T) {
	one := echoEngine(t, "one")
	cases := map[string]struct {
		script epptest.Script
		body   string
	}{
		"streamed":   {replies(sends(epptest.ResponseBody(epptest.Streamed("new ", false)), epptest.ResponseBody(epptest.Streamed("body", true))), epptest.ResponseHead(), nil), "new body"},
		"by piece":   {replies(epptest.Leaves, epptest.ResponseHead("x-engine", "none"), epptest.ResponseBody(epptest.Whole("new body")), epptest.ResponseBody(nil)), "new body"},
		"cleared":    {replies(epptest.Leaves, epptest.ResponseHead(), epptest.ResponseBody(epptest.Clear()), epptest.ResponseBody(nil)), ""},
		"head last":  {replies(sends(epptest.ResponseBody(nil), epptest.ResponseHead()), nil, nil), prompt},
		"collected":  {collecting, strings.ToUpper(prompt)},
		"status set": {replies(epptest.Leaves, epptest.ResponseHead(":status", "404", "content-length", "1", "connection", "close", "transfer-encoding", "x"), epptest.ResponseBody(nil), epptest.ResponseBody(nil)), prompt},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newPicked(t, []string{epptest.Start(t, answers(one, c.script)).Address}, []string{one})
			a := w.complete(prompt)
			if a.status != 200 || a.body != c.body || a.err != nil {
				t.Errorf("answer is %d %q, %v, want %q", a.status, a.body, a.err, c.body)
			}
		})
	}
}

// collecting returns an answer whole, in one reply, and says how long it is.
func collecting(s *epptest.Stream) error {
	body := ""
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		body += strings.ToUpper(string(m.GetResponseBody().GetBody()))
		if m.GetResponseBody().GetEndOfStream() {
			if err := s.Send(epptest.ResponseHead("content-length", fmt.Sprint(len(body)))); err != nil {
				return err
			}
			return s.Send(epptest.ResponseBody(epptest.Whole(body)))
		}
	}
}

// Answers of any size come back from a picker that keeps them to their end.
func TestAnswersThatPickersKeep(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big) }))
	defer s.Close()
	one := s.Listener.Addr().String()
	for name, script := range map[string]epptest.Script{"light": epptest.Light(one), "echo": epptest.Echo(one), "full": epptest.Full(one, unchanged)} {
		w := newPicked(t, []string{epptest.Start(t, script).Address}, []string{one})
		if a := w.complete(prompt); a.status != 200 || a.body != big || a.err != nil {
			t.Errorf("%s: answer is %d with %d bytes, %v", name, a.status, len(a.body), a.err)
		}
	}
}

func TestHeldAnswersAreBounded(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big) }))
	defer s.Close()
	one := s.Listener.Addr().String()
	for name, limit := range map[string]func(*routing.Pool, *extproc.Options){
		"of one": func(_ *routing.Pool, o *extproc.Options) { o.MaxBodyBytes = 1 << 20 },
		"of all": func(_ *routing.Pool, o *extproc.Options) { o.BufferBytes = 1 << 20 },
	} {
		p := epptest.Start(t, epptest.Full(one, unchanged))
		w := newPicked(t, []string{p.Address}, []string{one}, limit)
		if a := w.complete(prompt); a.err == nil && a.status == 200 || a.outcome.Reason != llm.ReasonPickerFailed {
			t.Errorf("%s, FailClose: answer is %d with %d bytes for %s", name, a.status, len(a.body), a.outcome.Reason)
		}
		w = newPicked(t, []string{p.Address}, []string{one}, limit, failOpen)
		if a := w.complete(prompt); a.status != 200 || a.body != big {
			t.Errorf("%s, FailOpen: answer is %d with %d bytes, %v", name, a.status, len(a.body), a.err)
		}
	}
}

func TestTrailersPassThePicker(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
	}))
	defer s.Close()
	one := s.Listener.Addr().String()
	for name, c := range map[string]struct {
		script epptest.Script
		seen   string
	}{"light": {epptest.Light(one), ""}, "echo": {epptest.Echo(one), "trailer"}, "full": {epptest.Full(one, unchanged), "trailer"}} {
		w := newPicked(t, []string{epptest.Start(t, c.script).Address}, []string{one})
		a := w.complete(prompt)
		if a.status != 200 || a.body != "body" || a.trailer.Get("X-Sum") != "4" || a.trailer.Get("X-Seen") != c.seen {
			t.Errorf("%s: answer is %d %q with trailer %v", name, a.status, a.body, a.trailer)
		}
	}
}

// An engine that breaks off is to blame itself, whatever picker is in between.
func TestEnginesBreakOffBehindThePicker(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, event("0"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	one := s.Listener.Addr().String()
	for name, script := range map[string]epptest.Script{"light": epptest.Light(one), "echo": epptest.Echo(one), "full": epptest.Full(one, unchanged)} {
		w := newPicked(t, []string{epptest.Start(t, script).Address}, []string{one})
		a := w.complete(prompt)
		if a.status != 200 || !strings.HasPrefix(a.body, event("0")+`data: {"error":`) || a.outcome.Reason != llm.ReasonUpstreamTruncated {
			t.Errorf("%s: answer is %d %q for %s", name, a.status, a.body, a.outcome.Reason)
		}
	}
}

// A client that leaves in the middle of a stream ends engine and picker alike.
func TestClientLeavesInAnAnswer(t *testing.T) {
	for name, script := range map[string]func(string) epptest.Script{
		"light": epptest.Light, "echo": epptest.Echo,
		"silent": func(list string) epptest.Script {
			return answers(list, replies(epptest.Hangs, epptest.ResponseHead(), nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := make(chan string)
			one := streamEngine(t, "text/event-stream", events)
			p := epptest.Start(t, script(one))
			w := newPicked(t, []string{p.Address}, []string{one}, failOpen)
			ctx, leave := context.WithCancel(t.Context())
			resp := w.open(ctx)
			events <- event("0")
			if name != "silent" {
				readExactly(t, resp.Body, event("0"))
			}
			leave()
			if o := <-w.ended; o.Reason != llm.ReasonClientClosed {
				t.Errorf("reason is %s", o.Reason)
			}
			eventually(t, "the stream ends", func() bool { return len(p.Ended()) == 1 })
		})
	}
}

// Pools that speak HTTP/2 in clear text are picked from all the same.
func TestPickerOfAnH2CPool(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Proto", r.Proto)
		_, _ = w.Write(body)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	one := s.Listener.Addr().String()
	for name, script := range map[string]epptest.Script{"light": epptest.Light(one), "full": epptest.Full(one, unchanged)} {
		w := newPicked(t, []string{epptest.Start(t, script).Address}, []string{one}, func(p *routing.Pool, _ *extproc.Options) { p.Protocol = routing.H2C })
		if a := w.complete(prompt); a.status != 200 || a.body != prompt || a.header.Get("X-Proto") != "HTTP/2.0" {
			t.Errorf("%s: answer is %d %q over %s", name, a.status, a.body, a.header.Get("X-Proto"))
		}
	}
}

// Connections of a picker that has left close with the last request, and a picker
// that restarts is found again.
func TestPickersComeAndGo(t *testing.T) {
	events := make(chan string)
	one := streamEngine(t, "text/event-stream", events)
	p := epptest.Start(t, epptest.Light(one))
	w := newPicked(t, []string{p.Address}, []string{one})
	resp := w.open(t.Context())
	w.client.Retain(&routing.Snapshot{})
	events <- event("0")
	readExactly(t, resp.Body, event("0")) // a request under way is not cut
	events <- done
	close(events)
	readExactly(t, resp.Body, done)
	<-w.ended
	w.client.Retain(snapshotWith(w.pool))
	p.Stop()
	if a := w.complete(prompt); a.status != 503 {
		t.Errorf("without a picker the answer is %d", a.status)
	}
	epptest.Restart(t, p, epptest.Light(one))
	eventually(t, "the picker is found again", func() bool { return w.complete(prompt).status == 200 })
}
