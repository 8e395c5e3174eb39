package routing

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"net/http"
	"strings"
)

// Buckets is the number of hash buckets of an Assignment; its Share is a number of
// them.
const Buckets = 10_000

// Assignment decides between the two versions of a rollout. Whoever sends a key (a
// session, a user) is in one bucket for as long as the salt stays, and gets the
// candidate while the bucket is below the share: raising the share only adds users,
// lowering it takes back those who came last, and every gateway answers alike.
type Assignment struct {
	Rollout string // namespace/name
	// Revision of the share and the attempt it belongs to, told to whoever asks
	// what this gateway serves.
	Attempt, Revision int64
	// Stable and Candidate are indices among the backends or targets that the
	// rollout is about. In their draw Stable stands for both.
	Stable, Candidate int
	Share             uint32 // 0 … Buckets
	Salt              string
	Keys              []Key
	// Include and Exclude are keys that are pinned: to the candidate, while it has
	// any share, and to stable. Exclude goes first.
	Include, Exclude map[string]struct{}

	random *Split
}

// Key is one place a request may carry its key in.
type Key struct {
	Header   string // canonical name
	Consumer bool   // the credential
}

// How says why a request is on its side. Those pinned are no fair sample.
type How int

// The ways of being assigned.
const (
	ByChance How = iota
	ByKey
	Pinned
)

// Seal completes the assignment; call it before the snapshot is armed.
func (a *Assignment) Seal() {
	a.Share = min(a.Share, Buckets)
	a.random = NewSplit("rollout "+a.Rollout+","+a.Salt, []uint32{Buckets - a.Share, a.Share})
}

// Key returns the request's key, "" when it has none.
func (a *Assignment) Key(h http.Header) string {
	for _, k := range a.Keys {
		names := [...]string{k.Header, ""}
		if k.Consumer {
			names = [...]string{"Authorization", "X-Api-Key"}
		}
		for _, name := range names {
			if v := h[name]; name != "" && len(v) > 0 && v[0] != "" {
				return v[0]
			}
		}
	}
	return ""
}

// Assign decides for a request with this key; without one it is by chance, to the
// same share. It is safe for concurrent use.
func (a *Assignment) Assign(key string) (candidate bool, how How) {
	if key == "" {
		return a.random.Draw() == 1, ByChance
	}
	if _, ok := a.Exclude[key]; ok {
		return false, Pinned
	}
	if _, ok := a.Include[key]; ok {
		return a.Share > 0, Pinned
	}
	return a.bucket(key) < a.Share, ByKey
}

// bucket is where a key stands, 0 … Buckets−1.
func (a *Assignment) bucket(key string) uint32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.Salt)) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	// The sum of FNV alone is uneven in its high bits for short keys.
	b, _ := bits.Mul64(mix(h.Sum64()), Buckets)
	return uint32(b)
}

// String prints the assignment as "rollout n/r 12.5% to candidate by X-Session".
func (a *Assignment) String() string {
	s := fmt.Sprintf("rollout %s %g%%", a.Rollout, float64(a.Share)/100)
	var keys []string
	for _, k := range a.Keys {
		if k.Consumer {
			keys = append(keys, "consumer")
		} else {
			keys = append(keys, k.Header)
		}
	}
	return s + field(" by ", strings.Join(keys, ","))
}

// Assign replaces the backend that was drawn for a request by the side of the
// rollout that it is on, if the draw fell on the pair. A candidate that is known not
// to serve the model is spared.
func (r *Rule) Assign(drawn int, model string, h http.Header) (backend int, how How) {
	a := r.Assignment
	if a == nil || drawn != a.Stable && drawn != a.Candidate {
		return drawn, ByChance
	}
	candidate, how := a.Assign(a.Key(h))
	if p := r.Backends[a.Candidate].Pool; candidate && a.Share < Buckets && p != nil && p.Serves(model) == ServesNot {
		return a.Stable, Pinned
	}
	if candidate {
		return a.Candidate, how
	}
	return a.Stable, how
}

// DrawFor returns the next target's model for a request, as Draw does where no
// rollout is under way.
func (m *ModelRule) DrawFor(h http.Header) (model string, how How) {
	i := m.split.Draw()
	if i < 0 {
		return "", ByChance
	}
	if a := m.Assignment; a != nil && (i == a.Stable || i == a.Candidate) {
		candidate, how := a.Assign(a.Key(h))
		if candidate {
			return m.Targets[a.Candidate].Model, how
		}
		return m.Targets[a.Stable].Model, how
	}
	return m.Targets[i].Model, ByChance
}
