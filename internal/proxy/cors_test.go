package proxy

import (
	"io"
	"net/http"
	"testing"

	"crossfade.dev/internal/routing"
	"github.com/google/go-cmp/cmp"
)

// corsFields are the fields of h that are about other origins.
func corsFields(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range []string{corsAllowOrigin, corsAllowCredentials, corsAllowMethods, corsAllowHeaders, corsExposeHeaders, corsMaxAge, "Vary"} {
		if v, ok := h[name]; ok {
			out[name] = v
		}
	}
	return out
}

func originsOf(t *testing.T, list ...string) (out []routing.Origin) {
	for _, s := range list {
		o, ok := routing.ParseOrigin(s)
		if !ok {
			t.Fatal(s)
		}
		out = append(out, o)
	}
	return out
}

// permissive is an engine that allows every page everything.
func permissive(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(corsAllowOrigin, "*")
	w.Header().Set(corsAllowMethods, "PATCH")
	w.Header().Set("X-Answer", "1")
	io.WriteString(w, "answer")
}

func TestCORS(t *testing.T) {
	listed := &routing.CORS{Origins: originsOf(t, "https://a.example", "https://*.b.example"), Methods: []string{"GET", "PUT"},
		Headers: []string{"x-one", "x-two"}, Expose: []string{"x-three"}, MaxAge: 60}
	listedFor := func(origin string) http.Header {
		return http.Header{corsAllowOrigin: {origin}, corsAllowMethods: {"GET, PUT"}, corsAllowHeaders: {"x-one, x-two"},
			corsExposeHeaders: {"x-three"}, corsMaxAge: {"60"}, "Vary": {"Origin", preflightVary}}
	}
	open := &routing.CORS{AnyOrigin: true, AnyMethod: true, AnyHeader: true, ExposeAny: true, MaxAge: 5}
	openAndTrusted := &routing.CORS{AnyOrigin: true, AnyMethod: true, AnyHeader: true, ExposeAny: true, Credential: true, MaxAge: 5}
	silent := &routing.CORS{Origins: originsOf(t, "https://a.example"), MaxAge: 5}
	preflight := []string{corsRequestMethod, "PUT", corsRequestHeaders, "x-one, x-nine"}
	cases := map[string]struct {
		cors   *routing.CORS
		method string
		header []string
		status int
		want   http.Header
	}{
		"preflight":                  {listed, "OPTIONS", append(preflight, "Origin", "https://a.example"), 204, listedFor("https://a.example")},
		"preflight of a subdomain":   {listed, "OPTIONS", append(preflight, "Origin", "https://x.y.b.example"), 204, listedFor("https://x.y.b.example")},
		"preflight of a stranger":    {listed, "OPTIONS", append(preflight, "Origin", "https://c.example"), 204, http.Header{"Vary": {"Origin", preflightVary}}},
		"preflight of two origins":   {listed, "OPTIONS", append(preflight, "Origin", "https://a.example", "Origin", "https://c.example"), 204, http.Header{"Vary": {"Origin", preflightVary}}},
		"preflight where all may":    {open, "OPTIONS", append(preflight, "Origin", "null"), 204, http.Header{corsAllowOrigin: {"*"}, corsAllowMethods: {"*"}, corsAllowHeaders: {"*"}, corsExposeHeaders: {"*"}, corsMaxAge: {"5"}, "Vary": {preflightVary}}},
		"preflight with credentials": {openAndTrusted, "OPTIONS", append(preflight, "Origin", "https://c.example"), 204, http.Header{corsAllowOrigin: {"https://c.example"}, corsAllowCredentials: {"true"}, corsAllowMethods: {"PUT"}, corsAllowHeaders: {"x-one, x-nine"}, corsExposeHeaders: {"Access-Control-Allow-Credentials, Access-Control-Allow-Origin, Vary"}, corsMaxAge: {"5"}, "Vary": {"Origin", preflightVary}}},
		"preflight without lists":    {silent, "OPTIONS", append(preflight, "Origin", "https://a.example"), 204, http.Header{corsAllowOrigin: {"https://a.example"}, corsMaxAge: {"5"}, "Vary": {"Origin", preflightVary}}},
		"OPTIONS that is none":       {listed, "OPTIONS", []string{"Origin", "https://a.example"}, 200, http.Header{corsAllowOrigin: {"https://a.example"}, corsExposeHeaders: {"x-three"}, "Vary": {"Origin"}}},
		"request":                    {listed, "GET", []string{"Origin", "https://a.example"}, 200, http.Header{corsAllowOrigin: {"https://a.example"}, corsExposeHeaders: {"x-three"}, "Vary": {"Origin"}}},
		"request of a stranger":      {listed, "GET", []string{"Origin", "https://c.example"}, 200, http.Header{"Vary": {"Origin"}}},
		"request without an origin":  {listed, "GET", nil, 200, http.Header{"Vary": {"Origin"}}},
		"request where all may":      {open, "GET", []string{"Origin", "https://c.example"}, 200, http.Header{corsAllowOrigin: {"*"}, corsExposeHeaders: {"*"}}},
		"no filter":                  {nil, "GET", []string{"Origin", "https://c.example"}, 200, http.Header{corsAllowOrigin: {"*"}, corsAllowMethods: {"PATCH"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rule := to(service("a", engine(t, permissive)))
			rule.Filters.CORS = c.cors
			w := newWorld(t, serving(rule))
			a := w.send(w.request(c.method, "/", nil), c.header...)
			if a.status != c.status {
				t.Errorf("status is %d, want %d", a.status, c.status)
			}
			if d := cmp.Diff(c.want, corsFields(a.header)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

const preflightVary = corsRequestMethod + ", " + corsRequestHeaders

// TestCORSOfTheGatewaysOwnAnswers lets pages read why they got nothing.
func TestCORSOfTheGatewaysOwnAnswers(t *testing.T) {
	rule := to(service("a"))
	rule.Filters.CORS = &routing.CORS{Origins: originsOf(t, "https://a.example"), MaxAge: 5}
	w := newWorld(t, serving(rule))
	a := w.get("/", "Origin", "https://a.example")
	isOpenAIError(t, a, 503, "No endpoint")
	if got := a.header.Get(corsAllowOrigin); got != "https://a.example" {
		t.Errorf("%s is %q", corsAllowOrigin, got)
	}
}
