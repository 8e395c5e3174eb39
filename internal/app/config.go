package app

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"crossfade.dev/internal/scheduling"
)

// Config is everything a role needs to know before it starts; what may change
// while it runs are watched objects, not flags.
type Config struct {
	// Paths are the files and directories with objects.
	Paths []string
	// HoldOff is how long after a file's change the source waits for more before
	// it reads.
	HoldOff time.Duration
	// Bind is the address listeners bind, without a port; "" is every address.
	Bind string
	// Admin is the host:port of the admin server.
	Admin string
	// Drain bounds how long running requests may finish after a stop signal.
	Drain time.Duration
	// Leave is how long, of Drain, connections stay open after a stop signal while
	// each answer asks its client to open another one, elsewhere.
	Leave time.Duration
	// AccessLog is the share of requests logged, 0 to 1.
	AccessLog float64
	// SimSpeed is the clock factor of simulated model servers: 10 is ten times
	// faster than the engine they model. SimSeed makes their faults repeatable.
	SimSpeed float64
	SimSeed  uint64
	// PollInterval is the time between reads of an endpoint's metrics.
	PollInterval time.Duration
	// Objective is what endpoints are chosen for: ttft, balanced or e2e.
	Objective string
	// QueueCalls is how many calls of one pool may wait while all its endpoints
	// are full, 0 for none; QueueFor bounds each wait.
	QueueCalls int
	QueueFor   time.Duration
	// ShareInterval is the time between two tellings of what is in flight to the
	// other pods of the data plane; 0: nothing is told, and nothing heard.
	ShareInterval time.Duration
	// FirstByteTimeout and StreamIdleTimeout bound the wait for an endpoint's
	// answer and between two parts of it; 0 means no bound.
	FirstByteTimeout  time.Duration
	StreamIdleTimeout time.Duration
	// MaxBodyBytes is the largest request body that is buffered where no policy
	// says otherwise; BufferBytes bounds all buffered bodies together.
	MaxBodyBytes int64
	BufferBytes  int64
	// StateFile is where Up keeps the statuses of rollouts over restarts, "" for
	// nowhere; see DefaultStateFile.
	StateFile string
	// Log takes the gateway's own log.
	Log *slog.Logger
}

// Defaults returns the configuration that flags start from.
func Defaults() Config {
	return Config{
		HoldOff:      50 * time.Millisecond,
		Bind:         "127.0.0.1",
		Admin:        "127.0.0.1:19000",
		Drain:        15 * time.Minute,
		SimSpeed:     1,
		SimSeed:      1,
		PollInterval: time.Second,
		Objective:    string(scheduling.Balanced),
		QueueCalls:   1024,
		QueueFor:     scheduling.DefaultQueueFor,
		MaxBodyBytes: 32 << 20,
		BufferBytes:  1 << 30,
		Log:          slog.New(slog.DiscardHandler),
	}
}

// mistakes collects what is wrong with a Config.
type mistakes []error

func (m *mistakes) unless(ok bool, format string, args ...any) {
	if !ok {
		*m = append(*m, fmt.Errorf(format, args...))
	}
}

// validateUp returns every mistake in what Up reads of c, each naming the flag and
// a remedy.
func (c Config) validateUp() error {
	var m mistakes
	m.unless(len(c.Paths) > 0, "no PATH given: name at least one YAML file or directory")
	m.unless(c.Bind != "", "--bind is empty; try 127.0.0.1 or 0.0.0.0")
	m.unless(c.SimSpeed > 0 && !math.IsInf(c.SimSpeed, 0), "--sim-speed %v must be above 0", c.SimSpeed)
	return errors.Join(append(m, c.validateServing())...)
}

// validateServing does the same for what every role that serves reads.
func (c Config) validateServing() error {
	var m mistakes
	bad := m.unless
	bad(c.Bind == "" || net.ParseIP(c.Bind) != nil, "--bind %q is not an IP address; try 127.0.0.1 or 0.0.0.0", c.Bind)
	_, _, err := net.SplitHostPort(c.Admin)
	bad(err == nil, "--admin %q is not host:port; try 127.0.0.1:19000", c.Admin)
	bad(c.Drain >= 0, "--drain %s is negative", c.Drain)
	bad(c.Leave >= 0, "the time to leave, %s, is negative", c.Leave)
	bad(c.AccessLog >= 0 && c.AccessLog <= 1, "--access-log %v is not a share between 0 and 1", c.AccessLog)
	bad(c.PollInterval >= 100*time.Millisecond, "--poll-interval %s is below 100ms", c.PollInterval)
	_, err = scheduling.ParseObjective(c.Objective)
	bad(err == nil, "--objective %q is not ttft, balanced or e2e", c.Objective)
	bad(c.QueueCalls >= 0, "--queue %d is negative; 0 lets no call wait", c.QueueCalls)
	bad(c.QueueFor > 0, "--queue-for %s must be above 0; --queue 0 lets no call wait", c.QueueFor)
	bad(c.ShareInterval == 0 || c.ShareInterval >= 10*time.Millisecond && c.ShareInterval <= time.Second,
		"--share-interval %s is not between 10ms and 1s; 0 shares nothing", c.ShareInterval)
	bad(c.FirstByteTimeout >= 0, "--first-byte-timeout %s is negative", c.FirstByteTimeout)
	bad(c.StreamIdleTimeout >= 0, "--stream-idle-timeout %s is negative", c.StreamIdleTimeout)
	bad(c.MaxBodyBytes > 0, "--max-body %d must be above 0 bytes", c.MaxBodyBytes)
	bad(c.BufferBytes >= c.MaxBodyBytes, "--buffer-memory %d is below --max-body %d", c.BufferBytes, c.MaxBodyBytes)
	return errors.Join(m...)
}
