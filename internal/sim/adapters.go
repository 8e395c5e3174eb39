package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// adapterList is the server's LoRA adapters. The zero value is empty.
type adapterList struct {
	mu   sync.Mutex
	list []Adapter
}

// Bounds of what may be loaded while running.
const (
	maxAdapters   = 1024
	maxAdapterLen = 256
)

func (l *adapterList) all() []Adapter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *adapterList) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index(name) >= 0
}

func (l *adapterList) index(name string) int {
	return slices.IndexFunc(l.list, func(a Adapter) bool { return a.Name == name })
}

// add appends an adapter, or replaces the one of its name if told to.
func (l *adapterList) add(a Adapter, replace bool) *apiError {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.index(a.Name)
	switch {
	case i >= 0 && replace:
		l.list[i] = a
	case i >= 0:
		return invalidInput("the LoRA adapter '%s' is loaded already", a.Name)
	case len(l.list) >= maxAdapters:
		return badRequest("", "%d adapters are loaded, more are not allowed", maxAdapters)
	default:
		l.list = append(l.list, a)
	}
	return nil
}

func (l *adapterList) remove(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.index(name)
	if i < 0 {
		return false
	}
	l.list = slices.Delete(l.list, i, i+1)
	return true
}

func invalidInput(format string, args ...any) *apiError {
	e := badRequest("", format, args...)
	e.Type = "InvalidUserInput"
	return e
}

type adapterRequest struct {
	Name    string `json:"lora_name"`
	Path    string `json:"lora_path"`
	InPlace bool   `json:"load_inplace"`
}

// loadAdapter answers as vLLM does with runtime updates allowed. There are no
// files here, so every path exists but one with an element "missing". The slot
// is filled, and the time for it spent, by the adapter's first request.
func (s *Server) loadAdapter(w http.ResponseWriter, r *http.Request) {
	var req adapterRequest
	if e := s.decode(w, r, &req); e != nil {
		writeError(w, e)
		return
	}
	if e := s.admitAdapter(req); e != nil {
		writeError(w, e)
		return
	}
	s.log.Info("adapter loaded", "server", s.name, "adapter", req.Name)
	writeText(w, fmt.Sprintf("Success: LoRA adapter '%s' added successfully.", req.Name))
}

func (s *Server) admitAdapter(req adapterRequest) *apiError {
	switch {
	case !s.cfg.EnableLoRA:
		return badRequest("", "LoRA is not enabled: start the server with --enable-lora")
	case req.Name == "" || req.Path == "":
		return invalidInput("lora_name and lora_path must both be given")
	case len(req.Name) > maxAdapterLen || len(req.Path) > 4096:
		return invalidInput("lora_name or lora_path is too long")
	case slices.Contains(s.cfg.ServedNames, req.Name):
		return invalidInput("the name '%s' belongs to the base model", req.Name)
	case slices.Contains(strings.Split(req.Path, "/"), "missing"):
		return notFound("", "no adapter found at %s", req.Path)
	}
	return s.adapters.add(Adapter{Name: req.Name, Path: req.Path}, req.InPlace)
}

func (s *Server) unloadAdapter(w http.ResponseWriter, r *http.Request) {
	var req adapterRequest
	e := s.decode(w, r, &req)
	switch {
	case e != nil:
	case req.Name == "":
		e = invalidInput("lora_name must be given")
	case !s.adapters.remove(req.Name):
		e = notFound("", "the LoRA adapter '%s' is not loaded", req.Name)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	s.driver.unload(req.Name)
	s.log.Info("adapter unloaded", "server", s.name, "adapter", req.Name)
	writeText(w, fmt.Sprintf("Success: LoRA adapter '%s' removed successfully.", req.Name))
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // a client that is gone needs no answer
}
