package translate

import (
	"fmt"
	"slices"

	"crossfade.dev/internal/routing"
)

// maxAttempts is how many retries of one request a route may ask for: more would
// turn one client into a flood.
const maxAttempts = 100

// translateRetry translates the rule's retry.
func (r *rule) translateRetry() *fault {
	spec, at := r.spec.Retry, r.field+".retry"
	if spec == nil {
		return nil
	}
	out := &routing.Retry{}
	for i, code := range spec.Codes {
		if code < 400 || code > 599 {
			return unsupported(fmt.Sprintf("%s.codes[%d]", at, i), fmt.Sprintf("%d is no status of an error", code), "use 400 to 599")
		}
		out.Codes = append(out.Codes, int(code))
	}
	slices.Sort(out.Codes)
	out.Codes = slices.Compact(out.Codes)
	if spec.Attempts != nil {
		if out.Attempts = *spec.Attempts; out.Attempts < 1 || out.Attempts > maxAttempts {
			return unsupported(at+".attempts", fmt.Sprintf("%d attempts are not supported", out.Attempts), fmt.Sprintf("use 1 to %d", maxAttempts))
		}
	}
	if spec.Backoff != nil {
		var ok bool
		if out.Backoff, ok = duration(*spec.Backoff); !ok {
			return unsupported(at+".backoff", fmt.Sprintf("%q is no duration", *spec.Backoff), "write it as 100ms or 1s")
		}
	}
	r.routing.Retry = out
	return nil
}
