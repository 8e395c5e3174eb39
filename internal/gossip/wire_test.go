package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/scheduling"
	"github.com/google/go-cmp/cmp"
)

// sample is news of every kind.
func sample() message {
	return message{sequence: 7, news: scheduling.News{
		Origin: "a",
		Pools: []scheduling.PoolNews{
			{ID: "InferencePool/chat/p", Endpoints: []scheduling.EndpointNews{
				{
					Address: "10.0.0.1:8000", Requests: 3, Prefills: 2, Pending: 900, Context: 70_000, KV: 40_000,
					Prompts:    []scheduling.PromptNews{{Sent: 3 * time.Second, Tokens: 9000, BlocksNews: scheduling.BlocksNews{Blocks: 30, At: 5, First: 1 << 63}}, {Tokens: 1}},
					Coming:     []scheduling.BlocksNews{{Blocks: 2, At: 1, First: 3}},
					FirstToken: 20 * time.Millisecond, Computed: 5000, Answers: 7,
					Adapters: []string{"x", "y"}, Blocks: []uint64{1, math.MaxUint64},
				},
				{Address: "10.0.0.2:8000", Requests: 1},
			}},
			{ID: "q"},
		},
	}}
}

func mustAppend(t testing.TB, m message) []byte {
	t.Helper()
	b, err := appendMessage(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageRoundTrip(t *testing.T) {
	for _, want := range []message{sample(), {news: scheduling.News{Origin: ""}}} {
		got, err := parseMessage(mustAppend(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{})); diff != "" {
			t.Error(diff)
		}
	}
}

// What is cut off, has something behind it or claims more than there is, is refused.
func TestMessageOfWrongForm(t *testing.T) {
	good := mustAppend(t, sample())
	for n := range good {
		if _, err := parseMessage(good[:n]); !errors.Is(err, errForm) {
			t.Fatalf("the first %d bytes of %d: %v", n, len(good), err)
		}
	}
	record := func(b []byte) []byte { return append(binary.AppendUvarint([]byte(magic), uint64(len(b))), b...) }
	for name, b := range map[string][]byte{
		"a byte more":      append(good[:len(good):len(good)], 0),
		"another version":  append([]byte("cfn1"), good[4:]...),
		"as many pools":    record(binary.AppendUvarint([]byte{0, 1}, math.MaxUint64)),
		"an empty pool":    record([]byte{0, 1, 1, 0}),
		"an endless text":  record(binary.AppendUvarint(nil, math.MaxUint64)),
		"an overlong text": record(append(binary.AppendUvarint(nil, maxName+1), make([]byte, 2*maxName)...)),
		"many prompts":     record(prompts(maxPrompts + 1)),
	} {
		if _, err := parseMessage(b); !errors.Is(err, errForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// prompts is the inside of a message with an endpoint that has so many.
func prompts(n int) []byte {
	e := append(binary.AppendUvarint(make([]byte, 9), uint64(n)), make([]byte, 2*n)...)
	p := append(binary.AppendUvarint([]byte{0, 1}, uint64(len(e))), e...)
	return append(binary.AppendUvarint([]byte{0, 1, 1}, uint64(len(p))), p...)
}

// What a later version has added to a record is passed over, and what an
// earlier one did not have is nothing.
func TestMessageOfOtherVersions(t *testing.T) {
	endpoint := []byte{1, 'e', 3, 1}                     // address, requests, prefills: no more was known
	later := append(endpoint[:4:4], make([]byte, 10)...) // all that is known now
	later = append(later, 9, 9, 9)
	body := []byte{1, 'o', 7, 1}
	pool := []byte{1, 'p', 2, byte(len(endpoint))}
	pool = append(append(append(pool, endpoint...), byte(len(later))), later...)
	pool = append(pool, 8, 8)
	body = append(append(append(body, byte(len(pool))), pool...), 7)
	got, err := parseMessage(append(append([]byte(magic), byte(len(body))), body...))
	if err != nil {
		t.Fatal(err)
	}
	e := scheduling.EndpointNews{Address: "e", Requests: 3, Prefills: 1}
	want := message{7, scheduling.News{Origin: "o", Pools: []scheduling.PoolNews{{ID: "p", Endpoints: []scheduling.EndpointNews{e, e}}}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{})); diff != "" {
		t.Error(diff)
	}
}

// A message stays within its limits: blocks are left out, names are not.
func TestMessageLimits(t *testing.T) {
	m := sample()
	m.news.Pools[0].Endpoints[0].Blocks = make([]uint64, maxBlocks-1)
	m.news.Pools[0].Endpoints[1].Blocks = make([]uint64, maxBlocks)
	b := mustAppend(t, m)
	got, err := parseMessage(b)
	if err != nil || len(b) > maxMessage {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	if n := len(got.news.Pools[0].Endpoints[1].Blocks); n != 1 {
		t.Errorf("%d blocks of the second endpoint, want the one that there is room for", n)
	}

	var many []string
	for i := range maxNames {
		many = append(many, fmt.Sprint(i))
	}
	m.news.Pools[0].Endpoints[0].Adapters = many
	if _, err := appendMessage(nil, &m); !errors.Is(err, errTooMuch) {
		t.Errorf("written: %v", err)
	}
	raw := []byte(magic + "\x00\x01" + strings.Repeat("\x00", 8)) // no pools, then rubbish
	if _, err := parseMessage(raw); !errors.Is(err, errForm) {
		t.Errorf("rubbish: %v", err)
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add(mustAppend(f, sample()))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		again, err := parseMessage(mustAppend(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, again, cmp.AllowUnexported(message{})); diff != "" {
			t.Error(diff)
		}
	})
}
