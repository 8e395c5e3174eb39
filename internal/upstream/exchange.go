package upstream

import (
	"context"
	"io"
	"net/http"
)

// exchange sends one request on one connection, takes in the response head and returns what is
// left to do as a Response. out is the rendered request head, followed by the body if the
// whole request is to leave in one write.
func (c *Client) exchange(ctx context.Context, cn *conn, req *Request, out *buffer, whole bool) (*Response, error) {
	r := &Response{client: c, conn: cn, ctx: ctx, idle: req.IdleTimeout}
	r.stop = cn.watch(ctx)
	op, err := r.send(req, out, whole)
	if err != nil {
		return nil, r.fail(op, err)
	}
	h, err := r.receiveHead(req)
	if err != nil {
		return nil, r.fail(OpHead, err)
	}
	if r.sender != nil {
		r.sender.headArrived()
		cn.tick = noTick
	}
	r.Status, r.Header, r.ContentLength = h.status, h.header, h.length
	if h.status == http.StatusSwitchingProtocols {
		return r, nil
	}
	r.persistent = h.persistent()
	r.body = h.body(req.Method, c.opts.MaxHeaderBytes)
	r.persistent = r.persistent && r.body.framing != byClose
	if r.body.done() && (r.sender == nil || r.sender.finished(0)) {
		r.complete()
	}
	return r, nil
}

// send sends the request, or starts to. When it went out in one write, the first bytes of the
// answer have arrived.
func (r *Response) send(req *Request, out *buffer, whole bool) (op string, err error) {
	cn := r.conn
	r.buf = r.client.reads.get()
	if whole {
		r.wait.period = req.FirstByteTimeout
		r.buf.w, op, err = cn.roundTrip(out, r.buf.data, &r.wait)
		r.heard = r.buf.w > 0
		return op, err
	}
	// No deadline until the request is out: only the sender knows when that is.
	if err := cn.begin(&r.wait); err != nil {
		r.client.writes.put(out)
		return OpWrite, err
	}
	if cn.reused && cn.stale() {
		r.client.writes.put(out)
		return OpWrite, errStale
	}
	r.sender = startSender(cn, req, out, req.size())
	return OpWrite, nil
}

// receiveHead reads until the head of the final response is complete and parses it. Bytes behind
// it stay in r.buf. Interim responses are passed over; together they may take as much as one head.
func (r *Response) receiveHead(req *Request) (head, error) {
	limit := r.client.opts.MaxHeaderBytes
	var scan headScan
	for interim := 0; ; {
		n, err := scan.end(r.buf.unread())
		if err != nil {
			return head{}, err
		}
		if n == 0 {
			if err := r.fill(limit); err != nil {
				return head{}, err
			}
			continue
		}
		if n > limit || interim > limit {
			return head{}, errHeadTooLong
		}
		h, err := parseHead(string(r.buf.unread()[:n-len("\r\n")]), scan.lines)
		if err != nil {
			return head{}, err
		}
		r.buf.r += n
		if h.status >= 200 || h.status == http.StatusSwitchingProtocols {
			return h, checkSwitch(req, &h)
		}
		scan, interim = headScan{}, interim+n
		if req.Informational != nil {
			req.Informational(h.status, h.header)
		}
	}
}

// checkSwitch refuses a change of protocol that nobody asked for.
func checkSwitch(req *Request, h *head) error {
	if h.status == http.StatusSwitchingProtocols && !req.Upgrade {
		return protocolError("unasked switch of protocols")
	}
	return nil
}

// fill reads more of the head.
func (r *Response) fill(limit int) error {
	if !r.buf.grow(limit) {
		return errHeadTooLong
	}
	n, err := r.readHead(r.buf.data[r.buf.w:])
	if n > 0 {
		r.buf.w += n
		r.heard = true
		return nil
	}
	if err == io.EOF && r.heard {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readHead reads once while the head is not complete. All such reads are one wait.
func (r *Response) readHead(p []byte) (int, error) {
	if r.sender == nil {
		return r.conn.read(p, &r.wait)
	}
	return r.conn.nc.Read(p)
}
