package llm

import "time"

// Outcome is how one call went: the facts of the finished call, for metrics,
// the access log and a rollout's books. It holds no text of prompt or answer.
type Outcome struct {
	Route    string // the route that matched; "" when none did
	Pool     string // the pool drawn
	Model    string // the model the client asked for
	Target   string // the model the endpoint was asked for
	Endpoint string // host:port of the endpoint that gave the answer, or failed last

	Status  int    // the HTTP status the client was sent; 0 when none was
	Reason  string // one of the Reason constants
	Retries int    // tries after the first
	Stream  bool   // the client asked for a stream

	Start     time.Time // the request's head was read
	FirstByte time.Time // the response's first body byte was forwarded; zero when none was
	End       time.Time // the exchange was over

	Report      Report // what the response reported
	PromptBytes int    // of the prompt as JSON, len of [Request.Prompt]; 0 when it was not read
	BytesIn     int64  // of the request body, as the client sent it
	BytesOut    int64  // of the response body, as the client was sent it
}

// bytesPerToken is how many bytes of a prompt make one token, roughly: of English
// and code about four, of Chinese and Japanese about three.
const bytesPerToken = 4

// PromptTokens is how long the prompt is: as the response reported, or else
// estimated from its bytes. known is false when it is neither.
func (o *Outcome) PromptTokens() (n int, known bool) {
	if u := o.Report.Usage; u.Known && u.PromptTokens > 0 {
		return u.PromptTokens, true
	}
	return (o.PromptBytes + bytesPerToken - 1) / bytesPerToken, o.PromptBytes > 0
}

// Duration is how long the call took in all.
func (o *Outcome) Duration() time.Duration { return o.End.Sub(o.Start) }

// TimeToFirstToken is how long the client waited for the first content. ok is
// false when there was none.
func (o *Outcome) TimeToFirstToken() (d time.Duration, ok bool) {
	if o.Report.FirstToken.IsZero() {
		return 0, false
	}
	return o.Report.FirstToken.Sub(o.Start), true
}

// TimePerOutputToken is the mean time of a token after the first. ok is false
// for answers that were not streamed or had fewer than two tokens.
func (o *Outcome) TimePerOutputToken() (d time.Duration, ok bool) {
	r := &o.Report
	if r.ContentEvents < 2 || r.Tokens < 2 {
		return 0, false
	}
	return r.LastToken.Sub(r.FirstToken) / time.Duration(r.Tokens-1), true
}
