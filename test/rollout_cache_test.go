package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Sessions that stay with their version find their prefixes cached there; with every
// request by chance the candidate's cache is of little use (scenario 15).
func TestRolloutCache(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t, `--max-model-len`, `--enable-prompt-tokens-details, --max-model-len`, "percent: 50", "percent: 25"))
	g.untilShare(t, 2500)
	sticky, random := g.conversations(t, "sticky", true), g.conversations(t, "random", false)
	if sticky[candidateModel] < 0.9*sticky[stableModel] {
		t.Errorf("with sessions the candidate has cached %.0f %%, stable %.0f %%", 100*sticky[candidateModel], 100*sticky[stableModel])
	}
	if random[candidateModel] > 0.75*random[stableModel] {
		t.Errorf("by chance the candidate has cached %.0f %%, stable %.0f %%: the test shows nothing", 100*random[candidateModel], 100*random[stableModel])
	}
	t.Logf("cached with sessions: %v, by chance: %v", sticky, random)
}

// conversations has many of five turns and returns, by version, which part of the
// prompts of later turns was cached.
func (g *gateway) conversations(t *testing.T, salt string, sticky bool) map[string]float64 {
	t.Helper()
	var mu sync.Mutex
	cached, prompt := map[string]float64{}, map[string]float64{}
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			history := fmt.Sprintf("[%s %d] ", salt, i)
			for turn := range 5 {
				history += strings.Repeat(fmt.Sprintf("turn %d of conversation %d says this. ", turn, i), 30)
				session := ""
				if sticky {
					session = fmt.Sprint(salt, i)
				}
				c, p, version, err := g.turn(t.Context(), session, history)
				if err != nil {
					t.Error(err)
					return
				}
				if turn > 0 {
					mu.Lock()
					cached[version] += c
					prompt[version] += p
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	out := map[string]float64{}
	for version := range prompt {
		out[version] = cached[version] / prompt[version]
	}
	return out
}

func (g *gateway) turn(ctx context.Context, session, prompt string) (cached, tokens float64, version string, err error) {
	body, err := json.Marshal(map[string]any{"model": "mymodel", "max_tokens": 8, "messages": []map[string]string{{"role": "user", "content": prompt}}})
	if err != nil {
		return 0, 0, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/chat/completions"), bytes.NewReader(body))
	if err != nil {
		return 0, 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	if session != "" {
		r.Header.Set("X-Session-Id", session)
	}
	resp, err := g.client.Do(r)
	if err != nil {
		return 0, 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, "", err
	}
	var a struct {
		Usage struct {
			PromptTokens float64 `json:"prompt_tokens"`
			Details      struct {
				Cached float64 `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Usage.PromptTokens == 0 {
		return 0, 0, "", fmt.Errorf("status %d: %.200s (%w)", resp.StatusCode, text, err)
	}
	version = stableModel
	if strings.Contains(string(text), candidateModel) {
		version = candidateModel
	}
	return a.Usage.Details.Cached, a.Usage.PromptTokens, version, nil
}
