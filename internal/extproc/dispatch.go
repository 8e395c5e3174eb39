package extproc

import (
	"errors"
	"io"

	"crossfade.dev/internal/scheduling"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// listen listens to the picker while an endpoint works, up to the first message that
// belongs to the answer. A picker that answers the request itself (it may evict it)
// has the endpoint stopped, and so has one that fails and without which the request
// is to fail.
func (c *Call) listen() {
	c.running.Go(func() {
		got := c.listenOn()
		var answer *scheduling.ExternalAnswer
		err := c.failed(got.err)
		if errors.As(err, &answer) || errors.Is(err, scheduling.ErrExternal) && got.err != io.EOF && !c.pool.Picker.FailOpen {
			c.withdraw(err)
		}
		c.next <- got
	})
}

func (c *Call) listenOn() received {
	for range maxMessages {
		m, err := c.receive()
		if err != nil {
			return received{err: err}
		}
		switch r := m.GetResponse().(type) {
		case *extprocv3.ProcessingResponse_ImmediateResponse:
			return received{err: immediate(r.ImmediateResponse)}
		case *extprocv3.ProcessingResponse_RequestHeaders, *extprocv3.ProcessingResponse_RequestBody,
			*extprocv3.ProcessingResponse_RequestTrailers, nil:
			// Late words about the request.
		default:
			return received{message: m}
		}
	}
	return received{err: errors.New("it goes on about a request that is under way")}
}
