package routing

import (
	"fmt"
	"strings"
)

// CORS says which pages of other origins may use the answers of a rule (Fetch
// standard, CORS protocol; HTTPCORSFilter, Gateway API).
type CORS struct {
	// Origins that are allowed; AnyOrigin allows all.
	Origins   []Origin
	AnyOrigin bool
	// Methods and Headers as written, or all of them.
	Methods    []string
	AnyMethod  bool
	Headers    []string
	AnyHeader  bool
	Expose     []string // answer headers that pages may read
	ExposeAny  bool
	MaxAge     int32 // seconds for which browsers may keep what a preflight told them
	Credential bool  // requests may carry cookies and the like
}

// Origin is the scheme, host and port of a page, or a pattern of them.
type Origin struct {
	Scheme string
	Host   string // lower case; in a pattern "*" or "*.suffix" stand for any labels
	Port   string // never ""
}

// ParseOrigin parses scheme://host(:port), where the host may be a pattern and the
// scheme is http or https. It returns false for anything else.
func ParseOrigin(s string) (Origin, bool) {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme != "http" && scheme != "https" {
		return Origin{}, false
	}
	o := Origin{Scheme: scheme, Host: rest, Port: "80"}
	if scheme == "https" {
		o.Port = "443"
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && strings.IndexByte(rest[i:], ']') < 0 {
		o.Host, o.Port = rest[:i], rest[i+1:]
	}
	return o, o.Host != "" && isNumber(o.Port) && !strings.ContainsAny(o.Host, "/?#@ ")
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// covers reports whether o, as a pattern, covers the origin of a page.
func (o Origin) covers(page Origin) bool {
	if o.Scheme != page.Scheme || o.Port != page.Port {
		return false
	}
	return o.Host == "*" || HostMatches(o.Host, page.Host)
}

// AllowsOrigin reports whether the value of an Origin header is allowed.
func (c *CORS) AllowsOrigin(value string) bool {
	if c.AnyOrigin {
		return value != ""
	}
	page, ok := ParseOrigin(value)
	if !ok {
		return false
	}
	for _, o := range c.Origins {
		if o.covers(page) {
			return true
		}
	}
	return false
}

// String prints what is allowed as
// "cors(origins=https://a.example:443 methods=GET headers=* expose=x credentials max-age=5)".
func (c *CORS) String() string {
	var origins []string
	for _, o := range c.Origins {
		origins = append(origins, o.Scheme+"://"+o.Host+":"+o.Port)
	}
	list := func(name string, any bool, values []string) string {
		if any {
			return name + "*"
		}
		return field(name, strings.Join(values, ","))
	}
	return strings.Replace("cors("+list(" origins=", c.AnyOrigin, origins)+list(" methods=", c.AnyMethod, c.Methods)+
		list(" headers=", c.AnyHeader, c.Headers)+list(" expose=", c.ExposeAny, c.Expose)+
		flag(c.Credential, " credentials")+fmt.Sprintf(" max-age=%d)", c.MaxAge), "( ", "(", 1)
}
