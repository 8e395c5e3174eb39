package screen

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/rehearsal"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// story is a rehearsal that can be told to go on until something is so.
type story struct {
	*rehearsal.Run
	t   *testing.T
	log Log
	out strings.Builder
}

func newStory(t *testing.T, traffic rehearsal.Traffic) *story {
	t.Helper()
	p := &rollout.Plan{Name: "chat/qwen3", Target: "HTTPRoute chat/llm[chat]", Stable: "InferencePool chat/qwen3-v1", Candidate: "InferencePool chat/qwen3-v2"}
	p.Analysis.Guardrails = []rollout.Guardrail{{Name: rollout.ErrorRate, MinSamples: 100}, {Name: rollout.TTFT}, {Name: rollout.FinishLength, Class: rollout.Soft}}
	p.Complete()
	r, err := rehearsal.New(p, traffic, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &story{Run: r, t: t}
}

func (s *story) report() *rollout.Report {
	r := rollout.Explain(s.Plan, s.State)
	return &r
}

// until goes on, at most for six hours, until want is so.
func (s *story) until(want func(*rollout.State) bool) *story {
	s.t.Helper()
	for end := s.Took + 6*time.Hour; s.Took < end; {
		s.Tick()
		if l := s.log.Line(s.report()); l != "" {
			s.out.WriteString(l + "\n")
		}
		if want(s.State) {
			return s
		}
	}
	s.t.Fatalf("it is not so after six hours:\n%s", Print(s.report(), Options{}))
	return nil
}

func phase(p rollout.Phase) func(*rollout.State) bool {
	return func(s *rollout.State) bool { return s.Phase == p }
}

func at(want rollout.Share, watched time.Duration) func(*rollout.State) bool {
	return func(s *rollout.State) bool { return s.Share.Set == want && s.Watched >= watched }
}

var (
	errors2  = rehearsal.Traffic{Stable: rehearsal.Arm{Errors: 0.005}, Candidate: rehearsal.Arm{Errors: 0.05}}
	slower   = rehearsal.Traffic{Candidate: rehearsal.Arm{TTFT: 215 * time.Millisecond, Errors: 0.005}, Stable: rehearsal.Arm{Errors: 0.005}}
	oneOfTen = rehearsal.Traffic{Stable: rehearsal.Arm{Endpoints: 10}, Candidate: rehearsal.Arm{Endpoints: 1}}
)

var stories = map[string]func(*testing.T) *story{
	"idle": func(t *testing.T) *story { return newStory(t, rehearsal.Traffic{}) },
	"collecting": func(t *testing.T) *story {
		return newStory(t, rehearsal.Traffic{}).until(at(100, time.Minute))
	},
	"inconclusive": func(t *testing.T) *story { return newStory(t, slower).until(at(500, 4*time.Minute)) },
	"aborting":     func(t *testing.T) *story { return newStory(t, errors2).until(phase(rollout.Aborting)) },
	"aborted":      func(t *testing.T) *story { return newStory(t, errors2).until(phase(rollout.Aborted)) },
	"paused": func(t *testing.T) *story {
		s := newStory(t, rehearsal.Traffic{}).until(at(500, time.Minute))
		s.Ask(rollout.Request{ID: "1", Verb: rollout.VerbPause, By: "ann@desk", Reason: "look at the \x1b[31mlogs"})
		return s
	},
	"capacity": func(t *testing.T) *story {
		return newStory(t, oneOfTen).until(func(s *rollout.State) bool { return s.Hold == "CapacityLimited" })
	},
	"promoted": func(t *testing.T) *story {
		return newStory(t, rehearsal.Traffic{}).until(phase(rollout.Promoted))
	},
	"superseded": func(t *testing.T) *story {
		s := newStory(t, rehearsal.Traffic{}).until(at(2500, time.Minute))
		s.Plan.Candidate = "InferencePool chat/qwen3-v3"
		return s.until(func(s *rollout.State) bool { return s.Number == 2 && s.Share.Set == 100 })
	},
}

// TestScreens compares screens of 140 columns without colour with testdata.
func TestScreens(t *testing.T) {
	for name, tell := range stories {
		t.Run(name, func(t *testing.T) {
			s := tell(t)
			got := Print(s.report(), Options{Width: 140})
			if s.out.Len() > 0 {
				got += "\n-- log --\n" + s.out.String()
			}
			golden(t, name, got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites it\n%s", file, diff)
	}
}

// TestNarrowScreens checks that no line is wider than the terminal, whatever its
// width, and that colours add nothing but colours.
func TestNarrowScreens(t *testing.T) {
	r := stories["inconclusive"](t).report()
	for width := 1; width < 160; width++ {
		for l := range strings.Lines(Print(r, Options{Width: width})) {
			if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > width {
				t.Fatalf("%d columns where there are %d: %q", n, width, l)
			}
		}
	}
	coloured := Print(r, Options{Width: 100, Colour: true})
	for code := range strings.SplitSeq("0 1 2 31 32 33 36", " ") {
		coloured = strings.ReplaceAll(coloured, "\x1b["+code+"m", "")
	}
	if diff := cmp.Diff(Print(r, Options{Width: 100}), coloured); diff != "" {
		t.Errorf("colours change the text:\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	reports := []*rollout.Report{stories["idle"](t).report(), stories["collecting"](t).report(), stories["aborted"](t).report()}
	golden(t, "list", Table(reports, Options{Width: 140, Now: reports[2].At}))
}
