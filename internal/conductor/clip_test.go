package conductor

import (
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
)

// What an annotation says may be of any length; what the state remembers of it is not.
func TestLongRequestsAreClipped(t *testing.T) {
	long := strings.Repeat("ö", 100_000)
	r := RequestOf(&cfv1a1.RolloutRequest{ID: long, Verb: long, Reason: long, By: long})
	if n := len(r.ID) + len(r.String()); n > 2000 {
		t.Errorf("%d bytes are left", n)
	}
	if other := RequestOf(&cfv1a1.RolloutRequest{ID: long + "x"}); other.ID == r.ID {
		t.Error("two requests are one")
	}
	if r := RequestOf(&cfv1a1.RolloutRequest{ID: "1", Reason: "because"}); r.ID != "1" || r.Reason != "because" {
		t.Errorf("a short one became %+v", r)
	}
	if r := RequestOf(&cfv1a1.RolloutRequest{Reason: "\x1b[2Jall is well\n"}); r.Reason != " [2Jall is well " {
		t.Errorf("what would move a cursor became %q", r.Reason)
	}
}
