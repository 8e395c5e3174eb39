package llm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// walkAll feeds pieces to a walker that keeps every key and value it can, and
// returns what it was told, and whether the document came to its end.
func walkAll(t *testing.T, pieces [][]byte) (told []string, complete bool) {
	t.Helper()
	var w walker
	for _, p := range pieces {
		for stuck := 0; len(p) > 0; {
			n, tok := w.next(p)
			if n == 0 {
				stuck++
			} else {
				stuck = 0
			}
			if n > len(p) || stuck > 1 {
				t.Fatalf("next(%q) read %d bytes", p, n)
			}
			p = p[n:]
			switch tok {
			case tokenOpen, tokenClose:
				told = append(told, fmt.Sprint(tok, w.depth))
			case tokenKey:
				told = append(told, fmt.Sprintf("key %q %v", w.text, w.cut))
				w.name(1, 1000)
			case tokenString, tokenNumber:
				told = append(told, fmt.Sprintf("%v %q %v %v at %v", tok, w.text, w.cut, w.some, w.path[:min(w.depth, pathDepth)+1]))
			}
		}
	}
	return told, w.state == walkDone || w.depth == 0 && w.state == walkNumber && w.number.complete()
}

// TestWalkerText requires that keys and values read as they do for
// encoding/json, wherever they are cut.
func TestWalkerText(t *testing.T) {
	for _, raw := range []string{
		`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\u4e2d"`, `"\ud83d\ude00"`, `"é中😀"`, `"plain text beyond a word"`,
		`"a\u0000b"`, `"x\ud83d\ude00\ud83d\ude01y"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(raw), &want); err != nil {
			t.Fatal(err)
		}
		doc := []byte(`{` + raw + `:` + raw + `}`)
		for i := range len(doc) + 1 {
			told, complete := walkAll(t, [][]byte{doc[:i], doc[i:]})
			if !complete || len(told) != 4 {
				t.Fatalf("%s cut at %d: %q", doc, i, told)
			}
			if key := fmt.Sprintf("key %q false", want); told[1] != key {
				t.Errorf("%s cut at %d: told %s, want %s", doc, i, told[1], key)
			}
			if value := fmt.Sprintf("%v %q false %v at [0 1]", tokenString, want, want != ""); told[2] != value {
				t.Errorf("%s cut at %d: told %s, want %s", doc, i, told[2], value)
			}
		}
	}
}

// Half a pair is no text, so nothing may be taken to equal it.
func TestWalkerHalfPairs(t *testing.T) {
	for _, raw := range []string{`"\ud800"`, `"\udc00"`, `"\ud800x"`, `"\ud800\n"`, `"\ud800\ud800\udc00"`, `"\ud800\u0041"`, `"\ud800x\udc00"`} {
		doc := []byte(`{"a":` + raw + `}`)
		for i := range len(doc) + 1 {
			told, complete := walkAll(t, [][]byte{doc[:i], doc[i:]})
			if !complete || !strings.Contains(told[2], "true true at") {
				t.Errorf("%s cut at %d: told %q", doc, i, told)
			}
		}
	}
}

// TestWalkerReset requires that nothing of a document that broke off reaches
// the next one.
func TestWalkerReset(t *testing.T) {
	for _, before := range []string{`{"a":"\ud83d`, `{"\ud83d`, `{"a":`, `[[[`, `{"a":1`, `{"a":tr`} {
		var w walker
		last := func(doc string) (t token) {
			for p := []byte(doc); len(p) > 0; {
				n, tok := w.next(p)
				if p, t = p[n:], tok; tok == tokenKey {
					w.name(1, 100)
				}
			}
			return t
		}
		last(before)
		w.reset()
		if tok := last(`"\ude00"`); tok != tokenString || len(w.text) > 0 || w.state != walkDone {
			t.Errorf("after %s: %v, kept %q", before, tok, w.text)
		}
		w.reset()
		last(before)
		w.reset()
		if tok := last(`{"\ude00"`); tok != tokenKey || !w.cut {
			t.Errorf("after %s: %v %q", before, tok, w.text)
		}
	}
}

// FuzzWalker requires that the walker comes to the end of exactly those
// documents that are JSON, and tells the same wherever they are cut.
func FuzzWalker(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-0.5e+10,true,false,null,"x\u00e9\n"],"b":{}}`, `[]`, `{"a":1,}`, `[1,]`, `01`, `-`, `1.`, `1e`, `tru`, `"\x"`,
		`{"a":"\ud83d\ude00"}`, ` 1 `, `1 2`, `{}}`, `[}`, `{"a" 1}`, `nulll`, "\"\n\"", `{"model":["a",{"model":"b"}]}`,
		`[1.]`, `[-]`, `[1e]`, `[-0,0.10,1E-5,12e+3]`, `[00]`, `[tru]`, `[nul`, `{"a":"\ud83g"}`, `"\u00E9\u00fF"`,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1),
		`{"a key that is too long to keep":1,"` + "\x8c\x8c" + `ue and longer than what is kept of it":1}`,
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		told, complete := walkAll(t, [][]byte{doc})
		if want := json.Valid(doc) && slowDepth(doc) <= MaxDepth; complete != want {
			t.Fatalf("complete: %v, valid: %v", complete, want)
		}
		for _, s := range []uint64{0, seed, seed + 1} {
			again, c := walkAll(t, cut(doc, s))
			if c != complete || !reflect.DeepEqual(again, told) {
				t.Fatalf("whole: %q\n  cut: %q", told, again)
			}
		}
	})
}
