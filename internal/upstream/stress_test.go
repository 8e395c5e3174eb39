package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// whimsical answers each request with its own path, many times over, in one of many ways, and
// hangs up whenever it likes.
func whimsical(n int, nc net.Conn) {
	nc.SetDeadline(time.Now().Add(2 * limit)) // a client that hangs is to notice first
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	r := bufio.NewReader(nc)
	for {
		req, body, err := readRequest(r)
		if err != nil || rng.IntN(20) == 0 {
			return // perhaps with the request read
		}
		line := req.URL.Path + " " + fmt.Sprint(len(body)) + "\n"
		answer := strings.Repeat(line, rng.IntN(400))
		switch rng.IntN(4) {
		case 0:
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		case 1:
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for answer != "" {
				n := min(1+rng.IntN(1000), len(answer))
				fmt.Fprintf(nc, "%x\r\n%s\r\n", n, answer[:n])
				answer = answer[n:]
			}
			io.WriteString(nc, "0\r\n\r\n")
		case 2:
			fmt.Fprintf(nc, "HTTP/1.1 102 Busy\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		case 3:
			fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", answer)
			return
		}
	}
}

// TestNeverSpliced: whatever servers and clients do to each other, a byte of one answer never
// turns up in another.
func TestNeverSpliced(t *testing.T) {
	addrs := []string{listen(t, whimsical), listen(t, whimsical)}
	c := newClient(t, Options{MaxIdlePerHost: 4})
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 2))
			for i := range 150 {
				if err := exchangeAtWhim(t, c, addrs[rng.IntN(len(addrs))], fmt.Sprintf("/%d/%d", worker, i), rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// exchangeAtWhim sends one request of some form, reads all or some of the answer, or is
// cancelled at any time; it fails only on an answer that is not its own.
func exchangeAtWhim(t *testing.T, c *Client, addr, path string, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	body := strings.Repeat("x", rng.IntN(3)*rng.IntN(30<<10))
	req := post(body)
	req.Target = path
	if rng.IntN(4) == 0 {
		req.Body, req.Stream, req.ContentLength = nil, strings.NewReader(body), -1
	}
	if rng.IntN(8) == 0 {
		go cancel()
	}
	resp, err := c.Do(ctx, addr, req)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || !e.BeforeFirstByte && ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	defer resp.Close()
	var from io.Reader = resp
	if rng.IntN(8) == 0 {
		from = io.LimitReader(resp, int64(rng.IntN(4000)))
	}
	got, err := io.ReadAll(from)
	if err != nil && ctx.Err() != context.Canceled {
		return fmt.Errorf("%s: read: %w", path, err)
	}
	line := fmt.Sprintf("%s %d\n", path, len(body))
	if whole := strings.Repeat(line, len(got)/len(line)+1); string(got) != whole[:len(got)] {
		return fmt.Errorf("%s: answer is not its own: %.100q", path, got)
	}
	return nil
}
