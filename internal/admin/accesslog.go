package admin

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"crossfade.dev/internal/llm"
)

// AccessLog writes one JSON line per logged request. It never holds text of a
// prompt or answer, query strings or credentials; docs/glossary.md lists its keys.
type AccessLog struct {
	log   *slog.Logger
	share float64
}

// NewAccessLog logs a random share (0 to 1) of requests to w.
func NewAccessLog(w io.Writer, share float64) *AccessLog {
	return &AccessLog{log: slog.New(slog.NewJSONHandler(w, nil)), share: share}
}

// Record logs one finished request, or not, as the share has it.
func (a *AccessLog) Record(r *http.Request, o *llm.Outcome) {
	if a.share <= 0 || a.share < 1 && rand.Float64() >= a.share {
		return
	}
	attrs := make([]slog.Attr, 0, 24)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("method", r.Method)
	text("host", r.Host)
	text("path", r.URL.Path)
	text("client", r.RemoteAddr)
	text("request_id", clip(r.Header.Get("X-Request-Id"), 128))
	text("route", o.Route)
	text("pool", o.Pool)
	text("model", o.Model)
	text("target", o.Target)
	text("endpoint", o.Endpoint)
	text("reason", o.Reason)
	text("finish_reason", o.Report.FinishReason)
	attrs = append(attrs,
		slog.Int("status", o.Status),
		slog.Bool("stream", o.Stream),
		slog.Int("retries", o.Retries),
		slog.Float64("duration_ms", milliseconds(o.Duration())),
		slog.Int64("bytes_in", o.BytesIn),
		slog.Int64("bytes_out", o.BytesOut))
	if d, ok := o.TimeToFirstToken(); ok {
		attrs = append(attrs, slog.Float64("ttft_ms", milliseconds(d)))
	}
	if u := o.Report.Usage; u.Known {
		attrs = append(attrs, slog.Int("input_tokens", u.PromptTokens), slog.Int("cached_tokens", u.CachedTokens))
	}
	if o.Report.Tokens > 0 {
		attrs = append(attrs, slog.Int("output_tokens", o.Report.Tokens))
	}
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func clip(s string, n int) string { return s[:min(len(s), n)] }
