package llm

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const (
	testTarget = "travel-helper/v1"
	testName   = "travelhelper"
)

// restore runs pieces through a restorer.
func restore(target, name string, pieces [][]byte) string {
	n := NewNameRestorer(target, name)
	var out []byte
	for _, p := range pieces {
		out = n.Rewrite(out, p)
	}
	return string(n.Flush(out))
}

// restoreCases maps a body to what the client reads. §T is the target, §N the
// client's name.
var restoreCases = []struct{ name, body, want string }{
	{"top level", `{"id":1,"model":"§T","x":2}`, `{"id":1,"model":"§N","x":2}`},
	{"white space", "\n\t {\r\n \"model\"\t:\n \"§T\" \n}\n", "\n\t {\r\n \"model\"\t:\n \"§N\" \n}\n"},
	{"other model", `{"model":"§T2"}`, `{"model":"§T2"}`},
	{"shorter", `{"model":"travel"}`, `{"model":"travel"}`},
	{"empty", `{"model":""}`, `{"model":""}`},
	{"differs late", `{"model":"travel-helper/v2"}`, `{"model":"travel-helper/v2"}`},
	{"escaped slash", `{"model":"travel-helper\/v1"}`, `{"model":"§N"}`},
	{"escaped letters", `{"mod\u0065l":"\u0074ravel-helper\/v\u0031"}`, `{"mod\u0065l":"§N"}`},
	{"escaped otherwise", `{"model":"travel-helper\/v\u0032"}`, `{"model":"travel-helper\/v\u0032"}`},
	{"twice", `{"model":"§T","model":"§T"}`, `{"model":"§N","model":"§N"}`},
	{"another first", `{"model":"travel","model":"§T","model":"travel"}`, `{"model":"travel","model":"§N","model":"travel"}`},
	{"in text", `{"content":"{\"model\":\"§T\"}","model":"§T"}`, `{"content":"{\"model\":\"§T\"}","model":"§N"}`},
	{"another key", `{"Model":"§T","models":"§T","root":"§T"}`, `{"Model":"§T","models":"§T","root":"§T"}`},
	{"no string", `{"model":["§T"],"model":{"model":"§T"},"model":1}`, `{"model":["§T"],"model":{"model":"§T"},"model":1}`},
	{"wrapped", `{"response":{"model":"§T"},"message":{"x":1,"model":"§T"}}`, `{"response":{"model":"§N"},"message":{"x":1,"model":"§N"}}`},
	{"wrapped in a list", `{"response":[{"model":"§T"},"model","§T"]}`, `{"response":[{"model":"§T"},"model","§T"]}`},
	{"wrapped otherwise", `{"metadata":{"model":"§T"},"data":[{"model":"§T"}]}`, `{"metadata":{"model":"§T"},"data":[{"model":"§T"}]}`},
	{"too deep", `{"response":{"x":{"model":"§T"}}}`, `{"response":{"x":{"model":"§T"}}}`},
	{"after deeper", `{"response":{"x":{"model":"§T"},"y":[1,{}],"model":"§T"}}`, `{"response":{"x":{"model":"§T"},"y":[1,{}],"model":"§N"}}`},
	{"not quite a mark", "\xef{\"model\":\"§T\"}", "\xef{\"model\":\"§N\"}"},
	{"list at the top", `[{"model":"§T"}]`, `[{"model":"§T"}]`},
	{"cut off", `{"model":"travel-h`, `{"model":"travel-h`},
	{"cut off in escape", `{"model":"\u00`, `{"model":"\u00`},
	{"cut off after", `{"model":"§T`, `{"model":"§T`},
	{"broken before", `{"a":nope,"model":"§T"}`, `{"a":nope,"model":"§T"}`},
	{"broken after", `{"model":"§T",nope`, `{"model":"§N",nope`},
	{"broken inside", "{\"model\":\"travel\n\"}", "{\"model\":\"travel\n\"}"},
	{"bad escape inside", `{"model":"travel\x"}`, `{"model":"travel\x"}`},
	{"second document", `{"model":"§T"}{"model":"§T"}`, `{"model":"§N"}{"model":"§T"}`},
	{"text", `The model is "model":"§T".`, `The model is "model":"§T".`},
	{"nothing", ``, ``},
	{"number", `1`, `1`},

	{"events", "data: {\"model\":\"§T\"}\n\ndata: {\"x\":1,\"model\": \"§T\"}\n\ndata: [DONE]\n\n",
		"data: {\"model\":\"§N\"}\n\ndata: {\"x\":1,\"model\": \"§N\"}\n\ndata: [DONE]\n\n"},
	{"events, CR LF", "\uFEFFevent: a\r\ndata:{\"model\":\"§T\"}\r\n\r\n: c\r\n\r\ndata: {\"model\":\"§T\"}\r\n\r\n",
		"\uFEFFevent: a\r\ndata:{\"model\":\"§N\"}\r\n\r\n: c\r\n\r\ndata: {\"model\":\"§N\"}\r\n\r\n"},
	{"events, CR", "data: {\"model\":\"§T\"}\r\rdata: {\"model\":\"§T\"}\r\r", "data: {\"model\":\"§N\"}\r\rdata: {\"model\":\"§N\"}\r\r"},
	{"events after blank lines", "\n \r\n\r\ndata: {\"model\":\"§T\"}\n\n", "\n \r\n\r\ndata: {\"model\":\"§N\"}\n\n"},
	{"space before data", " data: {\"model\":\"§T\"}\n\n", " data: {\"model\":\"§T\"}\n\n"},
	{"lines", "data: {\"model\":\ndata: \"§T\"}\n\n", "data: {\"model\":\ndata: \"§N\"}\n\n"},
	{"a string over two lines", "data: {\"model\":\"travel\ndata: -helper/v1\",\"model\":\"§T\"}\n\n", "data: {\"model\":\"travel\ndata: -helper/v1\",\"model\":\"§T\"}\n\n"},
	{"not in comments", ": {\"model\":\"§T\"}\nevent: {\"model\":\"§T\"}\ndata: {}\n\n", ": {\"model\":\"§T\"}\nevent: {\"model\":\"§T\"}\ndata: {}\n\n"},
	{"a broken event and a good one", "data: {\"model\":x\n\ndata: {\"model\":\"§T\"}\n\n", "data: {\"model\":x\n\ndata: {\"model\":\"§N\"}\n\n"},
	{"a broken value and a string", "data: {\"model\":]\n\ndata: \"§T\"\n\n", "data: {\"model\":]\n\ndata: \"§T\"\n\n"},
	{"an unfinished string and a good event", "data: {\"model\":\"travel\n\ndata: {\"model\":\"§T\"}\n\n", "data: {\"model\":\"travel\n\ndata: {\"model\":\"§N\"}\n\n"},
	{"last event cut off", "data: {\"model\":\"§T\"", "data: {\"model\":\"§N\""},
}

func TestNameRestorer(t *testing.T) {
	for _, c := range restoreCases {
		t.Run(c.name, func(t *testing.T) {
			fill := strings.NewReplacer("§T", testTarget, "§N", testName)
			body, want := []byte(fill.Replace(c.body)), fill.Replace(c.want)
			if twin := slowRestore(string(body), testTarget, testName); twin != want {
				t.Fatalf("the twin makes %q of %q", twin, body)
			}
			if got := restore(testTarget, testName, cut(body, 0)); got != want {
				t.Fatalf("byte by byte\n got %q\nwant %q", got, want)
			}
			for i := range len(body) + 1 {
				for j := i; j <= len(body); j++ {
					if got := restore(testTarget, testName, [][]byte{body[:i], body[i:j], body[j:]}); got != want {
						t.Fatalf("cut at %d and %d\n got %q\nwant %q", i, j, got, want)
					}
				}
			}
		})
	}
}

// TestNameRestorerHoldsLittle requires that bytes wait only inside a value that
// may be the target, and never more than it takes to write that.
func TestNameRestorerHoldsLittle(t *testing.T) {
	fill := strings.NewReplacer("§T", testTarget)
	for _, c := range restoreCases {
		body := []byte(fill.Replace(c.body))
		n := NewNameRestorer(testTarget, testTarget) // so that lengths compare
		var out []byte
		for i := range body {
			out = n.Rewrite(out, body[i:i+1])
			waiting := len(n.held)
			if waiting == 0 {
				continue
			}
			if waiting > 1+6*len(testTarget) || body[i+1-waiting] != '"' {
				t.Errorf("%s: %d bytes wait: %q", c.name, waiting, body[i+1-waiting:i+1])
			}
		}
	}
	for _, long := range []string{
		`{"model":"` + strings.Repeat("travel-helper/v1", 100),
		`{"model":"travel` + "\n" + strings.Repeat("-", 100),
		`{"model":"travel\x` + strings.Repeat("-", 100),
	} {
		n := NewNameRestorer(testTarget, testName)
		var out []byte
		for _, p := range cut([]byte(long), 0) {
			out = n.Rewrite(out, p)
		}
		if string(out) != long {
			t.Errorf("%d of %d bytes wait", len(long)-len(out), len(long))
		}
	}
}

func TestNameRestorerQuotes(t *testing.T) {
	if got := restore("a\"\\é", "b\"\\\n", [][]byte{[]byte(`{"model":"a\"\\\u00e9"}`)}); got != `{"model":"b\"\\\n"}` {
		t.Errorf("got %s", got)
	}
	for _, same := range []string{`{"model":""}`, `{"model":"\ufffd"}`, `{"model":"\ud800"}`} {
		if got := restore("", "x", [][]byte{[]byte(same)}); got != same {
			t.Errorf("%s became %s", same, got)
		}
	}
	if got := restore("\uFFFD", "x", [][]byte{[]byte(`{"model":"\ud800"}`)}); got != `{"model":"\ud800"}` {
		t.Errorf("half a pair became %s", got)
	}
}

func TestNameRestorerAllocations(t *testing.T) {
	body := bytes.ReplaceAll(sample(t, "chat.sse"), []byte("travel-helper-v1"), []byte(testTarget))
	n := NewNameRestorer(testTarget, testName)
	out := make([]byte, 0, 2*len(body))
	run := func() {
		out = out[:0]
		for i := 0; i < len(body); i += 100 {
			out = n.Rewrite(out, body[i:min(i+100, len(body))])
		}
	}
	run()
	if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if !bytes.Contains(out, []byte(testName)) {
		t.Error("nothing was restored")
	}
}

// slowRestore does the same with the whole body at hand, encoding/json and
// regular expressions.
func slowRestore(body, target, name string) string {
	blank := 0
	for blank < len(body) && strings.IndexByte(" \t\r\n\xef\xbb\xbf", body[blank]) >= 0 {
		blank++
	}
	if strings.HasPrefix(body[blank:], "{") {
		return body[:blank] + slowRestoreDocument(body[blank:], target, name)
	}
	var out strings.Builder
	if strings.HasPrefix(body, "\uFEFF") {
		out.WriteString("\uFEFF")
		body = body[len("\uFEFF"):]
	}
	// Of the event being read: its lines as they are, with the place of each
	// line's data, and the data.
	type line struct{ before, after string }
	var lines []line
	var data []string
	flush := func() {
		restored := strings.Split(slowRestoreDocument(strings.Join(data, "\n"), target, name), "\n")
		for i, l := range lines {
			out.WriteString(l.before + restored[i] + l.after)
		}
		lines, data = nil, nil
	}
	var skipped string // lines without data
	for _, raw := range slowLine.FindAllString(body, -1) {
		text := strings.TrimRight(raw, "\r\n")
		field, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "data":
			lines = append(lines, line{skipped + strings.TrimSuffix(text, value), raw[len(text):]})
			data, skipped = append(data, value), ""
		case text == "":
			flush()
			out.WriteString(skipped + raw)
			skipped = ""
		default:
			skipped += raw
		}
	}
	flush()
	return out.String() + skipped
}

var slowLine = regexp.MustCompile(`[^\r\n]*(\r\n|\r|\n)|[^\r\n]+$`)

// slowRestoreDocument replaces names in one document, up to where it stops
// being JSON.
func slowRestoreDocument(doc, target, name string) string {
	type container struct {
		object, wanted bool
		key            string
		keyNext        bool
	}
	var out strings.Builder
	var open []container
	copied := 0
	d := json.NewDecoder(strings.NewReader(doc))
	for {
		before := int(d.InputOffset())
		t, err := d.Token()
		if err != nil || len(open) == 0 && before > 0 {
			break
		}
		var top *container
		if len(open) > 0 {
			top = &open[len(open)-1]
		}
		switch v := t.(type) {
		case json.Delim:
			if v == '}' || v == ']' {
				open = open[:len(open)-1]
				break
			}
			if len(open) == MaxDepth {
				return out.String() + doc[copied:]
			}
			wrapped := len(open) == 1 && top.object && (top.key == "response" || top.key == "message")
			if top != nil {
				top.keyNext = top.object
			}
			open = append(open, container{object: v == '{', keyNext: v == '{', wanted: len(open) == 0 || wrapped})
			continue
		case string:
			if top != nil && top.keyNext {
				top.key, top.keyNext = v, false
				continue
			}
			if top != nil && top.object && top.wanted && top.key == "model" && v == target && target != "" {
				start := before + strings.IndexByte(doc[before:], '"')
				out.WriteString(doc[copied:start])
				out.Write(appendQuoted(nil, name))
				copied = int(d.InputOffset())
			}
		}
		if len(open) > 0 {
			open[len(open)-1].keyNext = open[len(open)-1].object
		}
	}
	return out.String() + doc[copied:]
}

// FuzzNameRestorer holds the restorer against its twin, however a body is cut.
func FuzzNameRestorer(f *testing.F) {
	fill := strings.NewReplacer("§T", "t/é", "§N", "n", testTarget, "t/é")
	for _, c := range restoreCases {
		f.Add([]byte(fill.Replace(c.body)), uint64(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64) {
		want := slowRestore(string(body), "t/é", "n")
		for _, s := range []uint64{0, seed, seed + 1} {
			if got := restore("t/é", "n", cut(body, s)); got != want {
				t.Fatalf("got %q\nwant %q", got, want)
			}
		}
		if got := restore("t/é", "n", [][]byte{body}); got != want {
			t.Fatalf("whole: got %q\nwant %q", got, want)
		}
	})
}
