package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// aborted is rule after an abort of the attempt that cuts what is running.
func aborted(rule *routing.Rule, number int64) *routing.Rule {
	next := *rule
	next.Assignment = cancelling(number)
	return &next
}

func cancelling(number int64) *routing.Assignment {
	a := attempted()
	a.Attempt, a.Share, a.Cancel, a.Watched = number, 0, true, false
	a.Seal()
	return a
}

// noTrials fails unless nobody is on a candidate any more.
func (w *world) noTrials() {
	w.t.Helper()
	ts := &w.proxy.trials
	eventually(w.t, "nobody is on a candidate", func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		return len(ts.running) == 0
	})
}

// TestCancel has a stream on either side and cuts the candidate's alone, between two
// events and with the news as the last.
func TestCancel(t *testing.T) {
	for name, protocol := range map[string]routing.Protocol{"http/1.1": routing.HTTP1, "h2c": routing.H2C} {
		t.Run(name, func(t *testing.T) {
			stable, candidate := make(chan string), make(chan string)
			side := func(name string, events chan string) *routing.Pool {
				p := pool(name, engineOf(t, protocol, sse(events)))
				p.Protocol = protocol
				return p
			}
			rule := canary(side("stable", stable), side("candidate", candidate))
			w, _ := newTrial(t, rule)
			on := w.open(t.Context(), `{"model":"m","stream":true}`)
			w.client.Transport = withHeader{w.client.Transport, "X-Side", "stable"}
			off := w.open(t.Context(), `{"model":"m","stream":true}`)
			candidate <- token("c")
			readExactly(t, on.Body, token("c"))
			stable <- token("s")
			readExactly(t, off.Body, token("s"))

			w.publish(serving(aborted(rule, 2)))
			candidate <- token("still here")
			readExactly(t, on.Body, token("still here"))
			w.publish(serving(aborted(rule, 1)))
			rest, err := io.ReadAll(on.Body)
			if err != nil || !strings.HasPrefix(string(rest), `data: {"error":{"message":"The version`) {
				t.Errorf("client got %q, %v", rest, err)
			}
			hasReason(t, w.last(1), llm.ReasonRolloutCancelled)
			w.noTrials()

			stable <- token("s") + done
			close(stable)
			readExactly(t, off.Body, token("s")+done)
			v := w.last(2)
			hasReason(t, v, llm.ReasonOK)
			if v.Parts[OfRule].Candidate {
				t.Error("the stream that went on was the candidate's")
			}
		})
	}
}

// withHeader sends one more field.
type withHeader struct {
	http.RoundTripper
	name, value string
}

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set(h.name, h.value)
	return h.RoundTripper.RoundTrip(r)
}

// waiting opens a request whose engine does not answer, and returns once it is there.
func waiting(t *testing.T, header ...string) (w *world, rule *routing.Rule, answer chan answerSeen) {
	arrived := make(chan bool)
	candidate := engine(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	rule = canary(pool("stable", engine(t, echoing("good"))), pool("candidate", candidate))
	w, _ = newTrial(t, rule)
	answer = make(chan answerSeen, 1)
	r := w.request(http.MethodPost, "/v1/completions", strings.NewReader(`{"model":"m"}`))
	r.Header.Set("Content-Type", "application/json")
	go func() {
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := w.client.Do(r)
		if err != nil {
			answer <- answerSeen{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answer <- answerSeen{resp.StatusCode, resp.Header, string(body), err}
	}()
	<-arrived
	return w, rule, answer
}

// What has not begun to answer is stable's, and speaks not against the candidate.
func TestCancelBeforeTheFirstByte(t *testing.T) {
	w, rule, answer := waiting(t)
	w.publish(serving(aborted(rule, 1)))
	if e := echoed(t, <-answer); e.Engine != "good" {
		t.Errorf("engine is %q", e.Engine)
	}
	if p := w.last(1).Parts[OfRule]; p.Rescued != llm.ReasonRolloutCancelled || p.Failed != "" {
		t.Errorf("part is %+v", p)
	}
	w.noTrials()
}

// Whoever asked for the candidate is told.
func TestCancelOfThosePinned(t *testing.T) {
	w, rule, answer := waiting(t, "X-Side", "candidate")
	w.publish(serving(aborted(rule, 1)))
	isOpenAIError(t, <-answer, 503, "withdrawn")
	hasReason(t, w.last(1), llm.ReasonRolloutCancelled)
}

// Targets of a model are cut as backends are, and bodies that are no stream break.
func TestCancelOfATarget(t *testing.T) {
	p := adapters(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"half":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})))
	w, _ := newTrial(t, to(p))
	resp := w.open(t.Context(), `{"model":"m"}`)
	readExactly(t, resp.Body, `{"half":`)
	p = adapters(pool("a"))
	p.Rules["m"].Assignment = cancelling(1)
	w.publish(serving(to(p)))
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("client took %q for a whole answer", rest)
	}
	hasReason(t, w.last(1), llm.ReasonRolloutCancelled)
	w.noTrials()
}

func TestCancelOfAConnection(t *testing.T) {
	rule := canary(pool("stable"), pool("candidate", rawEngine(t, switching)))
	rule.Timeouts.Request = time.Hour // which is not for connections
	w, _ := newTrial(t, rule)
	_, r := upgraded(t, w, "")
	w.publish(serving(aborted(rule, 1)))
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("client got %q", rest)
	}
	hasReason(t, w.last(1), llm.ReasonRolloutCancelled)
	w.noTrials()
}

// A request that drew by the snapshot before the abort may come later than that.
func TestCancelOfLatecomers(t *testing.T) {
	rule := canary(pool("stable"), pool("candidate"))
	var ts trials
	late := func() error {
		ctx, cancel := context.WithCancelCause(t.Context())
		one := &trial{cancel: cancel}
		one.parts[OfRule] = attempt{"n/r", 1}
		ts.add(one)
		defer ts.remove(one)
		return context.Cause(ctx)
	}
	ts.adopt(serving(rule))
	if err := late(); err != nil {
		t.Errorf("cut before the abort: %v", err)
	}
	ts.adopt(serving(aborted(rule, 1)))
	if err := late(); err != errRolloutCancelled {
		t.Errorf("a latecomer was left: %v", err)
	}
	ts.adopt(serving(rule))
	if err := late(); err != nil {
		t.Errorf("cut after another snapshot: %v", err)
	}
}

// TestLateDraw shows that a request whose body was still under way when its rollout was
// aborted, or its candidate barred, is not sent to the candidate by the snapshot that
// it came with.
func TestLateDraw(t *testing.T) {
	for name, c := range map[string]struct {
		next func() *routing.Assignment // nil: there is no rollout any more
		want string
	}{
		"aborted": {func() *routing.Assignment { a := attempted(); a.Share, a.Watched = 0, false; a.Seal(); return a }, "stable"},
		"barred":  {func() *routing.Assignment { a := attempted(); a.Bar(); return a }, "stable"},
		"goes on": {attempted, "candidate"},
		"deleted": {nil, "candidate"},
	} {
		for part, kind := range []string{OfRule: "backends", OfModel: "models"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				rule := canary(pool("stable", engine(t, echoing("stable"))), pool("candidate", engine(t, echoing("candidate"))))
				next := *rule
				next.Assignment = nil
				if c.next != nil {
					next.Assignment = c.next()
				}
				later := serving(&next)
				if part == OfModel {
					address := engine(t, func(w http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						side := "stable"
						if strings.Contains(string(body), "v2") {
							side = "candidate"
						}
						io.WriteString(w, side)
					})
					rule = to(adapters(pool("both", address)))
					p := adapters(pool("both", address))
					p.Rules["m"].Assignment = next.Assignment
					later = serving(to(p))
				}
				w, _ := newTrial(t, rule)
				body, send := io.Pipe()
				answer := make(chan answerSeen, 1)
				r := w.request(http.MethodPost, "/v1/completions", body)
				r.Header.Set("Content-Type", "application/json")
				go func() { answer <- w.send(r) }()
				io.WriteString(send, `{"model":`)
				eventually(t, "the request is under way", func() bool { return w.proxy.Active() == 1 })
				w.publish(later)
				io.WriteString(send, `"m"}`)
				send.Close()
				if a := <-answer; !strings.Contains(a.body, c.want) {
					t.Errorf("answered by %q, want %s", a.body, c.want)
				}
			})
		}
	}
}
