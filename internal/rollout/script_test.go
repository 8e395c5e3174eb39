package rollout

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// TestScripts runs each testdata/*.txt, a story in paragraphs: commands, "----" and
// what they print. After every single event the invariants of the package comment
// are checked. The commands:
//
//	plan [candidate=v2] [stable=v1] [attempt=1] [paused] [steps=…] [guardrails=…] [options]
//	    steps are warmup:10 mirror:300 share:5 hold:2m[-1h] analyze:5m-1h gate gate:5m soak:10m
//	    ramp:1-50x2@10m, guardrails NAME:class[:dry]
//	world rps=20 errors=0.5% ttft=200ms c.errors=20% s.ready=4 c.load=8 missing=gw-2 …
//	    without c. or s. a value is of both arms; "missing=" ends what was
//	run 10m [until Aborted]      windows of 5 s; prints what happens
//	tick 10m                     time passes, nobody tells anything
//	abort|pause|… [attempt=3] [share=5] [id=x] [by=ann] [reason=slow]
//	breaker WORDS
//	value NAME 1.5 | value NAME error
//	blocked WORDS                the plan must not go on; without words it may
//	restart                      the state is written and read, by the next epoch
//	stale abort                  what the leader before the last restart does now
//	again                        the last window comes a second time
//	report, explain NAME, history
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := newScript(t)
	for i, paragraph := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		commands, _, isCommand := strings.Cut(paragraph+"\n", "----\n")
		out.WriteString(commands)
		if !isCommand {
			continue
		}
		out.WriteString("----\n")
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				out.WriteString(s.run(line))
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), out.String()); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites it\n%s", file, diff)
	}
}

type script struct {
	t          *testing.T
	plan       *Plan
	state      *State
	world      *world
	start, now time.Time
	epoch      int64
	last       *Observation
	line       string // the last status line printed
	blocked    string
	requests   int
	events     int
}

func newScript(t *testing.T) *script {
	start := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	return &script{t: t, plan: &Plan{Name: "llm/chat"}, state: &State{}, world: newWorld(), start: start, now: start, epoch: 1}
}

func (s *script) run(line string) string {
	fields := strings.Fields(line)
	o := options{t: s.t, pairs: map[string]string{}}
	for _, f := range fields[1:] {
		if key, value, ok := strings.Cut(f, "="); ok {
			o.pairs[key] = value
		} else {
			o.words = append(o.words, f)
		}
	}
	switch fields[0] {
	case "plan":
		return s.setPlan(o)
	case "world":
		s.setWorld(o)
	case "run":
		return s.runFor(o)
	case "tick":
		s.now = s.now.Add(o.duration(o.words[0]))
		return s.send(Event{})
	case "breaker":
		return s.send(Event{Breaker: strings.Join(fields[1:], " ")})
	case "value":
		return s.send(Event{Values: []Value{o.value()}})
	case "blocked":
		s.blocked = strings.Join(fields[1:], " ")
	case "restart":
		s.restart()
	case "stale":
		r := &Request{Verb: Verb(o.words[0]), Attempt: s.state.Number, ID: "stale"}
		return s.sendAs(s.epoch-1, Event{Request: r})
	case "again":
		return s.send(Event{Observation: s.last})
	case "report":
		return strings.ReplaceAll(Explain(s.plan, s.state).String(), "\n\n", "\n")
	case "explain":
		text, _ := ExplainGuardrail(s.plan, s.state, o.words[0])
		return text
	case "history":
		return s.history()
	default:
		return s.request(Verb(fields[0]), o)
	}
	return ""
}

func (s *script) request(verb Verb, o options) string {
	s.requests++
	r := &Request{ID: fmt.Sprint(s.requests), Verb: verb, Attempt: s.state.Number, By: o.pairs["by"], Reason: o.pairs["reason"]}
	if v := o.pairs["attempt"]; v != "" {
		r.Attempt = int64(o.atoi(v))
	}
	if v := o.pairs["id"]; v != "" {
		r.ID = v
	}
	if v := o.pairs["share"]; v != "" {
		r.Share = o.share(v)
	}
	return s.send(Event{Request: r})
}

// restart hands the state over by its written form.
func (s *script) restart() {
	text, err := json.Marshal(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	read := &State{}
	if err := json.Unmarshal(text, read); err != nil {
		s.t.Fatal(err)
	}
	if d := cmp.Diff(s.state, read, cmp.Transformer("nil", func(m map[string]*Book) map[string]*Book {
		if m == nil {
			return map[string]*Book{}
		}
		return m
	})); d != "" && !sameJSON(s.t, s.state, read) {
		s.t.Errorf("what is written is not what is read:\n%s", d)
	}
	s.state = read
	s.epoch++
}

func sameJSON(t *testing.T, a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return bytes.Equal(x, y)
}

func (s *script) send(e Event) string { return s.sendAs(s.epoch, e) }

// sendAs takes one step and prints its actions, and the status if it changed.
func (s *script) sendAs(epoch int64, e Event) string {
	e.At, e.Epoch, e.Blocked = s.now, epoch, s.blocked
	before, err := json.Marshal(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	next, actions := Step(s.plan, s.state, e)
	if after, _ := json.Marshal(s.state); !bytes.Equal(before, after) {
		s.t.Fatalf("%s: Step changed its argument", s.at())
	}
	s.events++
	if again, twice := Step(s.plan, s.state, e); s.events%10 == 0 && !reflect.DeepEqual(twice, actions) || !sameJSON(s.t, again, next) {
		s.t.Fatalf("%s: Step is no function", s.at())
	}
	checkStep(s.t, s.plan, s.state, next, e, actions)
	s.state = next
	var b strings.Builder
	for _, a := range actions {
		fmt.Fprintf(&b, "%s %s\n", s.at(), a)
	}
	if line := s.status(); line != s.line {
		s.line = line
		fmt.Fprintf(&b, "%s %s\n", s.at(), line)
	}
	return b.String()
}

// at is the time since the story's beginning.
func (s *script) at() string { return "+" + Words(s.now.Sub(s.start)) }

// status is the state in one line, without what changes all the time.
func (s *script) status() string {
	x := s.state
	out := fmt.Sprintf("= %s %d/%d share %s", Explain(s.plan, x).Phase, min(x.Step+1, len(x.Steps)), len(x.Steps), x.Share.Set)
	if x.Hold != "" {
		out += " (" + x.Hold + ")"
	}
	if x.Pause != nil {
		out += " (" + x.Pause.Reason + ")"
	}
	return out
}

func (s *script) runFor(o options) string {
	var b strings.Builder
	end := s.now.Add(o.duration(o.words[0]))
	for s.now.Before(end) {
		from := s.now
		s.now = s.now.Add(s.plan.Analysis.Tick)
		s.last = s.world.window(s.state, from, s.now)
		b.WriteString(s.send(Event{Observation: s.last}))
		if len(o.words) == 3 && string(s.state.Phase) == o.words[2] {
			return b.String()
		}
	}
	if len(o.words) == 3 {
		fmt.Fprintf(&b, "%s not %s\n", s.at(), o.words[2])
	}
	return b.String()
}

func (s *script) history() string {
	var b strings.Builder
	for _, r := range s.state.History {
		fmt.Fprintf(&b, "attempt %d %s: %s at %s, step %d: %s (%s)\n", r.Number, r.Candidate, r.Outcome, r.Share, r.Step, r.Reason, r.Message)
	}
	return b.String()
}

// options are a command's words and its key=value pairs.
type options struct {
	t     *testing.T
	words []string
	pairs map[string]string
}

func (o options) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

func (o options) atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

func (o options) number(s string) float64 {
	scale := 1.0
	if t, ok := strings.CutSuffix(s, "%"); ok {
		s, scale = t, 0.01
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		o.t.Fatal(err)
	}
	return v * scale
}

func (o options) share(s string) Share {
	return Share(o.number(s)*100 + 0.5)
}

func (o options) value() Value {
	if o.words[1] == "error" {
		return Value{Guardrail: o.words[0], Err: "no answer"}
	}
	return Value{Guardrail: o.words[0], Value: o.number(o.words[1])}
}
