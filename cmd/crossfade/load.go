package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// Bounds of a load, so that a slip of the finger hurts nobody.
const (
	maxLoadRate     = 1000
	maxLoadTime     = time.Hour
	maxLoadSessions = 100_000
	maxLoadWords    = 20_000
	maxLoadInFlight = 2000
)

// loadConfig says what a load sends.
type loadConfig struct {
	url      string
	rate     float64
	length   time.Duration
	model    string
	sessions int
	words    string // "50..400"
	least    int
	most     int
	tokens   int
	stream   float64
	json     float64
	seed     uint64
	timeout  time.Duration
	headers  []string
}

func newLoadCommand() *cobra.Command {
	c := loadConfig{}
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Send a bounded load of chat completions, for those without traffic",
		Long: `Sends chat completions to a gateway or a model server for a while, then prints how
they went and stops by itself: requests and errors by kind, the time to the first
token of streams, tokens a second. A rollout needs traffic to judge by; this makes
some.

Requests come by chance at the rate, whether or not earlier ones are answered. Each
belongs to one of --sessions, named in the header X-Session-Id; a session's prompts
begin alike, so that prefix caches work as they do for people.

URL is where /v1/chat/completions is; a path of its own is used as it is. At most
1000 requests a second, 2000 at a time and one hour.`,
		Example: `  crossfade load http://127.0.0.1:8080 --model qwen3
  crossfade load http://127.0.0.1:8080 --model qwen3 --rps 50 --for 10m --stream 1
  crossfade load http://127.0.0.1:8080 --model qwen3 --header "Host: chat.example.com"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.url = args[0]
			if err := c.complete(); err != nil {
				return err
			}
			if !loopback(c.url) {
				warn(cmd, "%s is not this machine: be sure that it may be loaded", c.url)
			}
			return runUntilInterrupt(cmd, func(ctx context.Context) error { return c.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	f := cmd.Flags()
	f.Float64Var(&c.rate, "rps", 20, "requests a second on average")
	f.DurationVar(&c.length, "for", time.Minute, "how long to send")
	f.StringVar(&c.model, "model", "", "model that requests name")
	f.IntVar(&c.sessions, "sessions", 500, "number of sessions")
	f.StringVar(&c.words, "prompt-words", "50..400", "`words` of a prompt: a number, or least..most")
	f.IntVar(&c.tokens, "max-tokens", 60, "longest answer, in tokens")
	f.Float64Var(&c.stream, "stream", 0.5, "part of requests that stream, 0 to 1")
	f.Float64Var(&c.json, "json", 0.1, "part of requests that want a JSON object, 0 to 1")
	f.Uint64Var(&c.seed, "seed", 1, "seed of prompts, sessions and times")
	f.DurationVar(&c.timeout, "timeout", 2*time.Minute, "longest wait for an answer to end")
	f.StringArrayVarP(&c.headers, "header", "H", nil, "`\"Name: value\"` that every request has; may be given again")
	_ = cmd.MarkFlagRequired("model") // the flag is there
	return cmd
}

// complete checks the configuration and fills in what follows from it.
func (c *loadConfig) complete() error {
	u, err := url.Parse(c.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL to load; use one like http://127.0.0.1:8080", c.url)
	}
	switch path := strings.TrimSuffix(u.Path, "/"); path {
	case "", "/v1":
		u.Path = "/v1/chat/completions"
	}
	c.url = u.String()
	if c.least, c.most, err = readWords(c.words); err != nil {
		return err
	}
	for _, h := range c.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
			return fmt.Errorf("--header %q is not \"Name: value\"", h)
		}
	}
	switch part := func(v float64) bool { return v >= 0 && v <= 1 }; {
	case !(c.rate > 0 && c.rate <= maxLoadRate):
		return fmt.Errorf("--rps %v: use more than 0, up to %d", c.rate, maxLoadRate)
	case c.length <= 0 || c.length > maxLoadTime:
		return fmt.Errorf("--for %s: use more than 0, up to %s", c.length, maxLoadTime)
	case c.sessions < 1 || c.sessions > maxLoadSessions:
		return fmt.Errorf("--sessions %d: use 1 to %d", c.sessions, maxLoadSessions)
	case c.tokens < 1 || c.tokens > 32_768:
		return fmt.Errorf("--max-tokens %d: use 1 to 32768", c.tokens)
	case !part(c.stream) || !part(c.json):
		return fmt.Errorf("--stream %v and --json %v: use 0 to 1", c.stream, c.json)
	case c.timeout <= 0 || c.timeout > maxLoadTime:
		return fmt.Errorf("--timeout %s: use more than 0, up to %s", c.timeout, maxLoadTime)
	}
	return nil
}

// readWords reads "50..400" or "100".
func readWords(text string) (least, most int, err error) {
	from, to, span := strings.Cut(text, "..")
	if !span {
		to = from
	}
	least, err = strconv.Atoi(from)
	most, errMost := strconv.Atoi(to)
	if err != nil || errMost != nil || least < 1 || most < least || most > maxLoadWords {
		return 0, 0, fmt.Errorf("--prompt-words %q: use a number or least..most, from 1 to %d", text, maxLoadWords)
	}
	return least, most, nil
}

// loopback reports whether a URL is about this machine.
func loopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// run sends for the time given, waits for what runs, and prints how it went. Once
// ctx ends it stops at once and prints what there is.
func (c *loadConfig) run(ctx context.Context, out, progress io.Writer) error {
	client := &http.Client{
		Timeout:       c.timeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: maxLoadInFlight, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	var sum loadSummary
	started := time.Now()
	told := make(chan struct{})
	go func() {
		defer close(told)
		sum.tell(ctx, progress, c.length)
	}()
	var running sync.WaitGroup
	c.arrive(ctx, started, &sum, func(call loadCall) {
		running.Go(func() { sum.add(c.send(ctx, client, call)) })
	})
	sum.mark(time.Since(started))
	running.Wait()
	sum.finish()
	<-told
	if _, err := io.WriteString(out, sum.String()); err != nil {
		return err
	}
	if ctx.Err() == nil && sum.good() == 0 {
		return errors.New("no request was answered well")
	}
	return nil
}

// arrive calls send at the instants of a Poisson process.
func (c *loadConfig) arrive(ctx context.Context, started time.Time, sum *loadSummary, send func(loadCall)) {
	r := rand.New(rand.NewPCG(c.seed, 0x10AD))
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / c.rate * float64(time.Second))
		if at >= c.length || !sleep(ctx, at-time.Since(started)) {
			return
		}
		if call := c.compose(r); sum.begin() {
			send(call)
		}
	}
}
