package epptest

import (
	"io"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Light talks like the reference picker of the Inference Extension (LWEPP): it
// answers the request's head behind the replies to all but the last piece of the
// body, each piece with nothing, and echoes the answer's head behind the endpoint
// that served. It has no word on trailers.
func Light(list string) Script {
	return func(s *Stream) error {
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.light(m, list); err != nil {
				return err
			}
		}
	}
}

func (s *Stream) light(m *extprocv3.ProcessingRequest, list string) error {
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		if r.RequestHeaders.GetEndOfStream() {
			return s.Send(Chosen(list, "X-Echo-Set-Header", "served:"+list))
		}
	case *extprocv3.ProcessingRequest_RequestBody:
		if r.RequestBody.GetEndOfStream() {
			if err := s.Send(Chosen(list, "X-Echo-Set-Header", "served:"+list)); err != nil {
				return err
			}
		}
		return s.Send(RequestBody(nil))
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		served := m.GetMetadataContext().GetFilterMetadata()["envoy.lb"].GetFields()["x-gateway-destination-endpoint-served"].GetStringValue()
		fields := []string{"x-conformance-test-served-endpoint", served, "x-went-into-resp-headers", "true"}
		for _, h := range r.ResponseHeaders.GetHeaders().GetHeaders() {
			fields = append(fields, h.GetKey(), string(h.GetRawValue()))
		}
		return s.Send(ResponseHead(fields...))
	case *extprocv3.ProcessingRequest_ResponseBody:
		return s.Send(ResponseBody(nil))
	}
	return nil
}

// Full talks like a full picker: it collects the request's body and returns what
// change makes of it in pieces of 62,000 bytes; of an answer it collects whatever
// is no event stream, and returns each piece of one that is.
func Full(list string, change func(body string) string) Script {
	return func(s *Stream) error {
		var body, answer strings.Builder
		events := false
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			switch r := m.GetRequest().(type) {
			case *extprocv3.ProcessingRequest_RequestHeaders:
				if r.RequestHeaders.GetEndOfStream() {
					err = s.Send(Chosen(list))
				}
			case *extprocv3.ProcessingRequest_RequestBody:
				body.Write(r.RequestBody.GetBody())
				if r.RequestBody.GetEndOfStream() {
					err = s.full(list, change(body.String()))
				}
			case *extprocv3.ProcessingRequest_ResponseHeaders:
				events = strings.HasPrefix(Field(r.ResponseHeaders.GetHeaders(), "content-type"), "text/event-stream")
				err = s.Send(ResponseHead("x-went-into-resp-headers", "true"))
			case *extprocv3.ProcessingRequest_ResponseBody:
				end := r.ResponseBody.GetEndOfStream()
				if events {
					err = s.Send(ResponseBody(Streamed(string(r.ResponseBody.GetBody()), end)))
				} else if answer.Write(r.ResponseBody.GetBody()); end {
					err = s.pieces(answer.String(), ResponseBody)
				}
			case *extprocv3.ProcessingRequest_ResponseTrailers:
				if !events {
					err = s.pieces(answer.String(), ResponseBody)
				}
				if err == nil {
					err = s.Send(ResponseTrailers("x-seen", "trailer"))
				}
			}
			if err != nil {
				return err
			}
		}
	}
}

func (s *Stream) full(list, body string) error {
	if err := s.Send(Chosen(list, "Content-Length", "4711")); err != nil {
		return err
	}
	return s.pieces(body, RequestBody)
}

func (s *Stream) pieces(body string, reply func(*extprocv3.BodyMutation) *extprocv3.ProcessingResponse) error {
	const most = 62000
	for len(body) > most {
		if err := s.Send(reply(Streamed(body[:most], false))); err != nil {
			return err
		}
		body = body[most:]
	}
	return s.Send(reply(Streamed(body, true)))
}

// Echo streams each piece of both bodies back the moment it comes, head first, as
// full duplex would have it.
func Echo(list string) Script {
	return func(s *Stream) error {
		for {
			m, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			switch r := m.GetRequest().(type) {
			case *extprocv3.ProcessingRequest_RequestHeaders:
				err = s.Send(Chosen(list))
			case *extprocv3.ProcessingRequest_RequestBody:
				err = s.Send(RequestBody(Streamed(string(r.RequestBody.GetBody()), r.RequestBody.GetEndOfStream())))
			case *extprocv3.ProcessingRequest_ResponseHeaders:
				err = s.Send(ResponseHead("x-went-into-resp-headers", "true"))
			case *extprocv3.ProcessingRequest_ResponseBody:
				err = s.Send(ResponseBody(Streamed(string(r.ResponseBody.GetBody()), r.ResponseBody.GetEndOfStream())))
			case *extprocv3.ProcessingRequest_ResponseTrailers:
				err = s.Send(ResponseTrailers("x-seen", "trailer"))
			}
			if err != nil {
				return err
			}
		}
	}
}

// Says sends messages when the request has come whole, then follows then.
func Says(then Script, messages ...*extprocv3.ProcessingResponse) Script {
	return func(s *Stream) error {
		if err := s.Whole(); err != nil {
			return err
		}
		for _, m := range messages {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		return then(s)
	}
}

// Whole receives the request to its end.
func (s *Stream) Whole() error {
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if m.GetRequestHeaders().GetEndOfStream() || m.GetRequestBody().GetEndOfStream() {
			return nil
		}
	}
}

// Leaves ends the stream in order.
func Leaves(*Stream) error { return nil }

// Hangs is silent until the client has gone.
func Hangs(s *Stream) error {
	<-s.Context().Done()
	return s.Context().Err()
}
