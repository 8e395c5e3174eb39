package scheduling

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// TestScripts runs each testdata/*.txt: paragraphs of commands, "----" and what
// they print. A command is a word, arguments and key=value options:
//
//	pool a b c [plain] [a.models=x,y]  the pool's endpoints (plain: no inference)
//	observe a waiting=2 running=1 kv=0.5 blocks=100x16 slots=4 active=x,y waits=z adapters=x [ago=6s]
//	pick [as=r1] [prompt=guide:6000,me:40] [model=m] [max=100] [unary] [tried=a,b] [explain]
//	picks 100 [same options]           counts the choices; reservations are r1, r2, …
//	first r1, tokens r1 50, end r1 [failed] [usage=1500/200]
//	tick 500ms
//	stats
//	retain                             after pool: forgets what is gone
//	queue 3 [30s]                      at the start: calls may wait
//	cancel r1                          of those that wait
//
// With a queue, pick may answer that the call waits; whichever command then
// makes room prints where it goes. Calls have priority=1 and flow=alice.
//
// A prompt is a list of word:bytes; equal beginnings are equal text. In a word,
// # is replaced by a number that no other call has.
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
	t            *testing.T
	scheduler    *Scheduler
	pool         *routing.Pool
	now          time.Time
	start        time.Time
	reservations map[string]*Reservation
	waiting      map[string]*Waiting
	granted      strings.Builder
}

func newScript(t *testing.T) *script {
	start := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	return &script{
		t:            t,
		scheduler:    New(Options{Rand: rand.New(rand.NewPCG(1, 1))}),
		now:          start,
		start:        start,
		reservations: map[string]*Reservation{},
		waiting:      map[string]*Waiting{},
	}
}

// options are a command's words and its key=value pairs.
type options struct {
	t     *testing.T
	words []string
	pairs map[string]string
}

func (s *script) run(line string) string {
	out := s.command(line)
	out += s.granted.String()
	s.granted.Reset()
	return out
}

func (s *script) command(line string) string {
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
	case "pool":
		return s.setPool(o)
	case "observe":
		return s.observe(o)
	case "pick":
		return s.pick(o)
	case "picks":
		return s.picks(o)
	case "first":
		s.reservation(o).FirstToken(s.now)
	case "tokens":
		s.reservation(o).Tokens(o.atoi(o.words[1]))
	case "end":
		return s.end(o)
	case "tick":
		d, err := time.ParseDuration(o.words[0])
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "queue":
		s.queue(o)
	case "cancel":
		return fmt.Sprintf("%v\n", s.waiting[o.words[0]].Cancel())
	case "stats":
		return s.stats()
	case "retain":
		s.scheduler.Retain(&routing.Snapshot{Pools: map[string]*routing.Pool{s.pool.ID: s.pool}})
	default:
		s.t.Fatalf("unknown command %q", line)
	}
	return ""
}

func (s *script) setPool(o options) string {
	s.pool = &routing.Pool{ID: "pool", Inference: true}
	for _, w := range o.words {
		if w == "plain" {
			s.pool.Inference = false
			continue
		}
		s.pool.Endpoints = append(s.pool.Endpoints, routing.Endpoint{Address: w, Models: o.list(w + ".models")})
	}
	return ""
}

func (s *script) observe(o options) string {
	m := Metrics{
		At: s.now, Waiting: o.number("waiting"), Running: o.number("running"), MaxAdapters: o.number("slots"),
		ActiveAdapters: o.list("active"), WaitAdapters: o.list("waits"), Adapters: o.list("adapters"),
	}
	if v := o.pairs["kv"]; v != "" {
		m.KVUsage, _ = strconv.ParseFloat(v, 64)
	}
	if blocks, size, ok := strings.Cut(o.pairs["blocks"], "x"); ok {
		m.Blocks, m.BlockSize = o.atoi(blocks), o.atoi(size)
	}
	if v := o.pairs["ago"]; v != "" {
		ago, err := time.ParseDuration(v)
		if err != nil {
			s.t.Fatal(err)
		}
		m.At = m.At.Add(-ago)
	}
	for _, address := range o.words {
		s.scheduler.Observe(address, m)
	}
	return ""
}

func (s *script) call(o options) *Call {
	r := &llm.Request{Stream: true, MaxTokens: o.number("max")}
	call := &Call{
		Request: r, Model: o.pairs["model"], Tried: o.list("tried"), At: s.now,
		Priority: o.number("priority"), Flow: o.pairs["flow"], CacheSalt: o.pairs["salt"],
	}
	for _, w := range o.words {
		switch w {
		case "unary":
			r.Stream = false
		case "explain":
			call.Explain = true
		}
	}
	if call.Model == "" {
		call.Model = "base"
	}
	r.Prompt = []byte(o.prompt(len(s.reservations)))
	return call
}

func (s *script) queue(o options) {
	q := QueueOptions{Calls: o.atoi(o.words[0])}
	if len(o.words) > 1 {
		q.For, _ = time.ParseDuration(o.words[1])
	}
	s.scheduler = New(Options{Rand: rand.New(rand.NewPCG(1, 1)), Queue: q})
}

func (s *script) pick(o options) string {
	name := o.pairs["as"]
	if name == "" {
		name = fmt.Sprintf("r%d", len(s.reservations)+len(s.waiting)+1)
	}
	d, waiting, err := s.scheduler.Offer(s.call(o), s.pool, func(d Decision, err error) {
		if err != nil {
			fmt.Fprintf(&s.granted, "%s error: %v\n", name, err)
			return
		}
		s.reservations[name] = d.Reservation
		fmt.Fprintf(&s.granted, "%s at %s\n", name, d.Endpoint.Address)
	})
	switch {
	case err != nil:
		return "error: " + err.Error() + "\n"
	case waiting != nil:
		s.waiting[name] = waiting
		return name + " waits\n"
	}
	s.reservations[name] = d.Reservation
	out := fmt.Sprintf("%s at %s\n", name, d.Endpoint.Address)
	for _, c := range d.Candidates {
		out += "  " + c.String() + "\n"
	}
	return out
}

func (s *script) picks(o options) string {
	counts := map[string]int{}
	for range o.atoi(o.words[0]) {
		d, err := s.scheduler.Pick(s.t.Context(), s.call(o), s.pool)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		s.reservations[fmt.Sprintf("r%d", len(s.reservations)+1)] = d.Reservation
		counts[d.Endpoint.Address]++
	}
	var parts []string
	for _, e := range s.pool.Endpoints {
		parts = append(parts, fmt.Sprintf("%s:%d", e.Address, counts[e.Address]))
	}
	return strings.Join(parts, " ") + "\n"
}

func (s *script) end(o options) string {
	result := EndResult{At: s.now}
	for _, w := range o.words[1:] {
		result.Failed = result.Failed || w == "failed"
	}
	if in, out, ok := strings.Cut(o.pairs["usage"], "/"); ok {
		result.Usage = llm.Usage{PromptTokens: o.atoi(in), CompletionTokens: o.atoi(out), Known: true}
	}
	if o.words[0] != "all" {
		s.reservation(o).End(result)
		return ""
	}
	for _, r := range s.reservations {
		r.End(result)
	}
	return ""
}

func (s *script) reservation(o options) *Reservation {
	r := s.reservations[o.words[0]]
	if r == nil {
		s.t.Fatalf("no reservation %q", o.words[0])
	}
	return r
}

func (s *script) stats() string {
	var b strings.Builder
	for _, p := range s.scheduler.Stats() {
		if p.Waiting > 0 {
			fmt.Fprintf(&b, "waiting=%d\n", p.Waiting)
		}
		if q := p.Queue; q.Queued+q.Refused > 0 {
			fmt.Fprintf(&b, "queued=%d placed=%d refused=%d waited=%gs\n", q.Queued, q.Placed, q.Refused, q.Seconds)
		}
		if p.Ejections > 0 {
			fmt.Fprintf(&b, "ejections=%d\n", p.Ejections)
		}
		for _, e := range p.Endpoints {
			fmt.Fprintf(&b, "%s in-flight=%d pending=%d context=%d picks=%d", e.Address, e.InFlight, e.PendingTokens, e.ContextTokens, e.Picks)
			if e.Foreign > 0 {
				fmt.Fprintf(&b, " foreign=%d", e.Foreign)
			}
			if len(e.Adapters) > 0 {
				fmt.Fprintf(&b, " adapters=%s", strings.Join(e.Adapters, ","))
			}
			if e.Failures > 0 {
				fmt.Fprintf(&b, " failures=%d ejected-until=%s", e.Failures, e.EjectedUntil.Sub(s.start))
			}
			if e.Leaving {
				b.WriteString(" leaving")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// prompt makes text of words repeated to their number of bytes; # becomes n.
func (o options) prompt(n int) string {
	var b strings.Builder
	for _, part := range o.list("prompt") {
		part = strings.ReplaceAll(part, "#", strconv.Itoa(n))
		word, size, _ := strings.Cut(part, ":")
		length := o.atoi(size)
		b.WriteString(strings.Repeat(word+" ", length/(len(word)+1)+1)[:length])
	}
	return b.String()
}

func (o options) list(key string) []string {
	if o.pairs[key] == "" {
		return nil
	}
	return strings.Split(o.pairs[key], ",")
}

func (o options) number(key string) int {
	if o.pairs[key] == "" {
		return 0
	}
	return o.atoi(o.pairs[key])
}

func (o options) atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}
