package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// traced is one request of a recorded trace.
type traced struct {
	at            float64 // seconds since the first
	input, output int     // tokens
	blocks        []uint64
}

// traceBlock is the tokens that one of a Mooncake trace's hash_ids stands for.
const traceBlock = 512

// traceWorkload makes a workload of a recorded trace, as it was and faster: its
// rates are multiples of the trace's own.
func traceWorkload(file string) (*workload, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	requests, err := readTrace(f, qwen32B().KVTokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	replay := func(g *generator, speed, seconds float64) {
		for _, t := range requests {
			if at := t.at / speed; at < seconds {
				g.add(at, t.output, t.texts(g)...)
			}
		}
	}
	return &workload{name: filepath.Base(file), loads: [3]float64{1, 1.15, 1.3}, make: replay}, nil
}

// texts are the pieces of the prompt: those with an id are the same wherever the id
// is.
func (t *traced) texts(g *generator) []text {
	var out []text
	left := t.input
	for _, id := range t.blocks {
		n := min(left, traceBlock)
		out = append(out, text{id<<8 | 5, n})
		left -= n
	}
	if left > 0 {
		out = append(out, g.unique(left))
	}
	return out
}

// readTrace reads Mooncake's form, a JSON object per line with timestamp in
// milliseconds, input_length, output_length and hash_ids of 512 tokens each, or
// Azure's, CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens. most
// is how many tokens one request may have.
func readTrace(in io.Reader, most int) ([]traced, error) {
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the trace is empty")
	} else if err != nil {
		return nil, err
	}
	read := readAzure
	if head[0] == '{' {
		read = readMooncake
	}
	out, err := read(r, most)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("the trace has no requests")
	}
	slices.SortStableFunc(out, func(a, b traced) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	first := out[0].at
	for i := range out {
		out[i].at -= first
	}
	return out, nil
}

// check refuses a request that no engine of the model can take.
func (t *traced) check(most int) error {
	switch {
	case t.input < 1:
		return fmt.Errorf("a prompt of %d tokens; there must be one at least", t.input)
	case t.output < 0:
		return fmt.Errorf("an answer of %d tokens", t.output)
	case t.input+t.output > most:
		return fmt.Errorf("%d tokens do not fit into the %d of an engine's KV cache; take the request out", t.input+t.output, most)
	case len(t.blocks) > (t.input+traceBlock-1)/traceBlock:
		return fmt.Errorf("%d hash_ids for a prompt of %d tokens; each stands for %d", len(t.blocks), t.input, traceBlock)
	}
	return nil
}

func readMooncake(in *bufio.Reader, most int) ([]traced, error) {
	var out []traced
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var line struct {
			Timestamp *float64 `json:"timestamp"`
			Input     *int     `json:"input_length"`
			Output    *int     `json:"output_length"`
			Hashes    []uint64 `json:"hash_ids"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if line.Timestamp == nil || line.Input == nil || line.Output == nil {
			return nil, fmt.Errorf("line %d: timestamp, input_length or output_length is missing", number)
		}
		t := traced{*line.Timestamp / 1000, *line.Input, *line.Output, line.Hashes}
		if err := t.check(most); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		out = append(out, t)
	}
	return out, lines.Err()
}

func readAzure(in *bufio.Reader, most int) ([]traced, error) {
	rows := csv.NewReader(in)
	rows.FieldsPerRecord = -1
	head, err := rows.Read()
	if err != nil {
		return nil, err
	}
	columns := map[string]int{}
	for i, name := range head {
		columns[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = i
	}
	var at [3]int
	for i, name := range []string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"} {
		c, ok := columns[name]
		if !ok {
			return nil, fmt.Errorf("line 1: neither a JSON object nor a CSV head with %s", name)
		}
		at[i] = c
	}
	var out []traced
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		t, err := azureRow(row, at)
		if err == nil {
			err = t.check(most)
		}
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		out = append(out, t)
	}
}

func azureRow(row []string, at [3]int) (traced, error) {
	if len(row) <= max(at[0], at[1], at[2]) {
		return traced{}, fmt.Errorf("%d columns are too few", len(row))
	}
	instant, err := azureTime(row[at[0]])
	if err != nil {
		return traced{}, err
	}
	t := traced{at: instant}
	for _, f := range []struct {
		to   *int
		text string
		name string
	}{{&t.input, row[at[1]], "ContextTokens"}, {&t.output, row[at[2]], "GeneratedTokens"}} {
		if *f.to, err = strconv.Atoi(strings.TrimSpace(f.text)); err != nil {
			return traced{}, fmt.Errorf("%s %q is no whole number", f.name, f.text)
		}
	}
	return t, nil
}

// azureTime reads an instant of the traces of 2023, which name no zone, or of 2024.
func azureTime(text string) (float64, error) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05-07:00"} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return float64(t.Unix()) + float64(t.Nanosecond())/1e9, nil
		}
	}
	return 0, fmt.Errorf("TIMESTAMP %q is not like 2023-11-16 18:15:46.6805900", text)
}
