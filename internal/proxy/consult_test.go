package proxy

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// scripted is a Consultation that tells what it was shown. Its other methods than
// those a test plans for fail.
type scripted struct {
	Consultation
	ctx    context.Context
	choose func(header http.Header, body string) ([]string, [][]byte, error)
	closed chan bool
}

func (s *scripted) Choose(header http.Header, body [][]byte) ([]string, [][]byte, error) {
	var whole strings.Builder
	for _, p := range body {
		whole.Write(p)
	}
	return s.choose(header, whole.String())
}

func (s *scripted) Context() context.Context { return s.ctx }

func (s *scripted) Answer(string, http.Header, AnswerBody) (AnswerBody, error) { return nil, nil }

func (s *scripted) Close() { s.closed <- true }

func picked(p *routing.Pool) *routing.Pool {
	p.Picker = &routing.ExternalPicker{Service: "default/epp:9002"}
	return p
}

// What clients may tell pickers is shown to the picker and not to the engine; the
// model's target is in the body that the picker sees.
func TestPickerSeesWhatTheEngineWould(t *testing.T) {
	address := engine(t, echoing("one"))
	p := picked(pool("a", address))
	p.Rules = map[string]*routing.ModelRule{"alias": routing.NewModelRule("r", "alias", []routing.Target{{Model: "target", Weight: 1}}, true, 0)}
	closed := make(chan bool, 1)
	w := newWorld(t, serving(to(p)), func(o *Options) {
		o.External = func(ctx context.Context, _ *routing.Pool) Consultation {
			return &scripted{ctx: ctx, closed: closed, choose: func(h http.Header, body string) ([]string, [][]byte, error) {
				if body != `{"model":"target"}` || h.Get("Content-Length") != "18" {
					t.Errorf("picker sees %s of length %s", body, h.Get("Content-Length"))
				}
				if h.Get(objectiveHeaderOld) != "o" || h.Get("X-Gateway-Destination-Endpoint") != "" || h[":path"][0] != "/v1/completions?x" || h.Get("Connection") != "" {
					t.Errorf("picker sees %v", h)
				}
				h.Set("X-Picked", "1")
				h.Set("Accept-Encoding", "gzip")
				return []string{address}, nil, nil
			}}
		}
	})
	e := echoed(t, w.post("/v1/completions?x", `{"model":"alias"}`, objectiveHeaderOld, "o", "X-Gateway-Destination-Endpoint", "10.0.0.1:1"))
	if e.Body != `{"model":"target"}` && e.Body != `{"model":"alias"}` || e.Header.Get("X-Picked") != "1" || e.Header.Get(objectiveHeaderOld) != "" ||
		e.Header.Get("Accept-Encoding") != "identity" || e.Header.Get(":path") != "" {
		t.Errorf("engine got %q with %v", e.Body, e.Header)
	}
	<-closed
}

// A proxy that cannot consult anyone does what it does when a picker fails.
func TestNobodyToConsult(t *testing.T) {
	p := picked(pool("a", engine(t, echoing("one"))))
	w := newWorld(t, serving(to(p)))
	isOpenAIError(t, w.post("/v1/completions", `{"model":"m"}`), 503, "picker")
	hasReason(t, w.last(1), llm.ReasonPickerFailed)
	p = picked(pool("b", engine(t, echoing("one"))))
	p.Picker.FailOpen = true
	w.publish(serving(to(p)))
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "one" {
		t.Errorf("engine is %q", e.Engine)
	}
}

// Bodies of every kind are held for a picker, within the limits.
func TestBodiesAreHeldForPickers(t *testing.T) {
	address := engine(t, echoing("one"))
	closed := make(chan bool, 10)
	w := newWorld(t, serving(to(picked(service("a", address)))), func(o *Options) {
		o.Limits.MaxBodyBytes = 100
		o.External = func(ctx context.Context, _ *routing.Pool) Consultation {
			return &scripted{ctx: ctx, closed: closed, choose: func(_ http.Header, body string) ([]string, [][]byte, error) {
				return []string{address}, [][]byte{[]byte("<"), []byte(body), []byte(">")}, nil
			}}
		}
	})
	r := w.request("PUT", "/x", strings.NewReader("binary"))
	r.Header.Set("Content-Type", "application/octet-stream")
	if e := echoed(t, w.send(r)); e.Body != "<binary>" {
		t.Errorf("engine got %q", e.Body)
	}
	isOpenAIError(t, w.send(w.request("PUT", "/x", strings.NewReader(strings.Repeat("x", 101)))), 413, "100 bytes")
	if n := w.proxy.BufferedBytes(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

func TestPickersAnswerIsGivenAsItIs(t *testing.T) {
	w := newWorld(t, serving(to(picked(pool("a", deadAddress(t))))), func(o *Options) {
		o.External = func(ctx context.Context, _ *routing.Pool) Consultation {
			return &scripted{ctx: ctx, closed: make(chan bool, 1), choose: func(http.Header, string) ([]string, [][]byte, error) {
				return nil, nil, &scheduling.ExternalAnswer{Status: 403, Header: http.Header{"X-Why": {"quota"}}, Body: []byte("no")}
			}}
		}
	})
	a := w.post("/v1/completions", `{"model":"m"}`)
	if a.status != 403 || a.body != "no" || a.header.Get("X-Why") != "quota" || a.header.Get("Content-Type") != "" {
		t.Errorf("answer is %d %q %v", a.status, a.body, a.header)
	}
	hasReason(t, w.last(1), llm.ReasonPickerRejected)
}
