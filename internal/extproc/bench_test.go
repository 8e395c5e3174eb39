package extproc

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"syscall"
	"testing"

	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/routing"
)

func benchHeader() http.Header {
	return http.Header{
		":method": {"POST"}, ":scheme": {"http"}, ":authority": {"chat.example.com"}, ":path": {"/v1/chat/completions"},
		"Content-Type": {"application/json"}, "Content-Length": {"2048"}, "User-Agent": {"OpenAI/Python 1.99"}, "Accept": {"application/json"},
		"Authorization": {"Bearer sk-0123456789"}, "X-Forwarded-For": {"10.0.0.1"}, "X-Request-Id": {"0123456789abcdef"},
	}
}

// plainBody is an answer's body in memory.
type plainBody struct{ bytes.Reader }

func (*plainBody) Trailer() http.Header { return nil }

// BenchmarkCall is what a picker adds to one request: both phases of a call over one
// TLS connection on loopback, to a picker that says little, with 64 endpoints in
// the pool. CPU is that of this process, so the picker's share is in it.
func BenchmarkCall(b *testing.B) {
	var addresses []string
	for i := range 64 {
		addresses = append(addresses, "10.0.0."+string(rune('0'+i/10))+string(rune('0'+i%10))+":8000")
	}
	chosen := "10.0.0.10:8000"
	pool := testPool(addresses...)
	p := epptest.Start(b, epptest.Light(chosen))
	pool.Picker.Endpoints = []string{p.Address}
	c := New(Options{Logger: slog.New(slog.DiscardHandler)})
	defer c.Close()
	body := [][]byte{bytes.Repeat([]byte("x"), 2048)}
	answer := bytes.Repeat([]byte("y"), 1024)
	before := cpu(b)
	b.ReportAllocs()
	for b.Loop() {
		call := c.Begin(b.Context(), pool)
		if _, _, err := call.Choose(benchHeader(), body); err != nil {
			b.Fatal(err)
		}
		from := &plainBody{*bytes.NewReader(answer)}
		through, err := call.Answer(chosen, http.Header{":status": {"200"}, "Content-Type": {"application/json"}}, from)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, through); n != int64(len(answer)) || err != nil {
			b.Fatal(n, err)
		}
		call.Close()
	}
	b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-us/op")
}

// cpu is the processor time of this process in microseconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}

func BenchmarkSubsetHint(b *testing.B) {
	pool := testPool()
	for range maxHint {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: "10.100.200.1:8000"})
	}
	for b.Loop() {
		if len(subsetHint(pool)) == 0 {
			b.Fatal("no hint")
		}
	}
}
