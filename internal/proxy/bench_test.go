package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// fastEngine answers every request with the same bytes, as cheaply as a Go program
// can, so that what is measured is the proxy.
func fastEngine(b testing.TB, answer string) string {
	return rawEngine(b, func(c net.Conn) {
		c.SetDeadline(noDeadline)
		buf := make([]byte, 16<<10)
		for have := 0; ; {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			head := bytes.Index(buf[:have], []byte("\r\n\r\n"))
			if head < 0 || have < head+4+len(benchBody) {
				continue // the model's names in the benchmark are equally long
			}
			have = 0
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

const benchBody = `{"model":"alias","messages":[{"role":"user","content":"What is the way to the station, please? I have a heavy bag, so a short one would be best, and if there is a bus I would rather take that than walk for more than five minutes in this rain of yours."}],"max_tokens":64,"temperature":0.7}`

func jsonAnswer() string {
	body := `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"targe","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 90) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":50,"completion_tokens":90,"total_tokens":140}}`
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func streamAnswer(events int) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range events {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(token("x")), token("x"))
	}
	fmt.Fprintf(&b, "%x\r\n%s\r\n0\r\n\r\n", len(done), done)
	return b.String()
}

// benchWorld serves the alias from one engine with the real scheduler.
func benchWorld(b *testing.B, answer string, restore bool) *world {
	p := pool("a", fastEngine(b, answer))
	p.Rules = map[string]*routing.ModelRule{
		"alias": routing.NewModelRule("InferenceModel default/m", "alias", []routing.Target{{Model: "targe", Weight: 1}}, restore, 0),
	}
	return newWorld(b, serving(to(p, p)), func(o *Options) {
		o.Picker = scheduling.New(scheduling.Options{})
		o.Observer = nil
	})
}

// drive sends b.N requests over keep-alive connections with as little work as
// possible.
func drive(b *testing.B, address string) {
	request := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: models.example\r\nContent-Type: application/json\r\n"+
		"User-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n\r\n%s", len(benchBody), benchBody)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	defer func() { b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op") }()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for pb.Next() {
			if _, err := io.WriteString(c, request); err != nil {
				b.Error(err)
				return
			}
			if err := skipAnswer(r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// cpuTime is what the process has used; client and engine are part of it, so only
// differences between benchmarks mean something.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// skipAnswer reads one answer of known length or in chunks, without allocating.
func skipAnswer(r *bufio.Reader) error {
	length, status := -1, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if status && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answer begins %q", line)
		}
		status = false
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			n, _ := parseDigits(bytes.TrimSpace(v), 10)
			length = int(n)
		}
		if len(line) <= 2 {
			break
		}
	}
	if length >= 0 {
		_, err := r.Discard(length)
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, _ := parseDigits(bytes.TrimSpace(line), 16)
		if _, err := r.Discard(int(n) + 2); err != nil || n == 0 {
			return err
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, restore := range []bool{false, true} {
		b.Run(fmt.Sprintf("restore=%v", restore), func(b *testing.B) {
			w := benchWorld(b, jsonAnswer(), restore)
			drive(b, w.listeners.Addr(80).String())
		})
	}
}

func BenchmarkStreamOf100Events(b *testing.B) {
	w := benchWorld(b, streamAnswer(100), false)
	drive(b, w.listeners.Addr(80).String())
}

// BenchmarkReverseProxy is the measure: net/http/httputil's, tuned, which reads the
// body and splices the model as we do, but neither picks nor meters.
func BenchmarkReverseProxy(b *testing.B) {
	target, _ := url.Parse("http://" + fastEngine(b, jsonAnswer()))
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			body, _ := io.ReadAll(r.In.Body)
			request, _ := llm.Scan(body)
			parts := request.WithModel(body, "targe")
			r.Out.Body = io.NopCloser(io.MultiReader(bytes.NewReader(parts[0]), bytes.NewReader(parts[1]), bytes.NewReader(parts[2])))
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true},
		BufferPool: benchBuffers{make(chan []byte, 64)},
	}
	s := httptest.NewServer(proxy)
	defer s.Close()
	defer proxy.Transport.(*http.Transport).CloseIdleConnections()
	drive(b, s.Listener.Addr().String())
}

type benchBuffers struct{ free chan []byte }

func (p benchBuffers) Get() []byte {
	select {
	case b := <-p.free:
		return b
	default:
		return make([]byte, 32<<10)
	}
}

func (p benchBuffers) Put(b []byte) {
	select {
	case p.free <- b:
	default:
	}
}

// BenchmarkNoProxy is what client and engine take without anything between them.
func BenchmarkNoProxy(b *testing.B) { drive(b, fastEngine(b, jsonAnswer())) }

// BenchmarkHandler is the handler alone, without a server, a socket to the client
// or the server's allocations.
func BenchmarkHandler(b *testing.B) {
	for _, rollout := range []bool{false, true} {
		b.Run(fmt.Sprintf("rollout=%v", rollout), func(b *testing.B) { benchHandler(b, rollout) })
	}
}

// benchHandler serves one request after the other, under a rollout of two pools whose
// sessions are known by the credential if so.
func benchHandler(b *testing.B, rollout bool) {
	w := benchWorld(b, jsonAnswer(), false)
	if rollout {
		p := pool("a", fastEngine(b, jsonAnswer()))
		rule := to(p, p)
		rule.Assignment = &routing.Assignment{Rollout: "n/r", Attempt: 1, Candidate: 1, Share: 2500, Salt: "s", Keys: []routing.Key{{Consumer: true}}, Watched: true}
		rule.Assignment.Seal()
		w.publish(serving(rule))
	}
	h := w.proxy.Handler(80)
	body := strings.NewReader(benchBody)
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"bench"}, "Accept": {"*/*"}, "Authorization": {"Bearer key"}}
	r.ContentLength = int64(len(benchBody))
	r = r.WithContext(b.Context())
	answer := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(benchBody)
		r.Body = io.NopCloser(body)
		clear(answer.header)
		h.ServeHTTP(answer, r)
	}
}

// nowhere is a ResponseWriter for bodies nobody reads.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// SetReadDeadline exists so that it is not reported as unsupported, which allocates.
func (w *nowhere) SetReadDeadline(time.Time) error { return nil }
