package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/status"
)

// A Call is the conversation with a picker about one request. Its methods are
// called one after another, Choose first and Close last.
type Call struct {
	client *Client
	pool   *routing.Pool
	shared *prepared

	// parent is the request's context. dispatch, of which the endpoint is asked, ends
	// also when the picker answers the request itself.
	parent   context.Context
	dispatch context.Context
	withdraw context.CancelCauseFunc

	// The stream, and its context: it is cancelled with errSilent when time is up.
	connection *connection
	stream     extprocv3.ExternalProcessor_ProcessClient
	ctx        context.Context
	cancel     context.CancelCauseFunc
	unbind     func() bool // ctx from parent
	patience   patience

	// next holds what dispatch.go received for the answer.
	next chan received
	over bool // the stream has ended in order

	answer  *answer // nil before Answer
	charged int64   // to client.memory

	running sync.WaitGroup // goroutines that use the stream
}

// received is what a stream brought.
type received struct {
	message *extprocv3.ProcessingResponse
	err     error
}

var errSilent = errors.New("no reply in time")

func newCall(ctx context.Context, c *Client, pool *routing.Pool, p *prepared) *Call {
	call := &Call{client: c, pool: pool, shared: p, parent: ctx, next: make(chan received, 1)}
	call.patience.period = c.opts.Timeout
	call.dispatch, call.withdraw = context.WithCancelCause(ctx)
	return call
}

// Context ends with the request's own, and when the picker wants the request ended
// after it has chosen. Its cause then is a *scheduling.ExternalAnswer or wraps
// scheduling.ErrExternal.
func (c *Call) Context() context.Context { return c.dispatch }

// open begins a stream at one of the picker's endpoints.
func (c *Call) open(address string) error {
	n, err := c.client.connections.take(target{address, c.pool.Picker.Plaintext})
	if err != nil {
		return err
	}
	// The stream outlives the request by the time it takes to take leave.
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(c.parent))
	cancel := c.cancel
	c.unbind = context.AfterFunc(c.parent, func() { cancel(context.Canceled) })
	c.patience.start(func() { cancel(errSilent) })
	stream, err := extprocv3.NewExternalProcessorClient(n.ClientConn).Process(c.ctx)
	if err != nil {
		err = c.explain(err)
		c.patience.stop()
		c.unbind()
		c.cancel(nil)
		c.client.connections.give(n, false)
		return err
	}
	c.connection, c.stream = n, stream
	return nil
}

// receive returns the next message. It minds what messages say about time.
func (c *Call) receive() (*extprocv3.ProcessingResponse, error) {
	m, err := c.stream.Recv()
	if err != nil {
		return nil, c.explain(err)
	}
	if d := m.GetOverrideMessageTimeout(); d != nil && d.AsDuration() > 0 {
		c.patience.extend(min(d.AsDuration(), longestTimeout))
	}
	return m, nil
}

// explain says why the stream failed: what was first, not what followed from it.
func (c *Call) explain(err error) error {
	switch {
	case err == io.EOF:
		return err
	case c.parent.Err() != nil:
		return context.Cause(c.parent)
	}
	// Ours are errSilent and a relay's complaints.
	if cause := context.Cause(c.ctx); cause != nil && cause != context.Canceled {
		return cause
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("stream ended with %s: %.200s", s.Code(), s.Message())
	}
	return err
}

// failed makes err the picker's failure, unless it is the request's end or the
// picker's answer.
func (c *Call) failed(err error) error {
	var answer *scheduling.ExternalAnswer
	if err == nil || c.parent.Err() != nil || errors.As(err, &answer) || errors.Is(err, scheduling.ErrExternal) {
		return err
	}
	if err == io.EOF {
		err = errors.New("it closed the stream before it had said all")
	}
	return fmt.Errorf("%w: %s: %w", scheduling.ErrExternal, c.pool.Picker.Service, err)
}

// charge accounts for bytes held, at present n.
func (c *Call) charge(n int) error {
	delta := int64(n) - c.charged
	c.charged = int64(n)
	if c.client.memory.Add(delta) > c.client.opts.BufferBytes && delta > 0 {
		return errors.New("no memory is left for what pickers hold")
	}
	return nil
}

// end leaves the stream at once.
func (c *Call) end() {
	if c.stream == nil {
		return
	}
	silent := context.Cause(c.ctx) == errSilent
	c.patience.stop()
	c.unbind()
	c.cancel(nil)
	c.running.Wait()
	c.client.connections.give(c.connection, silent)
	c.connection, c.stream = nil, nil
}

// partingTime is how long a picker may take to end a stream that is over.
const partingTime = 5 * time.Second

// Close takes leave of the picker. The endpoint's answer that was given to Answer,
// if any, must have been closed or read to its end before.
func (c *Call) Close() {
	c.withdraw(nil)
	_ = c.charge(0) // giving back never fails
	if c.stream == nil {
		return
	}
	if c.parent.Err() != nil || c.answer == nil || !c.answer.finished() {
		c.end()
		return
	}
	// A reset would tell the picker that the request was broken off.
	c.unbind()
	c.patience.extend(partingTime)
	c.patience.begin()
	c.running.Wait()
	_ = c.stream.CloseSend() // an error is the stream's end, which is fine
	c.answer = nil
	c.client.parting.Go(func() {
		for n := 0; n < maxMessages; n++ {
			if _, err := c.stream.Recv(); err != nil {
				break
			}
		}
		c.end()
	})
}
