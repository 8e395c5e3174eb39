package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// The admin endpoint of the simulator: GET shows the faults, PUT replaces them
// all (what is absent gets its default), PATCH changes the fields it names.

func (s *Server) showFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Faults())
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	s.editFaults(w, r, func() Faults { return Faults{} })
}

func (s *Server) patchFaults(w http.ResponseWriter, r *http.Request) {
	s.editFaults(w, r, s.Faults)
}

func (s *Server) editFaults(w http.ResponseWriter, r *http.Request, from func() Faults) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err == nil {
		s.editing.Lock()
		defer s.editing.Unlock()
		f := from()
		if err = decodeFaults(body, &f); err == nil {
			err = s.storeFaults(f)
		}
	}
	if err != nil {
		writeError(w, badRequest("", "%s", err))
		return
	}
	s.log.Info("faults changed", "server", s.name, "faults", s.Faults())
	writeJSON(w, http.StatusOK, s.Faults())
}

// ParseFaults reads the JSON form of faults, as a pod's annotation has it. What is
// absent gets its default. The error tells a field that is unknown, of another
// type, or out of range.
func ParseFaults(text string) (Faults, error) {
	var f Faults
	if err := decodeFaults([]byte(text), &f); err != nil {
		return Faults{}, fmt.Errorf("read faults: %w", err)
	}
	f = f.withDefaults()
	return f, f.check()
}

// decodeFaults refuses fields it does not know: a typo would otherwise pass for
// a fault that does nothing.
func decodeFaults(body []byte, f *Faults) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(f); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("want one JSON object and nothing after it")
	}
	return nil
}
