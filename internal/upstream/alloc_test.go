//go:build unix && !race

package upstream

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"
)

// TestAllocations holds an exchange on a kept connection to a handful of allocations: the
// Response, its header (text, values and a map of two parts) and the watch over the context.
func TestAllocations(t *testing.T) {
	addr := respond(t, benchAnswer)
	c := newClient(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	context.AfterFunc(ctx, func() {}) // a server's context has other children already
	req := &Request{
		Method: "POST", Target: "/v1/chat/completions", Header: benchHeader,
		Body: [][]byte{bytes.Repeat([]byte("b"), 300)}, FirstByteTimeout: time.Minute, IdleTimeout: time.Minute,
	}
	buf := make([]byte, 32<<10)
	got := testing.AllocsPerRun(1000, func() {
		resp, err := c.Do(ctx, addr, req)
		for err == nil {
			_, err = resp.Read(buf)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	})
	if got > 7 {
		t.Errorf("%v allocations per exchange", got)
	}
}
