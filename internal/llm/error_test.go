package llm

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    *Error
		status int
		json   string
	}{
		{BadRequest("model", `say "what"`), 400,
			`{"error":{"message":"say \"what\"","type":"invalid_request_error","param":"model","code":null}}`},
		{MissingModel(), 400,
			`{"error":{"message":"The request names no model; set \"model\" to one that GET /v1/models lists.","type":"invalid_request_error","param":"model","code":null}}`},
		{ModelNotFound("a\nb\xff"), 404,
			"{\"error\":{\"message\":\"No model named `a\\nb\uFFFD` is served here; GET /v1/models lists those that are.\",\"type\":\"invalid_request_error\",\"param\":\"model\",\"code\":\"model_not_found\"}}"},
		{RouteNotFound(), 404,
			`{"error":{"message":"No route matches this host, path and method.","type":"invalid_request_error","param":null,"code":"route_not_found"}}`},
		{TooLarge(1024, "bufferLimit"), 413,
			`{"error":{"message":"The request body is larger than 1024 bytes, the limit set by bufferLimit; send less or have the limit raised.","type":"invalid_request_error","param":null,"code":"body_too_large"}}`},
		{RateLimited("m"), 429, `{"error":{"message":"m","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`},
		{Internal("m"), 500, `{"error":{"message":"m","type":"server_error","param":null,"code":"internal_error"}}`},
		{BadGateway("m"), 502, `{"error":{"message":"m","type":"server_error","param":null,"code":"bad_gateway"}}`},
		{Overloaded("m"), 503, `{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}`},
		{Unavailable("m"), 503, `{"error":{"message":"m","type":"server_error","param":null,"code":"unavailable"}}`},
		{GatewayTimeout("m"), 504, `{"error":{"message":"m","type":"server_error","param":null,"code":"timeout"}}`},
	} {
		if c.err.Status != c.status {
			t.Errorf("%v: status %d, want %d", c.err, c.err.Status, c.status)
		}
		if got := string(c.err.JSON()); got != c.json {
			t.Errorf("%v\n got %s\nwant %s", c.err, got, c.json)
		}
		if !json.Valid(c.err.JSON()) {
			t.Errorf("%v is not JSON", c.err)
		}
		if events := slowEvents(string(c.err.Event())); len(events) != 1 || events[0] != c.json {
			t.Errorf("%v as an event: %q", c.err, events)
		}
	}
	if got := Overloaded("full").Error(); got != "503 overloaded: full" {
		t.Error(got)
	}
	if got := BadRequest("", "bad").Error(); got != "400: bad" {
		t.Error(got)
	}
}

// Every fault has a remedy of its own, and none reads like another's.
func TestFaultRemedies(t *testing.T) {
	seen := map[string]fault{}
	for f := faultEmpty; f <= faultTrailing; f++ {
		r := f.remedy()
		if other, twice := seen[r]; twice || r == faultNone.remedy() || strings.HasSuffix(r, ".") {
			t.Errorf("fault %d says %q, like %d", f, r, other)
		}
		seen[r] = f
	}
}

// TestAppendQuoted requires that encoding/json reads back what was quoted.
func TestAppendQuoted(t *testing.T) {
	for c := range 0x300 {
		for _, s := range []string{string(rune(c)), "a" + string(rune(c)) + "b", string([]byte{byte(c)})} {
			var back string
			if err := json.Unmarshal(appendQuoted(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "\uFFFD") {
				t.Errorf("%q became %s, read back as %q, %v", s, appendQuoted(nil, s), back, err)
			}
		}
	}
}
