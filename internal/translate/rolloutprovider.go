package translate

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
)

// Provider is what is to be asked for the value of a guardrail from outside: a
// Prometheus (Address and Query are set) or a webhook (URL is).
type Provider struct {
	Guardrail string
	// Address of the Prometheus, without a path of its API, and the Query in
	// PromQL, whose placeholders are replaced.
	Address, Query string
	URL            string // of the webhook
	// Interval between two questions, 5 s to a day, and Timeout of one, 1 s to a
	// minute.
	Interval, Timeout time.Duration
}

// Bounds of asking a provider, and what is taken where none is set.
const (
	defaultInterval = 30 * time.Second
	leastInterval   = 5 * time.Second
	mostInterval    = 24 * time.Hour
	defaultTimeout  = 10 * time.Second
	leastTimeout    = time.Second
	mostTimeout     = time.Minute
)

// providersOf returns the providers of a rollout's guardrails, and what is wrong with
// those that are left out.
func providersOf(o *cfv1a1.InferenceRollout) (out []Provider, errs []error) {
	for i := range o.Spec.Analysis.Guardrails {
		g := &o.Spec.Analysis.Guardrails[i]
		if g.External == nil {
			continue
		}
		p, err := providerOf(o, g)
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.analysis.guardrails[%d].external%w", i, err))
			continue
		}
		out = append(out, p)
	}
	return out, errs
}

// providerOf returns the provider of one guardrail; an error begins with the field
// below external.
func providerOf(o *cfv1a1.InferenceRollout, g *cfv1a1.RolloutGuardrail) (Provider, error) {
	x := g.External
	p := Provider{Guardrail: g.Name, Interval: cmp.Or(span(x.Interval), defaultInterval), Timeout: cmp.Or(span(x.Timeout), defaultTimeout)}
	switch {
	case (x.Prometheus == nil) == (x.Webhook == nil):
		return p, errors.New(": says not who is asked; set either prometheus or webhook")
	case x.Min == nil && x.Max == nil && g.Class != "Info":
		return p, errors.New(": every value is good; set min, max or both")
	case x.Min != nil && x.Max != nil && *x.Min > *x.Max:
		return p, fmt.Errorf(": no value is between min %v and max %v; exchange the two", *x.Min, *x.Max)
	case p.Interval < leastInterval || p.Interval > mostInterval:
		return p, fmt.Errorf(".interval: %s is too short or too long; use %s to %s", p.Interval, leastInterval, mostInterval)
	case p.Timeout < leastTimeout || p.Timeout > mostTimeout:
		return p, fmt.Errorf(".timeout: %s is too short or too long; use %s to %s", p.Timeout, leastTimeout, mostTimeout)
	}
	if x.Webhook != nil {
		p.URL = x.Webhook.URL
		return p, checkURL(".webhook.url", p.URL)
	}
	p.Address = strings.TrimRight(x.Prometheus.Address, "/")
	if err := checkURL(".prometheus.address", p.Address); err != nil {
		return p, err
	}
	var err error
	p.Query, err = fillIn(x.Prometheus.Query, o)
	return p, err
}

// checkURL says what is wrong with a URL of field. It is never repeated in the
// message: there may be a password in it.
func checkURL(field, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%s: is no URL; write http:// or https:// and a host", field)
	case u.User != nil:
		return fmt.Errorf("%s: holds credentials, which everyone who reads the rollout would see; leave them out", field)
	case u.Fragment != "" || field == ".prometheus.address" && u.RawQuery != "":
		return fmt.Errorf("%s: has a part after ? or #; leave it out", field)
	}
	return nil
}

// fillIn replaces the placeholders of a query by names.
func fillIn(query string, o *cfv1a1.InferenceRollout) (string, error) {
	values := map[string]string{
		"{{stable}}": bareName(o.Spec.Stable), "{{candidate}}": bareName(o.Spec.Candidate),
		"{{namespace}}": o.Namespace, "{{name}}": o.Name,
	}
	var pairs []string
	for placeholder, name := range values {
		// Such a name would end the string that it stands in.
		if strings.Contains(query, placeholder) && strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune("\"'`\\", r) }) {
			return "", fmt.Errorf(".prometheus.query: %s is %q, which cannot stand in a query; write the query without it", placeholder, name)
		}
		pairs = append(pairs, placeholder, name)
	}
	filled := strings.NewReplacer(pairs...).Replace(query)
	switch {
	case strings.TrimSpace(filled) == "":
		return "", errors.New(".prometheus.query: is empty; write one in PromQL")
	case strings.Contains(filled, "{{"):
		return "", errors.New(".prometheus.query: has a placeholder that is not known; use {{stable}}, {{candidate}}, {{namespace}} and {{name}}")
	}
	return filled, nil
}

// bareName is the name of a version's pool or model.
func bareName(s cfv1a1.RolloutSide) string { return cmp.Or(s.Model, s.Name) }
