package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const emptyOK = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// written returns what req looks like on the wire, by the path that takes it in one write or,
// for streams, by the sender.
func written(t *testing.T, req *Request) (string, error) {
	t.Helper()
	sc := &scriptConn{script: []byte(emptyOK)}
	c := newClient(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return sc, nil }})
	resp, err := c.Do(t.Context(), "10.0.0.1:8000", req)
	if err != nil {
		return "", err
	}
	defer resp.Close()
	if resp.sender != nil {
		<-resp.sender.done
		if resp.sender.err != nil {
			return "", resp.sender.err
		}
	}
	return string(sc.sent), nil
}

func TestWrittenRequest(t *testing.T) {
	tests := []struct {
		name string
		req  Request
		want string
	}{
		{
			"no body", Request{Method: "GET", Target: "/v1/models?x=%20é", Host: "chat.example:8080"},
			"GET /v1/models?x=%20é HTTP/1.1\r\nHost: chat.example:8080\r\n\r\n",
		}, {
			"host of the endpoint", Request{Method: "OPTIONS", Target: "*"},
			"OPTIONS * HTTP/1.1\r\nHost: 10.0.0.1:8000\r\n\r\n",
		}, {
			"post without body", Request{Method: "POST", Target: "/"},
			"POST / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nContent-Length: 0\r\n\r\n",
		}, {
			"values in order", Request{Method: "GET", Target: "/", Header: http.Header{"X-Many": {"b", "", "a"}}},
			"GET / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nX-Many: b\r\nX-Many: \r\nX-Many: a\r\n\r\n",
		}, {
			"own fields are not copied, in whatever case",
			Request{Method: "POST", Target: "/", Body: [][]byte{[]byte("ab"), nil, []byte("c")}, Header: http.Header{
				"content-length": {"99"}, "TRANSFER-encoding": {"chunked"}, "connection": {"close"}, "Host": {"evil"},
				"Keep-Alive": {"1"}, "Te": {"trailers"}, "Trailer": {"X"}, "upgrade": {"h2c"}, "Proxy-Connection": {"x"},
			}},
			"POST / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nContent-Length: 3\r\n\r\nabc",
		}, {
			"stream with a length", Request{Method: "PUT", Target: "/", Stream: strings.NewReader("abcdef"), ContentLength: 3},
			"PUT / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nContent-Length: 3\r\n\r\nabc",
		}, {
			"empty stream", Request{Method: "GET", Target: "/", Stream: strings.NewReader("")},
			"GET / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nContent-Length: 0\r\n\r\n",
		}, {
			"stream of unknown length", Request{Method: "POST", Target: "/", Stream: strings.NewReader(strings.Repeat("x", 26)), ContentLength: -1, Trailer: http.Header{"X-Sum": {"1"}}},
			"POST / HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1a\r\n" + strings.Repeat("x", 26) + "\r\n0\r\nX-Sum: 1\r\n\r\n",
		}, {
			"upgrade", Request{Method: "GET", Target: "/ws", Upgrade: true, Header: http.Header{"Upgrade": {"websocket"}}},
			"GET /ws HTTP/1.1\r\nHost: 10.0.0.1:8000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := written(t, &test.req)
			if err != nil || got != test.want {
				t.Errorf("wrote %q, %v\nwant  %q", got, err, test.want)
			}
		})
	}
}

// TestBadRequests lists what must never reach a wire.
func TestBadRequests(t *testing.T) {
	tests := map[string]Request{
		"no method":              {Target: "/"},
		"method with blank":      {Method: "GET /", Target: "/"},
		"method with CRLF":       {Method: "GET\r\n", Target: "/"},
		"CONNECT":                {Method: "CONNECT", Target: "/"},
		"no target":              {Method: "GET"},
		"absolute target":        {Method: "GET", Target: "http://x/"},
		"relative target":        {Method: "GET", Target: "x"},
		"target with blank":      {Method: "GET", Target: "/a b"},
		"target with CRLF":       {Method: "GET", Target: "/ HTTP/1.1\r\nX: y\r\n"},
		"target with LF":         {Method: "GET", Target: "/\n"},
		"target with NUL":        {Method: "GET", Target: "/\x00"},
		"host with CRLF":         {Method: "GET", Target: "/", Host: "a\r\nX: y"},
		"host with blank":        {Method: "GET", Target: "/", Host: "a b"},
		"name with CRLF":         {Method: "GET", Target: "/", Header: http.Header{"A\r\nB": {"c"}}},
		"name with colon":        {Method: "GET", Target: "/", Header: http.Header{"A:": {"c"}}},
		"name with blank":        {Method: "GET", Target: "/", Header: http.Header{"Content-Length ": {"1"}}},
		"empty name":             {Method: "GET", Target: "/", Header: http.Header{"": {"c"}}},
		"value with CRLF":        {Method: "GET", Target: "/", Header: http.Header{"A": {"b\r\nContent-Length: 5"}}},
		"value with LF":          {Method: "GET", Target: "/", Header: http.Header{"A": {"ok", "b\n"}}},
		"value with CR":          {Method: "GET", Target: "/", Header: http.Header{"A": {"b\r"}}},
		"value with NUL":         {Method: "GET", Target: "/", Header: http.Header{"A": {"\x00"}}},
		"two bodies":             {Method: "POST", Target: "/", Body: [][]byte{{1}}, Stream: strings.NewReader("")},
		"negative length":        {Method: "POST", Target: "/", Stream: strings.NewReader(""), ContentLength: -2},
		"upgrade to nothing":     {Method: "GET", Target: "/", Upgrade: true},
		"upgrade with CRLF":      {Method: "GET", Target: "/", Upgrade: true, Header: http.Header{"Upgrade": {"a\r\nb: c"}}},
		"trailer name with CRLF": {Method: "POST", Target: "/", Stream: strings.NewReader(""), ContentLength: -1, Trailer: http.Header{"A\r\nB": {"c"}}},
	}
	for name, req := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("dialed")
				return nil, io.EOF
			}})
			if e := failure(t, c, "m:1", &req); e.Op != OpRequest || e.BeforeFirstByte {
				t.Errorf("error %+v", e)
			}
		})
	}
}

// TestBadTrailerValue covers what is only known after the head has been sent: the request is
// never completed then.
func TestBadTrailerValue(t *testing.T) {
	for name, trailer := range map[string]http.Header{
		"CRLF":    {"X-Sum": {"1\r\n\r\nGET / HTTP/1.1"}},
		"framing": {"Content-Range": {"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			unread := make(chan string, 1)
			addr := listen(t, func(_ int, nc net.Conn) {
				all, _ := io.ReadAll(nc)
				unread <- string(all)
			})
			e := failure(t, newClient(t, Options{}), addr, &Request{Method: "POST", Target: "/",
				Stream: strings.NewReader("abc"), ContentLength: -1, Trailer: trailer})
			if e.Op != OpStream || e.BeforeFirstByte {
				t.Errorf("error %+v", e)
			}
			if got := <-unread; !strings.HasSuffix(got, "3\r\nabc\r\n") {
				t.Errorf("server received %q", got)
			}
		})
	}
}

// writeCounter counts the writes that reach a connection.
type writeCounter struct {
	net.Conn
	writes int
}

func (c *writeCounter) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

func TestOneWritePerRequest(t *testing.T) {
	addr := answering(t, emptyOK)
	var counter *writeCounter
	c := newClient(t, Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		counter = &writeCounter{Conn: nc}
		return counter, err
	}})
	for range 3 {
		fetch(t, c, addr, post(strings.Repeat("x", 8<<10)))
	}
	if counter.writes != 3 {
		t.Errorf("%d writes for 3 requests", counter.writes)
	}
}
