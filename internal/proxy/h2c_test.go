package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// engineOf starts an engine that speaks the protocol alone.
func engineOf(t testing.TB, protocol routing.Protocol, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	if protocol == routing.H2C {
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	} else {
		s.Config.Protocols.SetHTTP1(true)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func h2cPool(addresses ...string) *routing.Pool {
	p := renaming(addresses...)
	p.Protocol = routing.H2C
	return p
}

func TestH2CEngineGetsTheSameRequest(t *testing.T) {
	var host, te string
	w := newWorld(t, serving(to(h2cPool(engineOf(t, routing.H2C, func(w http.ResponseWriter, r *http.Request) {
		host, te = r.Host, r.Header.Get("Te")
		echoing("a")(w, r)
	})))))
	for _, path := range []string{"/v1/completions?a=%20&b", "//v1/completions?x", "/a%2Fb%20c/v1/completions"} {
		e := echoed(t, w.post(path, `{"x":[], "model":"alias" }`, "TE", "trailers", "Host", "models.example", "X-User", "kept"))
		if e.Body != `{"x":[], "model":"target" }` || e.Target != path || host != "models.example" || te != "trailers" ||
			e.Header.Get("X-User") != "kept" || e.Header.Get("Content-Length") != "27" {
			t.Errorf("engine got %+v for %s, host %q, TE %q", e, path, host, te)
		}
	}
	if a := w.get("/other"); echoed(t, a).Body != "" || echoed(t, a).Header.Get("Content-Length") != "" {
		t.Errorf("GET reached the engine as %s", a.body)
	}
}

func TestH2CStreams(t *testing.T) {
	events := make(chan string)
	w := newWorld(t, serving(to(h2cPool(engineOf(t, routing.H2C, sse(events))))))
	resp := w.open(t.Context(), `{"model":"alias","stream":true}`)
	for range 3 {
		events <- token("x")
		readExactly(t, resp.Body, strings.Replace(token("x"), "target", "alias", 1))
	}
	events <- done
	close(events)
	readExactly(t, resp.Body, done)
	if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	hasReason(t, w.last(1), llm.ReasonOK)
}

func TestH2CBreaks(t *testing.T) {
	w := newWorld(t, serving(to(h2cPool(deadAddress(t), engineOf(t, routing.H2C, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, token("x"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})))))
	a := w.post("/v1/chat/completions", `{"model":"m"}`)
	if !strings.Contains(a.body, `data: {"error"`) || a.err != nil {
		t.Errorf("client got %q, %v", a.body, a.err)
	}
	v := w.last(1)
	hasReason(t, v, llm.ReasonUpstreamTruncated)
	if v.Outcome.Retries != 1 {
		t.Errorf("%d retries, want one for the dead endpoint", v.Outcome.Retries)
	}
}

func TestH2CUpload(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	p := service("a", engineOf(t, routing.H2C, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		fmt.Fprint(w, bytes.Equal(got, body), err, r.ContentLength)
	}))
	p.Protocol = routing.H2C
	w := newWorld(t, serving(to(p)))
	if a := w.send(w.request(http.MethodPut, "/file", bytes.NewReader(body))); a.body != "true <nil> 500000" {
		t.Errorf("engine says %q", a.body)
	}
}

// slowBody brings a byte every now and then.
type slowBody struct{ every time.Duration }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(b.every)
	return 1, nil
}

func (slowBody) Close() error { return nil }

func TestH2CIdleTimeCountsFromTheLastRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, watch := newWatch(t.Context(), time.Second, errFirstByte)
		time.Sleep(900 * time.Millisecond)
		watch.expect(time.Second, errStreamIdle)
		r := &transportResponse{Response: &http.Response{Body: slowBody{900 * time.Millisecond}}, loan: &loan{}, watch: watch}
		for range 5 {
			r.Read(make([]byte, 1))
		}
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatalf("cancelled early: %v", watch.cause())
		}
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if watch.cause() != errStreamIdle {
			t.Errorf("cause is %v", watch.cause())
		}
		r.Close()
	})
}
