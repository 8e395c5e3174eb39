package extproc

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// Choose shows the picker a request and returns the addresses it chose, all of the
// pool and the best first.
//
// header holds the request's fields and, under their own names, the pseudo-headers
// :method, :scheme, :authority and :path. It is changed as the picker wants it,
// pseudo-headers, Host and what frames the message excepted. body is what the
// endpoint would be sent, in parts; Choose returns what to send in its place, nil
// when it stays as it is. What it returns may alias body.
//
// The error is a *scheduling.ExternalAnswer, wraps scheduling.ErrExternal, or is the
// cause of the context's end. After one, the Call can only be closed.
func (c *Call) Choose(header http.Header, body [][]byte) (endpoints []string, replaced [][]byte, err error) {
	made, err := c.ask(header, pieces(body))
	if err == nil {
		endpoints, err = c.conclude(made)
	}
	err = c.failed(err)
	c.client.judge(c.pool, c.shared.picker, err)
	if err != nil {
		c.end()
		return nil, nil, err
	}
	made.edits.apply(header)
	c.listen()
	return endpoints, made.newBody(), nil
}

// conclude finds the endpoints that a choice is about.
func (c *Call) conclude(made *choice) ([]string, error) {
	list, err := made.list()
	if err != nil {
		return nil, err
	}
	return destinations(list, c.pool.Endpoints)
}

// ask asks one of the picker's endpoints after another, until one says something.
// Endpoints take turns in being the first.
func (c *Call) ask(header http.Header, body [][]byte) (*choice, error) {
	addresses := c.pool.Picker.Endpoints
	err := errors.New("it has no ready endpoint")
	first := int(c.shared.next.Add(1) % uint32(max(len(addresses), 1)))
	for i := range addresses {
		if err = c.open(addresses[(first+i)%len(addresses)]); err == nil {
			made := &choice{pieces: body, limit: c.client.opts.MaxBodyBytes}
			if err = c.converse(made, header); err == nil {
				return made, nil
			}
			silent := errors.Is(err, errSilent)
			if c.end(); made.heard || silent {
				return nil, err
			}
		}
		if c.parent.Err() != nil {
			break
		}
	}
	return nil, err
}

// converse sends the request and feeds made with the replies until it has all it
// needs.
func (c *Call) converse(made *choice, header http.Header) error {
	var enough atomic.Bool
	finished := make(chan struct{})
	if len(made.pieces) < 2 {
		c.sendRequest(header, made.pieces, &enough)
		close(finished)
	} else {
		// A picker may return the body's beginning before it takes its end.
		c.running.Go(func() {
			defer close(finished)
			c.sendRequest(header, made.pieces, &enough)
		})
	}
	for !made.done() {
		m, err := c.receive()
		if err != nil {
			return err
		}
		if err := made.take(m); err != nil {
			return err
		}
		if err := c.charge(made.replaced); err != nil {
			return err
		}
	}
	enough.Store(true)
	<-finished // time is still running
	c.patience.stop()
	return nil
}

// sendRequest sends head and body until the picker has enough. When the stream
// breaks, receiving tells why.
func (c *Call) sendRequest(header http.Header, body [][]byte, enough *atomic.Bool) {
	hint := c.shared.hint
	if c.stream.Send(requestHead(header, len(body) == 0, hint)) != nil {
		return
	}
	for i, p := range body {
		if enough.Load() || c.stream.Send(requestBody(p, i == len(body)-1, hint)) != nil {
			return
		}
	}
}
