package routing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
)

func assignment(share uint32, salt string) *Assignment {
	a := &Assignment{Rollout: "n/r", Share: share, Salt: salt, Stable: 0, Candidate: 1, Keys: []Key{{Header: "X-Session"}, {Consumer: true}}}
	a.Seal()
	return a
}

func keyed(id string) *Caller { return &Caller{Header: http.Header{"X-Session": {id}}} }

// cohort returns who of the first n sessions is on the candidate.
func cohort(a *Assignment, n int) map[string]bool {
	out := map[string]bool{}
	for i := range n {
		id := fmt.Sprintf("session-%d", i)
		if a.Assign(keyed(id)).Candidate {
			out[id] = true
		}
	}
	return out
}

// TestCohorts follows 10,000 sessions over a rollout that is aborted and tried again:
// nobody leaves the candidate while it grows, the abort moves all, and the retry gets
// a part of the same people back.
func TestCohorts(t *testing.T) {
	for _, salt := range []string{"a", "b", "3f9c", ""} {
		last := map[string]bool{}
		var grown map[string]bool
		for _, share := range []uint32{100, 500, 2500, 5000, 0, 500} {
			now := cohort(assignment(share, salt), 10_000)
			if share > 0 {
				for id := range last {
					if !now[id] {
						t.Fatalf("salt %q: %s left the candidate when its share grew to %d", salt, id, share)
					}
				}
			} else if len(now) > 0 {
				t.Fatalf("salt %q: %d are on a candidate without a share", salt, len(now))
			}
			if share == 5000 {
				grown = now
			}
			last = now
		}
		for id := range last {
			if !grown[id] {
				t.Errorf("salt %q: %s is new to the candidate after the retry", salt, id)
			}
		}
	}
}

// TestShareIsMet to half a point by 10,000 sessions, at each share of a rollout. These
// salts are among the two of three for which chance has it so, see TestSharesAreFair.
func TestShareIsMet(t *testing.T) {
	for _, salt := range []string{"a", ""} {
		for _, share := range []uint32{100, 500, 2500, 5000, 0, 500} {
			got := float64(len(cohort(assignment(share, salt), 10_000))) / 10_000
			if want := float64(share) / Buckets; math.Abs(got-want) > 0.005 {
				t.Errorf("salt %q: %v of the sessions are on the candidate, want %v", salt, got, want)
			}
		}
	}
}

// TestSharesAreFair: over many salts the observed share is as a fair draw of each
// session has it, with the mean of the share and a standard deviation of half a point
// at 50 %. No hash of keys that are not known beforehand can do better: where one salt
// is off by a point, that is chance, and stays so for its candidate.
func TestSharesAreFair(t *testing.T) {
	const n, salts = 10_000, 50
	for _, share := range []uint32{100, 500, 2500, 5000} {
		want, sum, squares := float64(share)/Buckets, 0.0, 0.0
		for i := range salts {
			off := float64(len(cohort(assignment(share, fmt.Sprint("salt ", i)), n)))/n - want
			sum, squares = sum+off, squares+off*off
		}
		fair := math.Sqrt(want * (1 - want) / n)
		if mean := sum / salts; math.Abs(mean) > 4*fair/math.Sqrt(salts) {
			t.Errorf("share %v: off by %v on average", want, mean)
		}
		if sd := math.Sqrt(squares / salts); sd > 1.4*fair || sd < 0.6*fair {
			t.Errorf("share %v: off by a standard deviation of %v, a fair draw by %v", want, sd, fair)
		}
	}
}

// TestSaltsDiffer: the next candidate's first users are others.
func TestSaltsDiffer(t *testing.T) {
	a, b := cohort(assignment(1000, "v2"), 10_000), cohort(assignment(1000, "v3"), 10_000)
	both := 0
	for id := range a {
		if b[id] {
			both++
		}
	}
	if both < 50 || both > 160 {
		t.Errorf("%d of 10,000 are among the first tenth twice, want about 100", both)
	}
}

// TestBucketsAreEven also for keys that differ in little.
func TestBucketsAreEven(t *testing.T) {
	a := assignment(0, "salt")
	var tenths [10]int
	const n = 50_000
	for i := range n {
		tenths[a.bucket(fmt.Sprint(i))/1000]++
	}
	for i, got := range tenths {
		if got < n/10-400 || got > n/10+400 {
			t.Errorf("tenth %d holds %d of %d keys", i, got, n)
		}
	}
}

func TestPins(t *testing.T) {
	a := assignment(5000, "x")
	a.Include = map[string]struct{}{"tester": {}, "torn": {}}
	a.Exclude = map[string]struct{}{"vip": {}, "torn": {}}
	for key, want := range map[string]bool{"tester": true, "vip": false, "torn": false} {
		if at := a.Assign(keyed(key)); at.Candidate != want || at.How != Pinned {
			t.Errorf("%s: %+v", key, at)
		}
	}
	a.Share = 0
	if a.Assign(keyed("tester")).Candidate {
		t.Error("a pin keeps traffic on a candidate that was aborted")
	}
}

func TestKeyOrder(t *testing.T) {
	a := assignment(5000, "x")
	for want, h := range map[string]http.Header{
		"s":        {"X-Session": {"s"}, "Authorization": {"Bearer b"}},
		"Bearer b": {"X-Session": {""}, "Authorization": {"Bearer b"}, "X-Api-Key": {"k"}},
		"k":        {"X-Api-Key": {"k"}},
		"":         {"Other": {"x"}},
	} {
		if got := a.Key(&Caller{Header: h}); got != want {
			t.Errorf("%v: key %q, want %q", h, got, want)
		}
	}
}

// TestKeyPlaces finds the key in each place that may carry it, and nowhere else.
func TestKeyPlaces(t *testing.T) {
	caller := &Caller{
		Header: http.Header{
			"X-Session": {"s", "t"}, "Cookie": {"a=1; session=c", "session=d"}, "Authorization": {"Bearer b"}, "X-Api-Key": {"k"},
		},
		User: []byte("u"), PromptCacheKey: []byte("p"), SafetyIdentifier: []byte("i"),
	}
	cases := []struct {
		key  Key
		name string
		want string
	}{
		{Key{Header: "X-Session"}, "X-Session", "s"},
		{Key{Header: "X-Other"}, "X-Other", ""},
		{Key{Cookie: "session"}, "cookie session", "c"},
		{Key{Cookie: "none"}, "cookie none", ""},
		{Key{Field: BodyUser}, "body user", "u"},
		{Key{Field: BodyPromptCacheKey}, "body prompt_cache_key", "p"},
		{Key{Field: BodySafetyIdentifier}, "body safety_identifier", "i"},
		{Key{Field: "temperature"}, "body temperature", ""},
		{Key{Consumer: true}, "consumer", "Bearer b"},
		{Key{}, "", ""},
	}
	for _, c := range cases {
		a := &Assignment{Share: Buckets, Candidate: 1, Keys: []Key{c.key}}
		a.Seal()
		if got := a.Key(caller); got != c.want || c.key.String() != c.name {
			t.Errorf("%q: key %q, want %q of %q", c.key.String(), got, c.want, c.name)
		}
		how := ByKey
		if c.want == "" {
			how = ByChance
		}
		if at := a.Assign(caller); at.How != how || at.Key != c.want || !at.Candidate {
			t.Errorf("%q: place is %+v", c.name, at)
		}
		if got := a.Key(&Caller{}); got != "" {
			t.Errorf("%q: key %q of nobody", c.name, got)
		}
	}
}

// TestOverride lets a header choose the side, but for a candidate without a share,
// and no other word of it.
func TestOverride(t *testing.T) {
	for _, share := range []uint32{0, 1, Buckets} {
		a := assignment(share, "x")
		a.Override = "X-Side"
		a.Exclude = map[string]struct{}{"s": {}}
		for value, want := range map[string]Place{
			"stable":    {How: Pinned, Key: "s"},
			"candidate": {Candidate: share > 0, How: Pinned, Key: "s"}, // before what is excluded
			"Candidate": {How: Pinned, Key: "s"},
			"":          {How: Pinned, Key: "s"},
		} {
			if got := a.Assign(&Caller{Header: http.Header{"X-Side": {value}, "X-Session": {"s"}}}); got != want {
				t.Errorf("share %d, %q: %+v, want %+v", share, value, got, want)
			}
		}
		other := &Caller{Header: http.Header{"X-Side": {"both"}, "X-Session": {"t"}}}
		if got := a.Assign(other); got.How != ByKey {
			t.Errorf("share %d: another word is not ignored: %+v", share, got)
		}
	}
}

// TestBar has everybody on stable from then on, whoever asks for something else, and
// so does Cancel.
func TestBar(t *testing.T) {
	barred, cancelled := assignment(Buckets, "x"), assignment(Buckets, "x")
	cancelled.Cancel = true
	if barred.Barred() || !barred.Assign(&Caller{}).Candidate {
		t.Fatal("barred before it was")
	}
	barred.Bar()
	barred.Bar()
	for name, a := range map[string]*Assignment{"barred": barred, "cancelled": cancelled} {
		a.Override = "X-Side"
		a.Include = map[string]struct{}{"s": {}}
		for _, h := range []http.Header{nil, {"X-Session": {"t"}}, {"X-Session": {"s"}}, {"X-Side": {"candidate"}}} {
			if at := a.Assign(&Caller{Header: h}); at.Candidate || at.How != Pinned {
				t.Errorf("%s, %v: %+v", name, h, at)
			}
		}
	}
	if !barred.Barred() || cancelled.Barred() {
		t.Error("who is barred is not told")
	}
}

// TestDrawShadow meets percentages exactly, goes on where the snapshot before stood,
// and leaves a candidate alone that is out.
func TestDrawShadow(t *testing.T) {
	shadowing := func(percent int) (*Assignment, *Snapshot) {
		m := NewModelRule("InferenceModel n/m", "m", []Target{{"one", 1}, {"two", 0}}, false, 0)
		m.Assignment = assignment(0, "x")
		m.Assignment.Shadow = &Shadow{Percent: percent}
		m.Assignment.Seal()
		return m.Assignment, &Snapshot{Pools: map[string]*Pool{"p": {Generic: m}}}
	}
	for percent, want := range map[int]int{-1: 0, 0: 0, 1: 2, 30: 60, 100: 200, 101: 200} {
		a, s := shadowing(percent)
		s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
		n := 0
		for i := range 200 {
			if i == 150 { // in the middle of a block
				next, later := shadowing(percent)
				later.Arm(s, rand.New(rand.NewPCG(3, 4)))
				a = next
			}
			if a.DrawShadow() {
				n++
			}
		}
		if n != want {
			t.Errorf("%d%%: %d of 200, want %d", percent, n, want)
		}
	}
	a, _ := shadowing(100)
	if a.Bar(); a.DrawShadow() {
		t.Error("a barred candidate gets copies")
	}
	if assignment(5000, "x").DrawShadow() {
		t.Error("copies without a task")
	}
}

// TestEachAssignment finds those of rules, of models and of all other models.
func TestEachAssignment(t *testing.T) {
	model := func(rollout string) *ModelRule {
		m := NewModelRule("x", "m", []Target{{"one", 1}}, false, 0)
		m.Assignment = &Assignment{Rollout: rollout}
		return m
	}
	plain := NewModelRule("x", "n", []Target{{"one", 1}}, false, 0)
	l := &Listener{}
	l.AddRoute("", &Route{Rule: &Rule{Assignment: &Assignment{Rollout: "rule"}}})
	l.AddRoute("", &Route{Rule: &Rule{}})
	s := &Snapshot{Ports: []*Port{{Listeners: []*Listener{l}}}, Pools: map[string]*Pool{
		"p": {Rules: map[string]*ModelRule{"m": model("model"), "n": plain}, Generic: model("others")}, "q": {Generic: plain}, "r": {},
	}}
	var got []string
	s.EachAssignment(func(a *Assignment) { got = append(got, a.Rollout) })
	slices.Sort(got)
	if want := []string{"model", "others", "rule"}; !slices.Equal(got, want) {
		t.Errorf("assignments are %v, want %v", got, want)
	}
}

// TestByChance: without a key the share is met exactly, as by weights.
func TestByChance(t *testing.T) {
	a := assignment(2500, "x")
	a.random.sequence = &Sequence{key: 5}
	n := 0
	for range 1000 {
		if at := a.Assign(&Caller{}); at.Candidate {
			n++
		} else if at.How != ByChance {
			t.Fatal("a request without a key is not by chance")
		}
	}
	if n != 250 {
		t.Errorf("%d of 1000 without a key, want exactly 250", n)
	}
}

// TestRuleAssign checks that only the pair's draws are decided by the rollout, that
// shares reach the backends, and that a candidate without the model is spared.
func TestRuleAssign(t *testing.T) {
	rule := &Rule{ID: "n/r/0", Backends: []Backend{
		{Ref: "a", Weight: 80, Pool: inference("a", []string{"m", "old"})},
		{Ref: "b", Weight: 0, Pool: inference("b", []string{"m"})},
		{Ref: "c", Weight: 20, Pool: inference("c", []string{"m", "old"})}}}
	rule.Assignment = assignment(2500, "x")
	rule.Seal()
	s := &Snapshot{Ports: []*Port{{Listeners: []*Listener{{}}}}}
	s.Ports[0].Listeners[0].AddRoute("", &Route{Rule: rule})
	s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
	if rule.Assignment.random.sequence.key == 0 {
		t.Error("the random part was not armed")
	}
	counts := [3]int{}
	for i := range 10_000 {
		got, _, _ := rule.Assign(rule.Split("m").Draw(), "m", keyed(fmt.Sprint(i)))
		counts[got]++
	}
	if counts[2] != 2000 || counts[1] < 1850 || counts[1] > 2150 {
		t.Errorf("of 10,000: %v, want about 6000 2000 2000", counts)
	}
	for i := range 1000 {
		if got, _, _ := rule.Assign(0, "old", keyed(fmt.Sprint(i))); got != 0 {
			t.Fatal("a request went to a candidate that does not serve its model")
		}
	}
}

func TestModelRuleDrawFor(t *testing.T) {
	m := NewModelRule("InferenceModel n/m", "m", []Target{{"one", 1}, {"two", 0}}, false, 0)
	if got, _, _ := m.DrawFor(&Caller{}); got != "one" {
		t.Errorf("without a rollout: %s", got)
	}
	m.Assignment = assignment(Buckets, "x")
	if got, at, _ := m.DrawFor(keyed("s")); got != "two" || at.How != ByKey {
		t.Errorf("all to the candidate: %s", got)
	}
	m.Assignment = assignment(0, "x")
	if got, _, _ := m.DrawFor(keyed("s")); got != "one" {
		t.Errorf("none to the candidate: %s", got)
	}
	if got, _, _ := NewModelRule("", "x", nil, false, 0).DrawFor(&Caller{}); got != "" {
		t.Errorf("of nothing: %s", got)
	}
}
