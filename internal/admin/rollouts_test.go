package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rolloutServer serves rollouts b and a; Ask answers by the verb.
func rolloutServer(t *testing.T) *httptest.Server {
	named := func(name string) *cfv1a1.InferenceRollout {
		return &cfv1a1.InferenceRollout{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
	}
	server := httptest.NewServer(Handler(Sources{
		Rollouts: func() []*cfv1a1.InferenceRollout { return []*cfv1a1.InferenceRollout{named("b"), named("a")} },
		Ask: func(_ context.Context, namespace, name string, r cfv1a1.RolloutRequest) (*cfv1a1.InferenceRollout, bool, error) {
			switch r.Verb {
			case "retry":
				return nil, false, fmt.Errorf("%w: the rollout is Promoted", ErrConflict)
			case "undo":
				return nil, false, errors.New("the disk is full")
			}
			if namespace != "n" {
				return nil, false, ErrNotFound
			}
			return named(name), r.Verb != "pause", nil
		},
	}, prometheus.NewRegistry()))
	t.Cleanup(server.Close)
	return server
}

func TestRolloutList(t *testing.T) {
	resp, err := http.Get(rolloutServer(t).URL + "/rollouts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list RolloutList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list.Items) != 2 || list.Items[0].Name != "a" {
		t.Errorf("%+v, error %v", list, err)
	}
}

func TestRolloutVerbs(t *testing.T) {
	server := rolloutServer(t)
	for name, c := range map[string]struct {
		path, body string
		header     map[string]string
		status     int
		holds      string
	}{
		"taken":       {body: `{"verb":"abort","attempt":1,"reason":"slow","by":"ann","id":"x"}`, status: 200, holds: `"name": "a"`},
		"not yet":     {body: `{"verb":"pause"}`, status: 202, holds: `"name": "a"`},
		"share":       {body: `{"verb":"set-share","percent":12.5,"attempt":1}`, status: 200},
		"refused":     {body: `{"verb":"retry"}`, status: 409, holds: "the rollout is Promoted"},
		"failed":      {body: `{"verb":"undo"}`, status: 500, holds: "the disk is full"},
		"elsewhere":   {path: "/rollouts/m/a/request", body: `{"verb":"abort"}`, status: 404, holds: "no InferenceRollout m/a"},
		"charset":     {body: `{"verb":"abort"}`, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}, status: 200},
		"form":        {body: `{"verb":"abort"}`, header: map[string]string{"Content-Type": "text/plain"}, status: 415, holds: "application/json"},
		"no type":     {body: `{"verb":"abort"}`, header: map[string]string{"Content-Type": ""}, status: 415},
		"other page":  {body: `{"verb":"abort"}`, header: map[string]string{"Origin": "http://elsewhere.test"}, status: 403},
		"no verb":     {body: `{"verb":"explode"}`, status: 400, holds: "set-share"},
		"nothing":     {body: ``, status: 400, holds: "cannot be read"},
		"no JSON":     {body: `abort`, status: 400, holds: "cannot be read"},
		"other field": {body: `{"verb":"abort","wait":true}`, status: 400, holds: "wait"},
		"two":         {body: `{"verb":"abort"}{}`, status: 400, holds: "more than one"},
		"percent":     {body: `{"verb":"set-share","percent":101}`, status: 400, holds: "between 0 and 100"},
		"percent of":  {body: `{"verb":"abort","percent":1}`, status: 400, holds: "set-share alone"},
		"negative":    {body: `{"verb":"abort","attempt":-1}`, status: 400, holds: "negative"},
		"long reason": {body: `{"verb":"abort","reason":"` + strings.Repeat("x", 2000) + `"}`, status: 400, holds: "too long"},
		"too long":    {body: `{"verb":"abort","reason":"` + strings.Repeat("x", maxRequest) + `"}`, status: 413},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/rollouts/n/a/request"
			}
			r, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.holds) {
				t.Errorf("%d %q, error %v; want %d with %q", resp.StatusCode, body, err, c.status, c.holds)
			}
		})
	}
}

// Where the API server has the rollouts there are no such pages.
func TestNoRolloutPages(t *testing.T) {
	server := httptest.NewServer(Handler(Sources{}, prometheus.NewRegistry()))
	defer server.Close()
	resp, err := http.Get(server.URL + "/rollouts")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("%d", resp.StatusCode)
	}
}

// TestNamesOfOthers shows that a page in a browser of this machine cannot get in by
// having its own name mean 127.0.0.1.
func TestNamesOfOthers(t *testing.T) {
	asked := 0
	h := Handler(Sources{
		Rollouts: func() []*cfv1a1.InferenceRollout { return nil },
		Ask: func(context.Context, string, string, cfv1a1.RolloutRequest) (*cfv1a1.InferenceRollout, bool, error) {
			asked++
			return &cfv1a1.InferenceRollout{}, true, nil
		},
	}, prometheus.NewRegistry())
	for _, c := range []struct {
		from, host string
		want       int
	}{
		{"127.0.0.1:4000", "127.0.0.1:9100", 200}, {"127.0.0.1:4000", "LOCALHOST:9100", 200}, {"127.0.0.1:4000", "localhost.", 200},
		{"[::1]:4000", "[::1]:9100", 200}, {"[::1]:4000", "[::1]", 200}, {"127.0.0.1:4000", "", 200}, {"127.0.0.1:4000", "gw.localhost:9100", 200},
		{"127.0.0.1:4000", "evil.example:9100", 421}, {"[::1]:4000", "localhost.evil.example", 421}, {"127.0.0.1:4000", "127.0.0.1.evil.example:9100", 421},
		{"127.0.0.1:4000", "evillocalhost", 421},
		{"10.0.0.7:4000", "gateway.llm.svc:9100", 200}, // such as Prometheus
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			target := "/rollouts"
			if method == http.MethodPost {
				target = "/rollouts/llm/chat/request"
			}
			r := httptest.NewRequest(method, target, strings.NewReader(`{"verb":"abort"}`))
			r.RemoteAddr, r.Host = c.from, c.host
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Origin", "http://"+c.host)
			before := asked
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want || (asked > before) != (method == http.MethodPost && c.want == 200) {
				t.Errorf("%s from %s for %q: status %d, want %d: %s", method, c.from, c.host, w.Code, c.want, w.Body)
			}
		}
	}
}
