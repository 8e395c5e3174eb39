package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// sse is an engine that sends each string it receives as one write of a stream,
// and ends the stream when the channel is closed.
func sse(events <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case e, ok := <-events:
				if !ok {
					return
				}
				io.WriteString(w, e)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

func token(text string) string {
	return `data: {"model":"target","choices":[{"delta":{"content":"` + text + `"}}]}` + "\n\n"
}

const done = "data: [DONE]\n\n"

// open starts a streamed call and returns its answer.
func (w *world) open(ctx context.Context, body string) *http.Response {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	w.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url("/v1/chat/completions"), strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// readExactly reads as many bytes as want has and compares.
func readExactly(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q (%v)\nwant %q", got[:n], err, want)
	}
}

func TestEachChunkIsForwardedAtOnce(t *testing.T) {
	events := make(chan string)
	w := newWorld(t, serving(to(pool("a", engine(t, sse(events))))))
	resp := w.open(t.Context(), `{"model":"m","stream":true}`)
	// The head is here although the engine has sent nothing else.
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("head is %d %v", resp.StatusCode, resp.Header)
	}
	for i := range 20 {
		// The engine is only given the next event when this one has arrived.
		events <- token(fmt.Sprint(i))
		readExactly(t, resp.Body, token(fmt.Sprint(i)))
	}
	events <- "data: half"
	readExactly(t, resp.Body, "data: half")
	events <- "\n\n" + done
	close(events)
	readExactly(t, resp.Body, "\n\n"+done)
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	v := w.last(1)
	hasReason(t, v, llm.ReasonOK)
	o := v.Outcome
	if !o.Stream || !o.Report.Done || o.Report.ContentEvents != 20 || w.visits.gaps != 19 || o.FirstByte.IsZero() || o.BytesOut == 0 || o.BytesIn == 0 {
		t.Errorf("outcome is %+v, %d gaps", o, w.visits.gaps)
	}
}

func TestClientLeavingCancelsTheEngineAtOnce(t *testing.T) {
	for _, when := range []string{"before the answer", "in the stream"} {
		t.Run(when, func(t *testing.T) {
			started, cancelled := make(chan bool), make(chan bool)
			w := newWorld(t, serving(to(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if when == "in the stream" {
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, token("x"))
					w.(http.Flusher).Flush()
				}
				close(started)
				<-r.Context().Done()
				close(cancelled)
			})))))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if when == "in the stream" {
				resp := w.open(ctx, `{"model":"m"}`)
				readExactly(t, resp.Body, token("x"))
				leave()
			} else {
				go func() {
					<-started
					leave()
				}()
				r := w.request(http.MethodPost, "/v1/completions", strings.NewReader(`{"model":"m"}`)).WithContext(ctx)
				if resp, err := w.client.Do(r); err == nil {
					resp.Body.Close()
					t.Fatal("an answer came")
				}
			}
			select {
			case <-cancelled:
			case <-time.After(patience):
				t.Fatal("the engine was not told")
			}
			v := w.last(1)
			hasReason(t, v, llm.ReasonClientClosed)
			if when == "before the answer" && v.Outcome.Status != 499 {
				t.Errorf("status is %d", v.Outcome.Status)
			}
		})
	}
}

// chunked writes the head of a chunked answer and its chunks on a raw connection.
func chunked(contentType string, chunks ...string) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", contentType)
		for _, s := range chunks {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(s), s)
		}
	}
}

func TestBrokenEventStreamEndsWithAnErrorEvent(t *testing.T) {
	tail := `data: {"error":{"message":"The engine's answer broke off.","type":"server_error","param":null,"code":"bad_gateway"}}` + "\n\n"
	cases := map[string]struct {
		sent         []string
		want, reason string
	}{
		"between events": {[]string{token("a"), token("b")}, token("a") + token("b") + tail, llm.ReasonUpstreamTruncated},
		"in an event":    {[]string{token("a"), "data: {"}, token("a") + "data: {\n\n" + tail, llm.ReasonUpstreamTruncated},
		"before any":     {nil, tail, llm.ReasonUpstreamTruncated},
		"after the last": {[]string{token("a"), done}, token("a") + done, llm.ReasonOK},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, serving(to(pool("a", rawEngine(t, chunked("text/event-stream", c.sent...)), deadAddress(t)))))
			a := w.post("/v1/chat/completions", `{"model":"m","stream":true}`)
			if a.body != c.want || a.err != nil || a.status != 200 {
				t.Errorf("client got %d %q (%v)\nwant %q and a clean end", a.status, a.body, a.err, c.want)
			}
			v := w.last(1)
			hasReason(t, v, c.reason)
			if v.Outcome.Retries != 0 {
				t.Error("another endpoint was tried after the first byte")
			}
		})
	}
}

func TestBrokenBodyBreaksTheClientsConnection(t *testing.T) {
	sized := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half\":")
	}
	for name, serve := range map[string]func(net.Conn){"chunked": chunked("application/json", `{"half":`), "sized": sized} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, serving(to(pool("a", rawEngine(t, serve)))))
			resp, err := w.client.Post(w.url("/v1/chat/completions"), "application/json", strings.NewReader(`{"model":"m"}`))
			if err == nil {
				defer resp.Body.Close()
				_, err = io.ReadAll(resp.Body)
			}
			if err == nil {
				t.Error("client took the answer for whole")
			}
			hasReason(t, w.last(1), llm.ReasonUpstreamTruncated)
		})
	}
}

func TestStreamWithoutLastEventIsTruncated(t *testing.T) {
	events := make(chan string, 1)
	events <- token("a")
	close(events)
	w := newWorld(t, serving(to(pool("a", engine(t, sse(events))))))
	if a := w.post("/v1/chat/completions", `{"model":"m"}`); a.body != token("a") || a.err != nil {
		t.Errorf("client got %q, %v", a.body, a.err)
	}
	hasReason(t, w.last(1), llm.ReasonUpstreamTruncated)
}

// renaming is a pool whose InferenceModelRewrite maps "alias" to "target".
func renaming(addresses ...string) *routing.Pool {
	p := pool("a", addresses...)
	p.Rules = map[string]*routing.ModelRule{
		"alias": routing.NewModelRule("InferenceModelRewrite default/r", "alias", []routing.Target{{Model: "target", Weight: 1}}, true, 0),
	}
	return p
}

func TestAnswerShowsTheClientsModelName(t *testing.T) {
	answer := `{"id":"1","model":"target","choices":[{"message":{"content":"target \"model\":\"target\""}}]}`
	restored := strings.Replace(answer, `"target"`, `"alias"`, 1)

	t.Run("whole", func(t *testing.T) {
		var encodings string
		w := newWorld(t, serving(to(renaming(engine(t, func(w http.ResponseWriter, r *http.Request) {
			encodings = r.Header.Get("Accept-Encoding")
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
			io.WriteString(w, answer)
		})))))
		a := w.post("/v1/chat/completions", `{"model":"alias"}`, "Accept-Encoding", "gzip")
		if a.body != restored || a.err != nil || encodings != "identity" {
			t.Errorf("client got %q, %v; the engine was told Accept-Encoding: %q", a.body, a.err, encodings)
		}
		if o := w.last(1).Outcome; o.Model != "alias" || o.Target != "target" || o.Report.Model != "target" {
			t.Errorf("outcome is %+v", o)
		}
	})
	t.Run("cut anywhere", func(t *testing.T) {
		event := "data: " + answer + "\n\n"
		for cut := 1; cut < len(event); cut++ {
			events := make(chan string, 3)
			events <- event[:cut]
			events <- event[cut:]
			events <- done
			close(events)
			w := newWorld(t, serving(to(renaming(engine(t, sse(events))))))
			a := w.post("/v1/chat/completions", `{"model":"alias","stream":true}`)
			if want := "data: " + restored + "\n\n" + done; a.body != want || a.err != nil {
				t.Fatalf("cut at %d, client got %q, %v", cut, a.body, a.err)
			}
			w.client.CloseIdleConnections()
			w.shutdown(patience)
		}
	})
	t.Run("broken while held back", func(t *testing.T) {
		w := newWorld(t, serving(to(renaming(rawEngine(t, chunked("text/event-stream", `data: {"model":"tar`))))))
		a := w.post("/v1/chat/completions", `{"model":"alias","stream":true}`)
		if !strings.HasPrefix(a.body, `data: {"model":"tar`+"\n\n"+`data: {"error"`) || a.err != nil {
			t.Errorf("client got %q, %v", a.body, a.err)
		}
	})
	t.Run("not JSON", func(t *testing.T) {
		w := newWorld(t, serving(to(renaming(engine(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "audio/wav")
			io.WriteString(w, `{"model":"target"}`)
		})))))
		if a := w.post("/v1/audio/speech", `{"model":"alias"}`); a.body != `{"model":"target"}` {
			t.Errorf("client got %q", a.body)
		}
	})
}

func TestTargetNameIsShownWithoutRestore(t *testing.T) {
	p := renaming(engine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"model":"target"}`)
	}))
	p.Rules["alias"].Restore = false
	w := newWorld(t, serving(to(p)))
	if a := w.post("/v1/chat/completions", `{"model":"alias"}`); a.body != `{"model":"target"}` || a.header.Get("Content-Length") != "18" {
		t.Errorf("client got %q, %v", a.body, a.header)
	}
}

func TestTimeouts(t *testing.T) {
	silent := func(events ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if len(events) > 0 {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, strings.Join(events, ""))
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		}
	}
	// The first event must come within the longer one, on a busy machine too. All wait
	// for theirs at once.
	const short, longer = 50 * time.Millisecond, 5 * time.Second
	cases := []struct {
		name         string
		engine       http.HandlerFunc
		rule         routing.Timeouts
		own          Timeouts
		status       int
		text, reason string
	}{
		{"request", silent(), routing.Timeouts{Request: short}, Timeouts{}, 504, "request timeout", llm.ReasonRequestTimeout},
		{"backend", silent(), routing.Timeouts{BackendRequest: short}, Timeouts{}, 504, "backend timeout", llm.ReasonUpstreamTimeout},
		{"first byte", silent(), routing.Timeouts{}, Timeouts{FirstByte: short}, 504, "did not begin", llm.ReasonFirstByteTimeout},
		{"request in a stream", silent(token("a")), routing.Timeouts{Request: longer}, Timeouts{}, 200, "request timeout", llm.ReasonRequestTimeout},
		{"backend in a stream", silent(token("a")), routing.Timeouts{BackendRequest: longer}, Timeouts{}, 200, "backend timeout", llm.ReasonUpstreamTimeout},
		{"idle stream", silent(token("a")), routing.Timeouts{}, Timeouts{StreamIdle: short}, 200, "fell silent", llm.ReasonIdleTimeout},
	}
	for _, c := range cases {
		for _, protocol := range []routing.Protocol{routing.HTTP1, routing.H2C} {
			t.Run(fmt.Sprint(c.name, " over ", protocol), func(t *testing.T) {
				t.Parallel()
				address := engineOf(t, protocol, c.engine)
				p := pool("a", address, address+"0")
				p.Protocol = protocol
				rule := to(p)
				rule.Timeouts = c.rule
				w := newWorld(t, serving(rule), func(o *Options) { o.Timeouts = c.own })
				a := w.post("/v1/chat/completions", `{"model":"m","stream":true}`)
				switch {
				case c.status == 504:
					isOpenAIError(t, a, 504, c.text)
				case a.err != nil || !strings.HasPrefix(a.body, token("a")+`data: {"error"`) || !strings.Contains(a.body, c.text):
					t.Errorf("client got %q, %v", a.body, a.err)
				}
				v := w.last(1)
				hasReason(t, v, c.reason)
				if v.Outcome.Retries != 0 {
					t.Error("a timeout was retried")
				}
			})
		}
	}
}

func TestTrailersAndInterimResponses(t *testing.T) {
	for _, protocol := range []routing.Protocol{routing.HTTP1, routing.H2C} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			p := service("a", engineOf(t, protocol, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>")
				w.WriteHeader(http.StatusEarlyHints)
				w.Header().Del("Link")
				w.Header().Set("Trailer", "X-Sum")
				io.WriteString(w, "body")
				w.(http.Flusher).Flush()
				w.Header().Set("X-Sum", "1")
			}))
			p.Protocol = protocol
			w := newWorld(t, serving(to(p)))
			c := w.dial()
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			r := bufio.NewReader(c)
			hints, err := http.ReadResponse(r, nil)
			if err != nil || hints.StatusCode != 103 || hints.Header.Get("Link") != "</style.css>" {
				t.Fatalf("interim response is %+v, %v", hints, err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 200 || resp.Header.Get("Link") != "" {
				t.Fatalf("response is %+v, %v", resp, err)
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != "body" || err != nil || resp.Trailer.Get("X-Sum") != "1" {
				t.Errorf("body is %q, %v, trailer %v", body, err, resp.Trailer)
			}
		})
	}
}

func TestHeadKeepsTheLength(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1234")
	})))))
	a := w.send(w.request(http.MethodHead, "/file", nil))
	if a.status != 200 || a.header.Get("Content-Length") != "1234" || a.body != "" {
		t.Errorf("answer is %+v", a)
	}
}

func TestStalledClientIsCutOff(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})))), func(o *Options) { o.Timeouts.ClientRead = 50 * time.Millisecond })
	c := w.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	v := w.last(1) // though nothing is read
	hasReason(t, v, llm.ReasonClientClosed)
}

// A stream may be silent for longer than a client may take to read.
func TestSilenceIsNoStall(t *testing.T) {
	const short = 250 * time.Millisecond // in which whoever writes gets a turn, however busy the machine
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			events := make(chan string)
			w := newWorld(t, serving(to(pool("a", engine(t, sse(events))))), func(o *Options) { o.Timeouts.ClientRead = short })
			if proto == "HTTP/2" {
				h2 := &http.Transport{Protocols: &http.Protocols{}}
				h2.Protocols.SetUnencryptedHTTP2(true)
				t.Cleanup(h2.CloseIdleConnections)
				w.client.Transport = h2
			}
			resp := w.open(t.Context(), `{"model":"m"}`)
			for range 2 {
				events <- token("x")
				readExactly(t, resp.Body, token("x"))
				time.Sleep(3 * short)
			}
			events <- done
			readExactly(t, resp.Body, done)
			time.Sleep(3 * short)
			close(events)
			if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
			hasReason(t, w.last(1), llm.ReasonOK)
		})
	}
}

func TestHandlerFaultIsContained(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", "127.0.0.1:1"))), func(o *Options) {
		o.Picker = pickFunc(nil)
	})
	isOpenAIError(t, w.post("/v1/completions", `{"model":"m"}`), 500, "its log says why")
	hasReason(t, w.last(1), llm.ReasonInternal)
	if n := w.proxy.Active(); n != 0 {
		t.Errorf("%d are active", n)
	}
	if a := w.get("/v1/models"); a.status != 200 {
		t.Errorf("the next request got %d", a.status)
	}
}
