package proxy

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"crossfade.dev/internal/llm"
)

// onWire turns a readable request into what is sent: lines end in CRLF.
func onWire(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// Each request is ambiguous or malformed: it must be answered with an error, and
// what follows it on the connection must never be taken for a request.
func TestSmuggling(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\nHost: x\n\n"
	cases := map[string]struct {
		head   string
		status int
	}{
		"length and chunked":        {"POST / HTTP/1.1\nHost: x\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n", 400},
		"chunked and length":        {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n", 400},
		"length 0 and chunked":      {"POST / HTTP/1.1\nHost: x\nContent-Length: 0\nTransfer-Encoding: chunked\n\n0\n\n", 400},
		"two lengths":               {"POST / HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 6\n\nabcde", 400},
		"list of lengths":           {"POST / HTTP/1.1\nHost: x\nContent-Length: 5, 5\n\nabcde", 400},
		"signed length":             {"POST / HTTP/1.1\nHost: x\nContent-Length: +5\n\nabcde", 400},
		"negative length":           {"POST / HTTP/1.1\nHost: x\nContent-Length: -1\n\n", 400},
		"hex length":                {"POST / HTTP/1.1\nHost: x\nContent-Length: 0x5\n\nabcde", 400},
		"huge length":               {"POST / HTTP/1.1\nHost: x\nContent-Length: 99999999999999999999\n\n", 400},
		"unknown coding":            {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: xchunked\n\n0\n\n", 501},
		"two codings":               {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: gzip, chunked\n\n0\n\n", 501},
		"coding twice":              {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n", 501},
		"coding and identity":       {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n", 501},
		"coding in HTTP/1.0":        {"POST / HTTP/1.0\nHost: x\nTransfer-Encoding: chunked\n\n0\n\n", 400},
		"space before colon":        {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding : chunked\n\n0\n\n", 400},
		"space before length's":     {"POST / HTTP/1.1\nHost: x\nContent-Length : 5\n\nabcde", 400},
		"folded line":               {"POST / HTTP/1.1\nHost: x\nX: a\n b\nContent-Length: 0\n\n", 400},
		"folded coding":             {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding:\n chunked\n\n0\n\n", 400},
		"tab in coding":             {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: \vchunked\n\n0\n\n", 400},
		"two hosts":                 {"GET / HTTP/1.1\nHost: x\nHost: y\n\n", 400},
		"no host":                   {"GET / HTTP/1.1\n\n", 400},
		"bad host":                  {"GET / HTTP/1.1\nHost: x y\n\n", 400},
		"field without colon":       {"GET / HTTP/1.1\nHost: x\nGarbage\n\n", 400},
		"empty name":                {"GET / HTTP/1.1\nHost: x\n: v\n\n", 400},
		"control character":         {"GET / HTTP/1.1\nHost: x\nX: a\x00b\n\n", 400},
		"space in target":           {"GET /a b HTTP/1.1\nHost: x\n\n", 400},
		"no version":                {"GET /\n\n", 400},
		"fragment":                  {"GET /a#b HTTP/1.1\nHost: x\n\n", 400},
		"connect":                   {"CONNECT x:1 HTTP/1.1\nHost: x\n\n", 405},
		"chunk size is no number":   {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nzz\nabc\n0\n\n", 400},
		"chunk size is negative":    {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n-1\nabc\n0\n\n", 400},
		"chunk size with 0x":        {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n0x3\nabc\n0\n\n", 400},
		"chunk size overflows":      {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nfffffffffffffffff\nabc\n0\n\n", 400},
		"chunk longer than said":    {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n3\nabcdef\n0\n\n", 400},
		"chunk shorter than said":   {"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n9\nabc\n0\n\n", 400},
		"head larger than the most": {"GET / HTTP/1.1\nHost: x\nX: " + strings.Repeat("x", 80<<10) + "\n\n", 431},
	}
	asked := make(chan string, 100)
	w := newWorld(t, serving(to(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked <- r.RequestURI
	})))))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := w.dial()
			// These two are refused for what they ask, but framed well.
			framed := name == "connect" || name == "fragment"
			if !framed {
				c.head += smuggled
			}
			io.WriteString(conn, onWire(c.head))
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Header.Del("Date")
			isOpenAIError(t, answerSeen{status: resp.StatusCode, header: resp.Header, body: string(body)}, c.status, "")
			if framed {
				return
			}
			if rest, _ := io.ReadAll(r); len(rest) > 0 || !resp.Close {
				t.Errorf("the connection goes on (Close is %v) with %q", resp.Close, rest)
			}
			select {
			case path := <-asked:
				t.Errorf("the engine was asked for %s", path)
			default:
			}
		})
	}
}

// What looks odd but is framed in one way alone must pass, also when it shares the
// connection with what came before.
func TestGoodFramingPasses(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, echoing("a"))))))
	c := w.dial()
	r := bufio.NewReader(c)
	requests := []struct{ wire, body string }{
		{"GET / HTTP/1.1\nHost: x\n\n", ""},
		{"POST / HTTP/1.1\nHost: x\nContent-Length: 5\n\nGET /", "GET /"},
		{"POST / HTTP/1.1\nHost: x\nContent-Length: 3\nContent-Length: 3\n\nabc", "abc"},
		{"POST / HTTP/1.1\nHost: x\nTransfer-Encoding: Chunked\n\n3;ext=1\nabc\nA\n0123456789\n0\nTrailer: x\n\n", "abc0123456789"},
		{"\nGET / HTTP/1.1\nHost: x\n\n", ""},
		{"POST / HTTP/1.1\nHost: x\ncontent-LENGTH:3\n\n\n\na", "\r\n\r\na"[:3]},
	}
	for _, request := range requests[:5] {
		io.WriteString(c, onWire(request.wire))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%q: %v", request.wire, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if e := echoed(t, answerSeen{status: resp.StatusCode, body: string(body)}); e.Body != request.body {
			t.Errorf("engine got %q, want %q", e.Body, request.body)
		}
	}
}

func TestPipelinedFaultHitsItsRequestAlone(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, echoing("a"))))))
	c := w.dial()
	io.WriteString(c, onWire("GET /1 HTTP/1.1\nHost: x\n\nGET /2 HTTP/1.1\nHost: x\n\n"+
		"POST /3 HTTP/1.1\nHost: x\nContent-Length: 1\nTransfer-Encoding: chunked\n\n0\n\nGET /4 HTTP/1.1\nHost: x\n\n"))
	r := bufio.NewReader(c)
	for i, want := range []int{200, 200, 400} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("answer %d is %+v, %v", i+1, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the fault came %q", rest)
	}
	hasReason(t, w.last(3), llm.ReasonBadRequest)
}

func TestOptionsOfTheServer(t *testing.T) {
	w := newWorld(t, serving(to(pool("a"))))
	c := w.dial()
	io.WriteString(c, onWire("OPTIONS * HTTP/1.1\nHost: x\n\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 || resp.ContentLength != 0 {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
}

// faultOf runs framing over wire cut into pieces by r.
func faultOf(wire string, r *rand.Rand) (request int64, fault bool) {
	var f framing
	for len(wire) > 0 {
		n := 1 + r.IntN(len(wire))
		f.scan([]byte(wire[:n]))
		wire = wire[n:]
	}
	return f.requests, f.fault
}

func FuzzFramingIsTheSameHoweverItArrives(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET ", uint64(1))
	f.Add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: x\r\n\r\nGET / HTTP/1.1\r\n a\r\n", uint64(2))
	f.Add("\r\n\nPOST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", uint64(3))
	f.Fuzz(func(t *testing.T, wire string, seed uint64) {
		var whole framing
		whole.scan([]byte(wire))
		request, fault := faultOf(wire, rand.New(rand.NewPCG(seed, 0)))
		if request != whole.requests || fault != whole.fault {
			t.Errorf("whole: request %d, fault %v; in pieces: %d, %v", whole.requests, whole.fault, request, fault)
		}
	})
}

// Whatever net/http reads as one request with an unambiguous framing, framing must
// find the end of at the same byte.
func FuzzFramingAgreesWithNetHTTP(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	f.Add("POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 3\n\n0\n\n")
	f.Fuzz(func(t *testing.T, wire string) {
		const marker = "GET /marker HTTP/1.1\r\nHost: marker\r\n\r\n"
		r := bufio.NewReader(strings.NewReader(wire + marker))
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		var g framing
		g.scan([]byte((wire + marker)[:len(wire)+len(marker)-len(rest)]))
		if g.fault {
			return // stricter is fine
		}
		if g.state == framingHead && g.first && len(g.line) == 0 && g.requests == 2 || g.state == framingOff {
			return
		}
		t.Errorf("after one request, framing is %+v", g)
	})
}
