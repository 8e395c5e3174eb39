package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// What Sources.Ask returns beside other errors: there is no such rollout, or it is
// not in a state for what is asked.
var (
	ErrNotFound = errors.New("no such rollout")
	ErrConflict = errors.New("not now")
)

// RolloutList is the answer of GET /rollouts.
type RolloutList struct {
	Items []*cfv1a1.InferenceRollout `json:"items"`
}

// maxRequest bounds a verb's JSON in bytes.
const maxRequest = 64 << 10

// handleRollouts adds the pages of rollouts, where this process has them.
func handleRollouts(mux *http.ServeMux, s Sources) {
	if s.Rollouts != nil {
		mux.HandleFunc("GET /rollouts", func(w http.ResponseWriter, _ *http.Request) {
			list := s.Rollouts()
			slices.SortFunc(list, func(a, b *cfv1a1.InferenceRollout) int {
				return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
			})
			writeJSON(w, RolloutList{Items: append([]*cfv1a1.InferenceRollout{}, list...)})
		})
	}
	if s.Ask == nil {
		return
	}
	// A page of a stranger in somebody's browser must not move traffic.
	safe := http.NewCrossOriginProtection()
	mux.Handle("POST /rollouts/{namespace}/{name}/request", safe.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, status, err := readRequest(w, r)
		if err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		namespace, name := r.PathValue("namespace"), r.PathValue("name")
		o, taken, err := s.Ask(r.Context(), namespace, name, request)
		switch {
		case errors.Is(err, ErrNotFound):
			http.Error(w, fmt.Sprintf("there is no InferenceRollout %s/%s; GET /rollouts lists them", namespace, name), http.StatusNotFound)
		case errors.Is(err, ErrConflict):
			http.Error(w, err.Error(), http.StatusConflict)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case taken:
			writeJSON(w, o)
		default:
			writeJSONAs(w, http.StatusAccepted, o)
		}
	})))
}

// readRequest reads a verb and says what is wrong with it.
func readRequest(w http.ResponseWriter, r *http.Request) (out cfv1a1.RolloutRequest, status int, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return out, http.StatusUnsupportedMediaType, errors.New("want Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return out, http.StatusRequestEntityTooLarge, fmt.Errorf("the request is longer than %d bytes", tooLong.Limit)
	} else if err != nil {
		return out, http.StatusBadRequest, errors.New("the request ended early")
	}
	if err := decodeStrictly(body, &out); err != nil {
		return out, http.StatusBadRequest, fmt.Errorf(`%w; want JSON such as {"verb": "abort", "attempt": 1, "reason": "…"}`, err)
	}
	if err := checkRequest(&out); err != nil {
		return out, http.StatusBadRequest, err
	}
	return out, 0, nil
}

// checkRequest says what is wrong with a verb whatever the rollout does.
func checkRequest(r *cfv1a1.RolloutRequest) error {
	if verbs := rollout.Verbs(); !slices.Contains(verbs, rollout.Verb(r.Verb)) {
		return fmt.Errorf("verb %.40q is none of %v", r.Verb, verbs)
	}
	switch {
	case r.Verb != string(rollout.VerbSetShare) && r.Percent != 0:
		return fmt.Errorf("percent is of %s alone", rollout.VerbSetShare)
	case !(r.Percent >= 0 && r.Percent <= 100):
		return fmt.Errorf("percent %v is not between 0 and 100", r.Percent)
	case r.Attempt < 0:
		return fmt.Errorf("attempt %d is negative", r.Attempt)
	case len(r.ID) > 128 || len(r.By) > 256 || len(r.Reason) > 1024:
		return errors.New("id, by or reason is too long; at most 128, 256 and 1024 bytes are taken")
	}
	return nil
}

// decodeStrictly decodes one JSON value whose fields are all known.
func decodeStrictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the request cannot be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	return nil
}
