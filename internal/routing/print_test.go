package routing

import (
	goflag "flag"
	"os"
	"regexp"
	"testing"
	"time"
)

var update = goflag.Bool("update", false, "rewrite testdata/snapshot.txt")

// TestPrint compares a snapshot with one of everything with its printed form,
// which people read in logs and `crossfade check`: it may change only on purpose.
func TestPrint(t *testing.T) {
	got := everything().String()
	const file = "testdata/snapshot.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	for range 20 {
		if again := everything().String(); again != got {
			t.Fatalf("one snapshot prints in two ways:\n%s\n%s", got, again)
		}
	}
}

// everything returns a snapshot that shows each thing that can be printed.
func everything() *Snapshot {
	a, b := inference("InferencePool.g/n/a", []string{"base", "lora"}, "alias"), inference("InferencePool.g/n/b", []string{"base"})
	a.Name, b.Name = "n/a", "n/b"
	a.Endpoints = []Endpoint{{Address: "10.0.0.1:8000"}, {Address: "10.0.0.2:8000"}}
	a.Rules["alias"] = NewModelRule("InferenceModel n/m", "alias", []Target{{"lora", 9}, {"base", 1}}, false, 1)
	b.Generic = NewModelRule("InferenceModelRewrite n/w", "*", []Target{{"base", 1}}, true, -1)
	b.Protocol, b.Picker = H2C, &ExternalPicker{Service: "n/epp:9002", Endpoints: []string{"10.0.0.9:9002", "10.0.0.10:9002"}, FailOpen: true, Plaintext: true}
	canary := &Rule{ID: "n/chat/0", Timeouts: Timeouts{Request: time.Hour, BackendRequest: time.Second}, Backends: []Backend{
		{Ref: "InferencePool n/a", Weight: 90, Pool: a},
		{Ref: "InferencePool n/b", Weight: 10, Pool: b, Filters: Filters{RequestHeaders: &HeaderChange{Set: []HeaderField{{"X-Version", "b"}}}}},
		{Ref: "InferencePool n/lost", Weight: 1, Failure: "InferencePool n/lost does not exist"},
	}}
	move := &Rule{ID: "n/move/0", Filters: Filters{Redirect: &Redirect{Scheme: "https", Hostname: "example.com", Port: 8443, Status: 308, Path: PathChange{ReplaceFullPath, "/new"}}}}
	change := &Rule{ID: "n/move/change", Filters: Filters{Rewrite: &Rewrite{Hostname: "h", Path: PathChange{ReplacePrefixMatch, "/v2"}},
		RequestHeaders:  &HeaderChange{Add: []HeaderField{{"A", "1"}}, Remove: []string{"B"}},
		ResponseHeaders: &HeaderChange{Set: []HeaderField{{"C", "2"}}}}}
	fails := &Rule{ID: "n/fails/0", Failure: "CORS is not supported yet"}
	public := &Listener{Gateway: "n/gw", Name: "public", Hostname: "*.example.com"}
	inside := &Listener{Gateway: "n/gw", Name: "inside", MaxBodyBytes: 1 << 20}
	add := func(l *Listener, host string, m Match, r *Rule) {
		r.Seal()
		l.AddRoute(host, &Route{Match: m, Rule: r})
	}
	add(public, "*.example.com", Match{Path: "/"}, canary)
	add(public, "a.example.com", Match{PathType: PathExact, Path: "/old"}, move)
	add(inside, "", Match{Path: "/v1", Method: "POST", Headers: []ValueMatch{{Name: "X-Team", Value: "chat"}},
		Query: []ValueMatch{{Name: "q", Value: "a|b", Regex: regexp.MustCompile("^(?:a|b)$")}}}, change)
	add(inside, "", Match{PathType: PathRegex, Path: "/x+", Regex: regexp.MustCompile("^(?:/x+)$")}, fails)
	add(inside, "", Match{Path: "/v1/none"}, &Rule{ID: "n/none/0"})
	return &Snapshot{Ports: []*Port{{Number: 443, TLS: true, Listeners: []*Listener{public}}, {Number: 8080, Listeners: []*Listener{inside}}},
		Pools: map[string]*Pool{a.ID: a, b.ID: b}}
}
