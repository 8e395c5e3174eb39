package routing

import "testing"

func TestAllowsOrigin(t *testing.T) {
	of := func(patterns ...string) *CORS {
		c := &CORS{}
		for _, p := range patterns {
			o, ok := ParseOrigin(p)
			if !ok {
				t.Fatalf("%q is no origin", p)
			}
			c.Origins = append(c.Origins, o)
		}
		return c
	}
	cases := []struct {
		cors   *CORS
		origin string
		want   bool
	}{
		{of("https://a.example"), "https://a.example", true},
		{of("https://a.example"), "HTTPS://A.example", true},
		{of("https://a.example"), "https://a.example:443", true},
		{of("http://a.example:80"), "http://a.example", true},
		{of("https://a.example"), "https://a.example:8443", false},
		{of("https://a.example"), "http://a.example", false},
		{of("https://a.example"), "https://a.example.evil", false},
		{of("https://a.example"), "https://x.a.example", false},
		{of("https://a.example"), "null", false},
		{of("https://a.example"), "", false},
		{of("https://*.example"), "https://a.example", true},
		{of("https://*.example"), "https://b.a.example", true},
		{of("https://*.example"), "https://example", false},
		{of("https://*.example"), "https://.example", false},
		{of("https://*.example"), "https://evil/.example", false},
		{of("https://*.example"), "https://user@a.example", false},
		{of("https://*"), "https://anything", true},
		{of("https://*"), "https://anything:1", false},
		{of("https://*:1"), "https://anything:1", true},
		{of("http://[::1]:3000"), "http://[::1]:3000", true},
		{of("http://[::1]"), "http://[::1]", true},
		{&CORS{AnyOrigin: true}, "null", true},
		{&CORS{AnyOrigin: true}, "", false},
	}
	for _, c := range cases {
		if got := c.cors.AllowsOrigin(c.origin); got != c.want {
			t.Errorf("%s allows %q: %v, want %v", c.cors, c.origin, got, c.want)
		}
	}
}
