package llm

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// benchChunks returns a chat chunk as engines send it, one of 4 KiB of text,
// and a large JSON body.
func benchChunks(b *testing.B) map[string][]byte {
	events := bytes.SplitAfter(sample(b, "chat.sse"), []byte("\n\n"))
	return map[string][]byte{
		"chunk": events[1],
		"4KiB":  bytes.Replace(events[1], []byte("Gray"), bytes.Repeat([]byte("Gray"), 1024), 1),
	}
}

func BenchmarkMeter(b *testing.B) {
	for name, chunk := range benchChunks(b) {
		b.Run(name, func(b *testing.B) {
			var m Meter
			m.Reset("text/event-stream")
			at := instant(0)
			b.ReportAllocs()
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				m.Observe(chunk, at)
			}
		})
	}
	b.Run("prose", func(b *testing.B) {
		// An ordinary stream: a few letters of a text in each chunk, which does not
		// go round in circles.
		events := bytes.SplitAfter(sample(b, "chat.sse"), []byte("\n\n"))
		text := strings.ReplaceAll(string(sample(b, "../request.go")), "\"", "'")
		var chunks [][]byte
		for i := 0; i+5 <= len(text); i += 5 {
			quoted := strconv.Quote(text[i : i+5])
			chunks = append(chunks, bytes.Replace(events[1], []byte(`"Gray"`), []byte(quoted), 1))
		}
		var m Meter
		m.Reset("text/event-stream")
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			m.Observe(chunks[i%len(chunks)], instant(0))
			i++
		}
	})
	b.Run("whole", func(b *testing.B) {
		text, _ := json.Marshal(string(sample(b, "../request.go")[:4096]))
		body := []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":` + string(text) + `}}]}`)
		var m Meter
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			m.Reset("application/json")
			m.Observe(body, instant(0))
		}
	})
	b.Run("response", func(b *testing.B) {
		body := sample(b, "chat.json")
		var m Meter
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			m.Reset("application/json")
			m.Observe(body, instant(0))
			if !m.Result().Usage.Known {
				b.Fatal("no usage")
			}
		}
	})
	b.Run("embedding", func(b *testing.B) {
		body := []byte(`{"data":[{"embedding":[` + strings.Repeat("-0.0093272,", 1024) + `0]}],"usage":{"prompt_tokens":1}}`)
		var m Meter
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			m.Reset("application/json")
			m.Observe(body, instant(0))
		}
	})
}

func BenchmarkNameRestorer(b *testing.B) {
	for name, chunk := range benchChunks(b) {
		b.Run(name, func(b *testing.B) {
			n := NewNameRestorer("travel-helper-v1", "travelhelper")
			var out []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				out = n.Rewrite(out[:0], chunk)
			}
			if !bytes.Contains(out, []byte(`"travelhelper"`)) {
				b.Fatal("nothing was restored")
			}
		})
	}
}
