package llm

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// cut returns b in pieces: of one byte each for seed 0, else of random lengths,
// short and long.
func cut(b []byte, seed uint64) (pieces [][]byte) {
	random := rand.New(rand.NewPCG(seed, 0))
	for len(b) > 0 {
		n := 1
		if seed != 0 {
			n = 1 + random.IntN(1<<random.IntN(8))
		}
		n = min(n, len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

// readEvents returns the data of the complete events of a stream that arrives
// in pieces, and whether it ends between two events.
func readEvents(t *testing.T, pieces [][]byte) (events []string, boundary bool) {
	t.Helper()
	var r EventReader
	r.Next([]byte("data: of another stream"))
	r.Reset()
	var data []string
	for _, p := range pieces {
		for len(p) > 0 {
			n, part := r.Next(p)
			if n < 1 || n > len(p) {
				t.Fatalf("Next(%q) read %d bytes", p, n)
			}
			switch part {
			case EventLine:
				data = append(data, "")
			case EventData:
				data[len(data)-1] += string(p[:n])
			case EventEnd:
				events = append(events, strings.Join(data, "\n"))
				data = nil
			}
			p = p[n:]
		}
	}
	return events, r.AtBoundary()
}

// slowEvents reads a whole stream as the HTML standard says it.
func slowEvents(stream string) (events []string) {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(stream, "\n")
	var data []string
	for _, line := range lines[:len(lines)-1] { // the last has no end
		field, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && data != nil:
			events = append(events, strings.Join(data, "\n"))
			data = nil
		case field == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return events
}

func TestEventReader(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []string
		boundary     bool
	}{
		{"nothing", "", nil, true},
		{"one", "data: a\n\n", []string{"a"}, true},
		{"two", "data: a\n\ndata: b\n\n", []string{"a", "b"}, true},
		{"CR LF", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}, true},
		{"CR", "data: a\r\rdata: b\r\r", []string{"a", "b"}, true},
		{"mixed ends", "data: a\r\ndata: b\r\r\ndata: c\n\r\n", []string{"a\nb", "c"}, true},
		{"lines", "data: a\ndata:\ndata: b\n\n", []string{"a\n\nb"}, true},
		{"one space dropped", "data:  a\ndata:b\n\n", []string{" a\nb"}, true},
		{"no colon", "data\n\n", []string{""}, true},
		{"two without colon", "data\ndata\n\n", []string{"\n"}, true},
		{"other fields", ": ping\nevent: x\nid: 1\nretry: 9\ndata: a\n\n", []string{"a"}, true},
		{"like data", "datax: 1\ndat: 2\nData: 3\n data: 4\ndata : 5\n\n", nil, true},
		{"comment event", ": ping\n\ndata: a\n\n", []string{"a"}, true},
		{"blank lines", "\n\r\n\rdata: a\n\n\n\n", []string{"a"}, true},
		{"byte order mark", "\uFEFFdata: a\n\n", []string{"a"}, true},
		{"two marks", "\uFEFF\uFEFFdata: a\n\n", nil, true},
		{"half a mark", "\xef\xbbdata: a\ndata: b\n\n", []string{"b"}, true},
		{"mark later", "data: a\n\uFEFFdata: b\n\n", []string{"a"}, true},
		{"incomplete", "data: a\n\ndata: b\n", []string{"a"}, false},
		{"cut in data", "data: a\n\ndata: b", []string{"a"}, false},
		{"cut in name", "data: a\n\nda", []string{"a"}, false},
		{"cut in mark", "\xef\xbb", nil, false},
		{"colon in data", "data: a: b\n\n", []string{"a: b"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if twin := slowEvents(c.stream); !reflect.DeepEqual(twin, c.want) {
				t.Fatalf("the twin reads %q, want %q", twin, c.want)
			}
			b := []byte(c.stream)
			for i := range len(b) + 1 {
				for j := i; j <= len(b); j++ {
					got, boundary := readEvents(t, [][]byte{b[:i], b[i:j], b[j:]})
					if !reflect.DeepEqual(got, c.want) || boundary != c.boundary {
						t.Fatalf("cut at %d and %d: %q, %v; want %q, %v", i, j, got, boundary, c.want, c.boundary)
					}
				}
			}
		})
	}
}

func FuzzEventReader(f *testing.F) {
	for _, s := range []string{
		"data: a\n\n", "data: a\r\n\r\ndata:b\r\rdata\n\n", "\uFEFFdata: a\ndata: b\n\n",
		": c\nevent: e\ndata: a\nid: 1\n\ndata: [DONE]\n\n", "\xef\xbbdata: a\n\n",
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		want := slowEvents(string(stream))
		for _, s := range []uint64{0, seed, seed + 1} {
			if got, _ := readEvents(t, cut(stream, s)); !reflect.DeepEqual(got, want) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}
