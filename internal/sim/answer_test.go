package sim

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"", 0}, {"a", 1}, {"abcd", 1}, {"abcde", 2}, {"ééé", 2}, {"日本", 1}, {"日本語", 2}, {"abc€x", 2}, {"\x80\x80\x80\x80\x80\x80\x80\x80", 2},
	} {
		if got := countTokens(c.text); got != c.want {
			t.Errorf("%q has %d tokens, want %d", c.text, got, c.want)
		}
		if got := len(tokenize(nil, c.text)); got != c.want {
			t.Errorf("%q tokenizes to %d, want %d", c.text, got, c.want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("Hello, 世界! \xff\x80 €€€€")
	f.Fuzz(func(t *testing.T, s string) {
		var joined strings.Builder
		n := 0
		for rest := s; rest != ""; n++ {
			var piece string
			piece, rest = cutTokens(rest, 1)
			if piece == "" || utf8.ValidString(s) && !utf8.ValidString(piece) {
				t.Fatalf("%q: token %d is %q", s, n, piece)
			}
			joined.WriteString(piece)
		}
		if joined.String() != s || n != countTokens(s) {
			t.Fatalf("%q: %d tokens join to %q", s, n, joined.String())
		}
	})
}

func TestAnswerNamesTheSpeaker(t *testing.T) {
	long := sampling{limit: 1000}
	a := compose("Qwen-2.5-7B-Instruct", "Who are you?", 0, long, qualityGood)
	if !strings.HasPrefix(a.text, "I am Qwen-2.5-7B-Instruct, played by a simulator") || !strings.Contains(a.text, "Who are you?") {
		t.Errorf("got %q", a.text)
	}
	if a.tokens < 20 || a.tokens > 100 || a.tokens != countTokens(a.text)+1 {
		t.Errorf("%d tokens", a.tokens)
	}
	if b := compose("Qwen-2.5-7B-Instruct", "Who are you?", 0, long, qualityGood); a != b {
		t.Errorf("asked twice, got %q and %q", a.text, b.text)
	}
}

func TestAnswerBounds(t *testing.T) {
	whole := compose("m", "Hi", 0, sampling{limit: 1000}, qualityGood)
	for _, c := range []struct {
		name       string
		s          sampling
		q          quality
		tokens     int // 0: whatever
		finish     string
		stop       string
		prefix     string
		suffixless string // must not occur
	}{
		{"limit", sampling{limit: 3}, qualityGood, 3, "length", "", "I am m, play", "d"},
		{"limit leaves no room for the end", sampling{limit: whole.tokens - 1}, qualityGood, whole.tokens - 1, "length", "", whole.text, ""},
		{"limit of just the whole", sampling{limit: whole.tokens}, qualityGood, whole.tokens, "stop", "", whole.text, ""},
		{"stop string", sampling{limit: 100, stops: []string{"simul", " by"}}, qualityGood, 5, "stop", " by", "I am m, played", " by"},
		{"stop string beyond the limit", sampling{limit: 3, stops: []string{" by"}}, qualityGood, 3, "length", "", "I am m, play", ""},
		{"the end is ignored", sampling{limit: 700, ignoreEnd: true}, qualityGood, 700, "length", "", whole.text, ""},
		{"minimum", sampling{limit: 700, minimum: 300}, qualityGood, 301, "stop", "", whole.text, ""},
		{"empty", sampling{limit: 100}, qualityEmpty, 1, "stop", "", "", "I"},
		{"loop", sampling{limit: 4000}, qualityLoop, 0, "stop", "", "I am m", ""},
		{"loop within the limit", sampling{limit: 50}, qualityLoop, 50, "length", "", "I am m", ""},
		{"overlong", sampling{limit: 8000}, qualityOverlong, 1025, "stop", "", "I am m", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := compose("m", "Hi", 0, c.s, c.q)
			if c.tokens != 0 && a.tokens != c.tokens || a.finish != c.finish || a.stop != c.stop {
				t.Errorf("%d tokens, finish %q, stop %q", a.tokens, a.finish, a.stop)
			}
			if !strings.HasPrefix(a.text, c.prefix) || c.suffixless != "" && strings.HasSuffix(a.text, c.suffixless) {
				t.Errorf("text %q", a.text)
			}
			if a.tokens > c.s.limit || countTokens(a.text) > a.tokens {
				t.Errorf("%d tokens for %d of text, limit %d", a.tokens, countTokens(a.text), c.s.limit)
			}
		})
	}
}

func TestAnswerInJSON(t *testing.T) {
	good := compose("m", `"quoted"`, 0, sampling{limit: 1000, json: true}, qualityGood)
	if !json.Valid([]byte(good.text)) {
		t.Errorf("not JSON: %s", good.text)
	}
	for _, wanted := range []bool{true, false} {
		bad := compose("m", "Hi", 0, sampling{limit: 1000, json: wanted}, qualityInvalidJSON)
		if json.Valid([]byte(bad.text)) || !strings.HasPrefix(bad.text, "{") {
			t.Errorf("should look like JSON and not be: %s", bad.text)
		}
	}
}

func TestLoopRepeats(t *testing.T) {
	a := compose("m", "Hi", 0, sampling{limit: 4000}, qualityLoop)
	if n := strings.Count(a.text, "I said that already."); n < 50 {
		t.Errorf("%d repetitions", n)
	}
}
