package upstream

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A role is what a response field means to this package.
type role uint8

const (
	endToEnd role = iota
	contentLength
	transferEncoding
	connection
	upgrade
	hopByHop // meant for this connection alone: dropped
)

// A fieldName is a name in canonical form, with its role.
type fieldName struct {
	name string
	role role
}

// special lists the fields with a role; common lists others that model servers and the proxies
// before them send.
var (
	special = []fieldName{
		{"Content-Length", contentLength},
		{"Transfer-Encoding", transferEncoding},
		{"Connection", connection},
		{"Upgrade", upgrade},
		{"Keep-Alive", hopByHop},
		{"Proxy-Connection", hopByHop},
		{"Te", hopByHop},
	}
	common = []string{
		"Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers",
		"Access-Control-Allow-Methods", "Access-Control-Allow-Origin",
		"Access-Control-Expose-Headers", "Age", "Allow", "Alt-Svc", "Cache-Control",
		"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Date",
		"Etag", "Expires", "Last-Modified", "Link", "Location", "Openai-Model",
		"Openai-Organization", "Openai-Processing-Ms", "Openai-Version", "Pragma",
		"Referrer-Policy", "Retry-After", "Server", "Server-Timing", "Set-Cookie",
		"Strict-Transport-Security", "Trailer", "Vary", "Via", "Www-Authenticate",
		"X-Accel-Buffering", "X-Content-Type-Options", "X-Frame-Options", "X-Powered-By",
		"X-Ratelimit-Limit-Requests", "X-Ratelimit-Limit-Tokens",
		"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Remaining-Tokens",
		"X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens", "X-Request-Id",
	}
	names = internNames()
)

// internNames maps each known name, as written canonically and in lower case (as ASGI servers
// do), to the one string that every response shares.
func internNames() map[string]fieldName {
	m := make(map[string]fieldName, 2*(len(special)+len(common)))
	add := func(f fieldName) { m[f.name], m[strings.ToLower(f.name)] = f, f }
	for _, f := range special {
		add(f)
	}
	for _, name := range common {
		add(fieldName{name: name})
	}
	return m
}

// lookupName returns the canonical form of a field name, or false for what is no token.
func lookupName(name string) (fieldName, bool) {
	if f, ok := names[name]; ok {
		return f, true
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return fieldName{}, false
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	// Looked up again: a framing field must be known in whatever case it is written.
	if f, ok := names[name]; ok {
		return f, true
	}
	return fieldName{name: name}, true
}

// cutField takes the first line off a block of CRLF-ended lines and splits it. RFC 9112 section
// 5: no space before the colon, no folding, no control characters.
func cutField(lines string) (name fieldName, value, rest string, err error) {
	line, rest, ok := strings.Cut(lines, "\r\n")
	if !ok {
		return name, "", "", errBareEnd
	}
	colon := strings.IndexByte(line, ':')
	if line == "" || line[0] == ' ' || line[0] == '\t' {
		return name, "", "", protocolError("folded header field")
	}
	if colon < 0 {
		return name, "", "", protocolError("header line without a colon")
	}
	if name, ok = lookupName(line[:colon]); !ok {
		return name, "", "", protocolError("malformed header field name")
	}
	value = strings.Trim(line[colon+1:], " \t")
	if !httpguts.ValidHeaderFieldValue(value) {
		return name, "", "", protocolError("control character in header field " + name.name)
	}
	return name, value, rest, nil
}

// A fieldBlock collects fields into a header without an allocation for each.
type fieldBlock struct {
	header http.Header
	values []string // not yet handed out
}

// maxPresized bounds what is allocated on the strength of a line count alone.
const maxPresized = 64

func newFieldBlock(lines int) fieldBlock {
	lines = min(lines, maxPresized)
	return fieldBlock{header: make(http.Header, lines), values: make([]string, lines)}
}

// add appends value to the field, keeping the order of arrival.
func (b *fieldBlock) add(name, value string) {
	if have := b.header[name]; have != nil {
		b.header[name] = append(have, value)
		return
	}
	if len(b.values) == 0 {
		b.values = make([]string, maxPresized)
	}
	// Capacity one, so that appending a second value does not run into the next field's.
	own := b.values[:1:1]
	b.values = b.values[1:]
	own[0] = value
	b.header[name] = own
}

// parseTrailer parses the fields behind the last chunk, each line ended by CRLF. Fields that
// would have framed or steered the message are dropped: it is too late for them.
func parseTrailer(lines string) (http.Header, error) {
	block := newFieldBlock(strings.Count(lines, "\n"))
	for lines != "" {
		name, value, rest, err := cutField(lines)
		if err != nil {
			return nil, err
		}
		if name.role == endToEnd && name.name != "Host" && name.name != "Trailer" {
			block.add(name.name, value)
		}
		lines = rest
	}
	return block.header, nil
}
