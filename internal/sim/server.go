package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is one simulated model server. All methods may be called at once.
type Server struct {
	cfg      Config
	name     string
	log      *slog.Logger
	maxBody  int64
	speed    float64
	created  int64 // Unix seconds, as /v1/models reports it
	driver   *driver
	adapters adapterList
	faults   atomic.Pointer[Faults]
	editing  sync.Mutex // of faults

	dice   sync.Mutex // guards random
	random *rand.Rand
}

// Options are what a command line of vLLM does not say. The zero value is
// complete.
type Options struct {
	// Speed is the clock factor: with 10, everything takes a tenth of the time.
	// +Inf never waits. 0 means 1.
	Speed float64
	// Seed makes faults and identifiers repeat. Servers of one seed differ by
	// Name.
	Seed uint64
	// Name is told in /version, metrics and logs; for instance the pod's name.
	Name string
	// Logger receives changes of faults and adapters, never prompts. nil is silent.
	Logger *slog.Logger
	// MaxBody bounds a request body, in bytes. 0 means 32 MiB.
	MaxBody int64
}

// New makes a server that is ready to answer; nothing runs until a request
// comes. Missing parts of cfg get their defaults.
func New(cfg Config, opts Options) *Server {
	cfg = cfg.withDefaults()
	if !(opts.Speed > 0) {
		opts.Speed = 1
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = 32 << 20
	}
	s := &Server{
		cfg:     cfg,
		name:    opts.Name,
		log:     opts.Logger,
		maxBody: opts.MaxBody,
		speed:   opts.Speed,
		created: time.Now().Unix(),
		random:  rand.New(rand.NewPCG(hashString(opts.Seed, opts.Name), cfg.Seed)),
	}
	var resident []string
	if cfg.EnableLoRA {
		s.adapters.list = append(s.adapters.list, cfg.Adapters...)
		for _, a := range cfg.Adapters {
			resident = append(resident, a.Name)
		}
	}
	engine := NewEngine(cfg.Limits, cfg.Profile.Timing, resident...)
	s.driver = newDriver(engine, newMeters(cfg.ServedNames[0], cfg.Limits.MaxModelLen), opts.Speed)
	none := Faults{}.withDefaults()
	s.faults.Store(&none)
	return s
}

// Config returns the complete configuration.
func (s *Server) Config() Config { return s.cfg }

// Stats reads the engine's state.
func (s *Server) Stats() Stats { return s.driver.stats() }

// SetFaults replaces the faults, for the requests that arrive from now on. The
// error names the fields that are out of range.
func (s *Server) SetFaults(f Faults) error {
	s.editing.Lock()
	defer s.editing.Unlock()
	return s.storeFaults(f)
}

// Faults returns the faults in force.
func (s *Server) Faults() Faults { return *s.faults.Load() }

func (s *Server) storeFaults(f Faults) error {
	f = f.withDefaults()
	if err := f.check(); err != nil {
		return err
	}
	s.faults.Store(&f)
	timing := s.cfg.Profile.Timing.scaled(f.PrefillMultiplier, f.DecodeMultiplier)
	s.driver.setTiming(timing, millis(f.ExtraITLMs))
	return nil
}

// vLLM closes a kept-alive connection after this idle time (uvicorn's default),
// a race that clients must know how to lose.
const keepAlive = 5 * time.Second

// drain is how long requests may go on after Serve was told to stop.
const drain = 5 * time.Second

// Serve answers requests on ln until ctx ends, then lets running ones finish for
// a few seconds and cuts the rest. It closes ln. The error is nil after ctx ended.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	hs := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, done := context.WithTimeout(base, drain)
		defer done()
		if hs.Shutdown(grace) != nil {
			cut()
			_ = hs.Close() // only listeners and connections we are abandoning anyway
		}
	})
	err := hs.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	stop()
	return fmt.Errorf("serve simulated %s: %w", s.cfg.Model, err)
}

// roll draws two numbers in [0, 1) for the faults of one request.
func (s *Server) roll() (u, v float64) {
	s.dice.Lock()
	defer s.dice.Unlock()
	return s.random.Float64(), s.random.Float64()
}

// newID is an identifier as vLLM makes them: a prefix and a random UUID.
func (s *Server) newID(prefix string) string {
	s.dice.Lock()
	a, b := s.random.Uint64(), s.random.Uint64()
	s.dice.Unlock()
	return fmt.Sprintf("%s%08x-%04x-4%03x-%04x-%012x",
		prefix, a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

// speedText prints the clock factor.
func (s *Server) speedText() string {
	if math.IsInf(s.speed, 1) {
		return "unlimited"
	}
	return fmt.Sprintf("%gx", s.speed)
}
