package llm_test

import (
	"bytes"
	"fmt"
	"time"

	"crossfade.dev/internal/llm"
)

// A call for "travelhelper" goes to the adapter that was drawn for it.
func ExampleScan() {
	body := []byte(`{"model": "travelhelper", "stream": true, "messages": [{"role": "user", "content": "hi"}]}`)
	request, err := llm.Scan(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	parts := request.WithModel(body, "travel-helper-v1")
	fmt.Println(request.Model, request.Stream)
	fmt.Printf("%s\n", bytes.Join(parts[:], nil))
	// Output:
	// travelhelper true
	// {"model": "travel-helper-v1", "stream": true, "messages": [{"role": "user", "content": "hi"}]}
}

// Two readers of JSON could pick different models here, so none is picked.
func ExampleScan_refused() {
	_, err := llm.Scan([]byte(`{"model": "small", "mod\u0065l": "large"}`))
	fmt.Println(err)
	_, err = llm.Scan([]byte(`{"model": "small", "temperature": NaN}`))
	fmt.Println(err)
	// Output:
	// 400: The key "model" appears twice, the second time at byte 19; send it once.
	// 400: The request body is not valid JSON at byte 34: this word is not JSON; only true, false and null are.
}

// The name is found although it came in two pieces.
func ExampleNameRestorer() {
	restorer := llm.NewNameRestorer("travel-helper-v1", "travelhelper")
	for _, piece := range []string{"data: {\"model\":\"travel-h", "elper-v1\",\"x\":1}\n\n"} {
		fmt.Printf("%q\n", restorer.Rewrite(nil, []byte(piece)))
	}
	fmt.Printf("%q\n", restorer.Flush(nil))
	// Output:
	// "data: {\"model\":"
	// "\"travelhelper\",\"x\":1}\n\n"
	// ""
}

func ExampleMeter() {
	var meter llm.Meter
	meter.Reset("text/event-stream")
	start := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for i, event := range []string{
		`{"choices":[{"delta":{"role":"assistant","content":""}}]}`,
		`{"choices":[{"delta":{"content":"Gray"}}]}`,
		`{"choices":[{"delta":{"content":" releases"}}]}`,
		`{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}`,
		`[DONE]`,
	} {
		meter.Observe([]byte("data: "+event+"\n\n"), start.Add(time.Duration(i)*20*time.Millisecond))
	}
	report := meter.Result()
	fmt.Println(report.Usage.PromptTokens, report.Usage.CompletionTokens, report.FinishReason, report.Done)
	fmt.Println(report.FirstToken.Sub(start), report.Gaps.Mean())
	// Output:
	// 9 2 stop true
	// 20ms 20ms
}
