package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTrace(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []traced
	}{
		{"Mooncake", `{"timestamp": 3000, "input_length": 1100, "output_length": 52, "hash_ids": [4, 5, 6]}

{"timestamp": 500, "input_length": 10, "output_length": 0, "hash_ids": [4], "more": 1}`,
			[]traced{{0, 10, 0, []uint64{4}}, {2.5, 1100, 52, []uint64{4, 5, 6}}}},
		{"Azure 2023", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5000000,374,44\n2023-11-16 18:15:50.7500000,396,109\n",
			[]traced{{0, 374, 44, nil}, {4.25, 396, 109, nil}}},
		{"Azure 2024, columns in another order", "\ufeffGeneratedTokens,TIMESTAMP,ContextTokens\r\n44,2024-05-10 00:00:00.500000+00:00,374\r\n",
			[]traced{{0, 374, 44, nil}}},
	} {
		got, err := readTrace(strings.NewReader(c.in), 275_000)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(traced{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}

func TestTracesThatCannotBeRead(t *testing.T) {
	const head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
	for _, c := range []struct{ in, want string }{
		{"", "the trace is empty"},
		{"a,b\n1,2\n", "line 1: neither a JSON object nor a CSV head with TIMESTAMP"},
		{head, "the trace has no requests"},
		{head + "2023-11-16 18:15:46,12\n", "line 2: 2 columns are too few"},
		{head + "yesterday,12,3\n", `line 2: TIMESTAMP "yesterday" is not like`},
		{head + "2023-11-16 18:15:46,many,3\n", `line 2: ContextTokens "many" is no whole number`},
		{head + "2023-11-16 18:15:46,0,3\n", "line 2: a prompt of 0 tokens"},
		{head + "2023-11-16 18:15:46,3,-1\n", "line 2: an answer of -1 tokens"},
		{`{"timestamp": 1`, "line 1: unexpected end of JSON input"},
		{`{"timestamp": 1, "input_length": 3}`, "line 1: timestamp, input_length or output_length is missing"},
		{"{\"timestamp\": 1, \"input_length\": 3, \"output_length\": 1}\n{}", "line 2: timestamp"},
		{`{"timestamp": 1, "input_length": 999, "output_length": 2}`, "1001 tokens do not fit into the 1000 of an engine's KV cache"},
		{`{"timestamp": 1, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}`, "2 hash_ids for a prompt of 512 tokens"},
	} {
		if _, err := readTrace(strings.NewReader(c.in), 1000); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.in, err, c.want)
		}
	}
}

// A trace is replayed faster as asked, and prompts share what has one hash_id.
func TestTraceWorkload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mooncake.jsonl")
	text := `{"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [7, 8]}
{"timestamp": 2000, "input_length": 1024, "output_length": 5, "hash_ids": [7, 9]}
{"timestamp": 9000, "input_length": 10, "output_length": 5, "hash_ids": [7]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := traceWorkload(file)
	if err != nil {
		t.Fatal(err)
	}
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1))}
	w.make(g, 2, 4)
	if len(g.requests) != 2 || g.requests[1].at != 1 {
		t.Fatalf("%d requests, the second at %g", len(g.requests), g.requests[1].at)
	}
	a, b := g.requests[0].blocks, g.requests[1].blocks
	same := 0
	for same < len(a) && a[same] == b[same] {
		same++
	}
	if len(a) != 16 || same != 8 {
		t.Errorf("%d of %d blocks are shared, want 8 of 16", same, len(a))
	}
	if _, err := traceWorkload(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}
