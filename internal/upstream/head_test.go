package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBadResponses lists answers that must be refused: in Do when the head is bad, in Read when
// the body is.
func TestBadResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	long := strings.Repeat("x", 64<<10)
	tests := []struct{ name, script, want string }{
		{"empty line first", "\r\n" + ok + "\r\n", "status line"},
		{"no version", "200 OK\r\n\r\n", "status line"},
		{"wrong protocol", "HTTPS/1.1 200 OK\r\n\r\n", "status line"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "status line"},
		{"two-digit minor", "HTTP/1.10 200 OK\r\n\r\n", "status line"},
		{"lower-case protocol", "http/1.1 200 OK\r\n\r\n", "status line"},
		{"short code", "HTTP/1.1 20 OK\r\n\r\n", "status"},
		{"long code", "HTTP/1.1 2000 OK\r\n\r\n", "status line"},
		{"code is no number", "HTTP/1.1 2x0 OK\r\n\r\n", "status code"},
		{"code under 100", "HTTP/1.1 099 OK\r\n\r\n", "status code"},
		{"two spaces before code", "HTTP/1.1  200 OK\r\n\r\n", "status"},
		{"NUL in reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "control character"},
		{"bare CR in reason", "HTTP/1.1 200 O\rK\r\n\r\n", "control character"},
		{"bare LF after status line", "HTTP/1.1 200 OK\nA: b\r\n\r\n", "CRLF"},
		{"bare LF after field", ok + "A: b\nC: d\r\n\r\n", "CRLF"},
		{"bare LF ends head", ok + "A: b\r\n\n", "CRLF"},
		{"bare CR in value", ok + "A: b\rC: d\r\n\r\n", "control character"},
		{"bare CR around value", ok + "A:\rb\r\r\n\r\n", "control character"},
		{"NUL in value", ok + "A: b\x00\r\n\r\n", "control character"},
		{"obs-fold", ok + "A: b\r\n c\r\n\r\n", "folded"},
		{"fold in first field", ok + " A: b\r\n\r\n", "folded"},
		{"space before colon", ok + "A : b\r\n\r\n", "field name"},
		{"empty name", ok + ": b\r\n\r\n", "field name"},
		{"no colon", ok + "A\r\n\r\n", "colon"},
		{"space in name", ok + "A B: c\r\n\r\n", "field name"},
		{"CL and TE", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "both"},
		{"TE and CL in odd case", ok + "tRansfer-eNcoding: chunked\r\ncOntent-lEngth: 1\r\n\r\n", "both"},
		{"differing CL", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "conflicting"},
		{"CL list", ok + "Content-Length: 1, 1\r\n\r\na", "Content-Length"},
		{"signed CL", ok + "Content-Length: +1\r\n\r\na", "Content-Length"},
		{"negative CL", ok + "Content-Length: -1\r\n\r\na", "Content-Length"},
		{"empty CL", ok + "Content-Length:\r\n\r\na", "Content-Length"},
		{"huge CL", ok + "Content-Length: 9999999999999999999\r\n\r\na", "Content-Length"},
		{"unknown coding", ok + "Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"},
		{"stacked codings", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"},
		{"chunked twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"},
		{"empty TE", ok + "Transfer-Encoding:\r\n\r\n", "Transfer-Encoding"},
		{"chunked over HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"},
		{"long value", ok + "A: " + long + "\r\n\r\n", "limit"},
		{"many fields", ok + strings.Repeat("A: b\r\n", 11000) + "\r\n", "limit"},
		{"many interim responses", strings.Repeat("HTTP/1.1 102 Busy\r\n\r\n", 4000) + ok + "\r\n", "limit"},
		{"unasked 101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "unasked"},
		{"cut in head", ok + "A: b\r\n", "unexpected EOF"},
		{"cut after interim", "HTTP/1.1 100 Continue\r\n\r\n", "unexpected EOF"},

		{"short body", ok + "Content-Length: 3\r\n\r\nab", "unexpected EOF"},
		{"empty chunk size", chunked + "\r\nab\r\n0\r\n\r\n", "chunk"},
		{"chunk size no hex", chunked + "g\r\nab\r\n0\r\n\r\n", "chunk"},
		{"0x chunk size", chunked + "0x2\r\nab\r\n0\r\n\r\n", "chunk"},
		{"signed chunk size", chunked + "+2\r\nab\r\n0\r\n\r\n", "chunk"},
		{"space before chunk size", chunked + " 2\r\nab\r\n0\r\n\r\n", "chunk"},
		{"huge chunk size", chunked + "10000000000000000\r\nab\r\n0\r\n\r\n", "chunk"},
		{"bare LF after size", chunked + "2\nab\r\n0\r\n\r\n", "chunk"},
		{"bare CR after size", chunked + "2\rXab\r\n0\r\n\r\n", "chunk"},
		{"text after size", chunked + "2 x\r\nab\r\n0\r\n\r\n", "chunk"},
		{"LF in extension", chunked + "2;a\nb\r\nab\r\n0\r\n\r\n", "chunk"},
		{"chunk longer than said", chunked + "2\r\nabc\r\n0\r\n\r\n", "chunk"},
		{"bare LF after chunk", chunked + "2\r\nab\n0\r\n\r\n", "chunk"},
		{"bare LF at the end", chunked + "0\r\n\n", "CRLF"},
		{"cut in size", chunked + "2", "unexpected EOF"},
		{"cut in chunk", chunked + "2\r\na", "unexpected EOF"},
		{"cut before last chunk", chunked + "2\r\nab\r\n", "unexpected EOF"},
		{"cut before trailer end", chunked + "0\r\n", "unexpected EOF"},
		{"long extension", chunked + "2;" + long + "\r\nab\r\n0\r\n\r\n", "extensions over"},
		{"many extensions", chunked + strings.Repeat("1;aaaaaaaaaaaaaaaaaaaa\r\na\r\n", 1000) + "0\r\n\r\n", "extensions over"},
		{"long trailer", chunked + "0\r\nA: " + long + "\r\n\r\n", "trailer section over"},
		{"trailer without colon", chunked + "0\r\nA\r\n\r\n", "colon"},
		{"folded trailer", chunked + "0\r\nA: b\r\n c\r\n\r\n", "folded"},
		{"bare LF in trailer", chunked + "0\r\nA: b\nC: d\r\n\r\n", "CRLF"},
		{"bare CR in trailer", chunked + "0\r\nA: b\rC: d\r\n\r\n", "CRLF"},
		{"NUL in trailer", chunked + "0\r\nA: b\x00\r\n\r\n", "control character"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 7} {
				resp, err := scripted(t, test.script, size).Do(t.Context(), "m:1", get("/"))
				if err == nil {
					_, err = io.ReadAll(resp)
				}
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("in reads of %d: error %v, want one with %q", size, err, test.want)
				}
				if e := asError(t, err); e.BeforeFirstByte || e.Timeout || e.Reused {
					t.Errorf("in reads of %d: error claims too much: %+v", size, *e)
				}
			}
		})
	}
}

// TestGoodResponses lists the unusual but allowed.
func TestGoodResponses(t *testing.T) {
	tests := []struct {
		name, method, script string
		status               int
		length               int64
		header               map[string][]string
		body                 string
		reusable             bool
	}{
		{
			name: "values keep their order and case", script: "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nX-oDD-name:  v \t\r\nSet-Cookie: b=2\r\nSET-COOKIE: c=3\r\nContent-Length: 2\r\n\r\nhi",
			status: 200, length: 2, body: "hi", reusable: true,
			header: map[string][]string{"Set-Cookie": {"a=1", "b=2", "c=3"}, "X-Odd-Name": {"v"}, "Content-Length": {"2"}},
		}, {
			name: "no reason", script: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
			status: 200, header: map[string][]string{"Content-Length": {"0"}}, reusable: true,
		}, {
			name: "unknown status", script: "HTTP/1.1 799 \r\nContent-Length: 0\r\n\r\n",
			status: 799, header: map[string][]string{"Content-Length": {"0"}}, reusable: true,
		}, {
			name: "same length twice", script: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a", reusable: true,
		}, {
			name: "until close", script: "HTTP/1.1 200 OK\r\n\r\nuntil the end",
			status: 200, length: -1, header: map[string][]string{}, body: "until the end",
		}, {
			name: "Connection: close", script: "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nFoo: x\r\nContent-Length: 1\r\n\r\na",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a",
		}, {
			name: "HTTP/1.0", script: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a",
		}, {
			name: "HTTP/1.0 that stays", script: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 1\r\n\r\na",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a", reusable: true,
		}, {
			name: "HEAD with a length", method: "HEAD", script: "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n",
			status: 200, length: 700, header: map[string][]string{"Content-Length": {"700"}}, reusable: true,
		}, {
			name: "HEAD with chunks", method: "HEAD", script: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			status: 200, length: -1, header: map[string][]string{}, reusable: true,
		}, {
			name: "204", script: "HTTP/1.1 204 No Content\r\n\r\n",
			status: 204, length: -1, header: map[string][]string{}, reusable: true,
		}, {
			name: "304 with a length", script: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n",
			status: 304, length: 9, header: map[string][]string{"Content-Length": {"9"}, "Etag": {`"x"`}}, reusable: true,
		}, {
			name: "204 with a body all the same", script: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
			status: 204, length: 2, header: map[string][]string{"Content-Length": {"2"}},
		}, {
			name: "interim responses", script: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a", reusable: true,
		}, {
			name: "chunks with extensions", script: "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;a=\"b\"; c\r\nabc\r\n00A \t\r\n0123456789\r\n000\r\n\r\n",
			status: 200, length: -1, header: map[string][]string{}, body: "abc0123456789", reusable: true,
		}, {
			name: "bytes behind the end", script: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n",
			status: 200, length: 1, header: map[string][]string{"Content-Length": {"1"}}, body: "a",
		}, {
			name: "bytes behind the last chunk", script: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP",
			status: 200, length: -1, header: map[string][]string{}, body: "a",
		}, {
			name: "hop-by-hop fields", script: "HTTP/1.1 200 OK\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTE: x\r\nContent-Length: 0\r\n\r\n",
			status: 200, header: map[string][]string{"Content-Length": {"0"}}, reusable: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 7} {
				c := scripted(t, test.script, size)
				req := get("/")
				if test.method != "" {
					req.Method = test.method
				}
				resp, body := fetch(t, c, "m:1", req)
				if resp.Status != test.status || resp.ContentLength != test.length || body != test.body {
					t.Errorf("status %d length %d body %q, want %d %d %q",
						resp.Status, resp.ContentLength, body, test.status, test.length, test.body)
				}
				if diff := cmp.Diff(test.header, map[string][]string(resp.Header)); diff != "" {
					t.Errorf("header (-want +got):\n%s", diff)
				}
				// Read byte by byte, what follows the end is not seen here but by the check
				// before the next use.
				if reused := idleConns(c, "m:1") == 1; reused != test.reusable && size == 0 {
					t.Errorf("connection kept: %v, want %v", reused, test.reusable)
				}
			}
		})
	}
}

// TestBytesBehindDirectRead: as above, but found by a read that went straight to the caller.
func TestBytesBehindDirectRead(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
	for body, want := range map[string]int{"a": 1, "aHTTP/1.1 200 OK": 0} {
		c := scripted(t, head+body, len(head))
		if _, got := fetch(t, c, "m:1", get("/")); got != "a" {
			t.Errorf("body %q", got)
		}
		if n := idleConns(c, "m:1"); n != want {
			t.Errorf("%d connections kept after %q", n, body)
		}
	}
}

func TestTrailer(t *testing.T) {
	const script = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"1\r\na\r\n0\r\nX-Sum: 1\r\ncontent-length: 3\r\nHost: x\r\nx-sum: 2\r\n\r\n"
	for _, size := range []int{0, 1, 7} {
		resp, body := fetch(t, scripted(t, script, size), "m:1", get("/"))
		if body != "a" {
			t.Errorf("body %q", body)
		}
		if diff := cmp.Diff(map[string][]string{"X-Sum": {"1", "2"}}, map[string][]string(resp.Trailer)); diff != "" {
			t.Errorf("trailer (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"X-Sum"}, resp.Header["Trailer"]); diff != "" {
			t.Errorf("announcement (-want +got):\n%s", diff)
		}
	}
}

func TestInformational(t *testing.T) {
	const script = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Busy\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	var got []string
	req := get("/")
	req.Informational = func(status int, header http.Header) {
		got = append(got, fmt.Sprint(status, header["Link"]))
	}
	fetch(t, scripted(t, script, 0), "m:1", req)
	if diff := cmp.Diff([]string{"103 [</a>]", "102 []"}, got); diff != "" {
		t.Errorf("interim responses (-want +got):\n%s", diff)
	}
}

// TestHeadLimit finds the last head that fits and the first that does not.
func TestHeadLimit(t *testing.T) {
	const rest = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: \r\n\r\n"
	for extra, want := range map[int]bool{0: true, 1: false} {
		script := strings.Replace(rest, "A: ", "A: "+strings.Repeat("x", 64<<10-len(rest)+extra), 1)
		_, err := scripted(t, script, 0).Do(t.Context(), "m:1", get("/"))
		if (err == nil) != want || err != nil && !errors.Is(err, errHeadTooLong) {
			t.Errorf("head of %d bytes: %v", len(script), err)
		}
	}
}
