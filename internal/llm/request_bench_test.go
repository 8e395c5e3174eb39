package llm

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// chatBody returns a chat request of about size bytes, model first as clients
// write it.
func chatBody(size int, text string) []byte {
	head := `{"model": "Qwen/Qwen2.5-7B-Instruct", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "`
	tail := `"}], "temperature": 0.7, "top_p": 0.95, "max_tokens": 256, "stream": true, "stream_options": {"include_usage": true}}`
	n := max(0, size-len(head)-len(tail))
	return []byte(head + strings.Repeat(text, n/len(text)+1)[:n/len(text)*len(text)] + tail)
}

func BenchmarkScan(b *testing.B) {
	english := `Give me a short introduction to gray releases, please.\n`
	chinese := "请用一句话介绍灰度发布。"
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"300B", chatBody(300, english)},
		{"32KiB", chatBody(32<<10, english)},
		{"1MiB", chatBody(1<<20, english)},
		{"32KiB-chinese", chatBody(32<<10, chinese)},
		{"32KiB-base64", chatBody(32<<10, "iVBORw0KGgoAAAANSUhEUgAA")},
		{"32KiB-tokens", []byte(`{"model":"m","prompt":[` + strings.Repeat("15043,", 32<<10/6) + `1]}`)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				if _, err := Scan(c.body); err != nil {
					b.Fatal(err)
				}
			}
		})
		if strings.Contains(c.name, "-") {
			continue
		}
		b.Run(c.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				var r struct{ Model string }
				if err := json.Unmarshal(c.body, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWithModel(b *testing.B) {
	body := chatBody(300, "x")
	r, err := Scan(body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if parts := r.WithModel(body, "travel-helper-v1"); len(parts[1]) == 0 {
			b.Fatal(strconv.Quote(string(parts[1])))
		}
	}
}
