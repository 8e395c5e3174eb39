package scheduling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
)

// One decision per second is kept, and only the last few, with the cheapest
// candidates first.
func TestExplained(t *testing.T) {
	s := New(Options{})
	var addresses []string
	for i := range 30 {
		addresses = append(addresses, fmt.Sprintf("e%d", i))
	}
	pool := testPool("p", addresses...)
	start := time.Unix(1000, 0)
	for i := range 100 {
		call := &Call{Request: &llm.Request{Prompt: make([]byte, 4000)}, Model: "m", At: start.Add(time.Duration(i) * 250 * time.Millisecond)}
		if _, err := s.Pick(t.Context(), call, pool); err != nil {
			t.Fatal(err)
		}
	}
	kept := s.Explained()
	if len(kept) != explainKept {
		t.Fatalf("%d decisions kept, want %d", len(kept), explainKept)
	}
	last := kept[len(kept)-1]
	if want := start.Add(24 * time.Second); !last.At.Equal(want) {
		t.Errorf("the last is of %s, want %s", last.At, want)
	}
	if len(last.Candidates) != explainCandidates || last.Of != 30 {
		t.Errorf("%d of %d candidates kept", len(last.Candidates), last.Of)
	}
	for i := 1; i < len(last.Candidates); i++ {
		if last.Candidates[i].Seconds < last.Candidates[i-1].Seconds {
			t.Error("candidates are not sorted by cost")
		}
	}
	if text := last.String(); !strings.Contains(text, "* "+last.Chosen+" ") || !strings.Contains(text, "and 14 more") {
		t.Errorf("printed as\n%s", text)
	}
}
