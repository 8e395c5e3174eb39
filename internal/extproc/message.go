package extproc

import (
	"net/http"
	"strings"

	"crossfade.dev/internal/routing"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// pieceBytes is the most of a body that one message carries: some receivers
	// allow no more than 64 KiB.
	pieceBytes = 62 << 10
	// maxHint is the largest pool whose endpoints are listed as the subset to pick
	// from. Each message of a request carries the list, and pickers know the pool's
	// selector anyway, so a larger one is not listed at all.
	maxHint = 2048
)

// metadataField is the number of ProcessingRequest.metadata_context.
const metadataField = 8

// subsetHint returns the field of a ProcessingRequest that names the pool's
// endpoints as those to pick from, encoded. It is the same for thousands of
// messages, so it is encoded once and put into each as it is.
func subsetHint(pool *routing.Pool) []byte {
	if len(pool.Endpoints) > maxHint {
		return nil
	}
	list := &structpb.ListValue{Values: make([]*structpb.Value, len(pool.Endpoints))}
	for i, e := range pool.Endpoints {
		list.Values[i] = structpb.NewStringValue(e.Address)
	}
	b, err := proto.Marshal(metadata(subsetSpace, subsetKey, structpb.NewListValue(list)))
	if err != nil {
		return nil // an address that is not UTF-8: no picker will choose it
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, metadataField, protowire.BytesType), b)
}

func metadata(space, key string, v *structpb.Value) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		space: {Fields: map[string]*structpb.Value{key: v}},
	}}
}

// hinted puts an encoded hint into a message. Fields a program does not know are
// written as they are, and so is one that it has never decoded.
func hinted(m *extprocv3.ProcessingRequest, hint []byte) *extprocv3.ProcessingRequest {
	if len(hint) > 0 {
		m.ProtoReflect().SetUnknown(hint)
	}
	return m
}

func requestHead(h http.Header, last bool, hint []byte) *extprocv3.ProcessingRequest {
	return hinted(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: headerMap(h), EndOfStream: last}},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{
			RequestBodyMode:                         modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
			ResponseBodyMode:                        modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
			SendBodyWithoutWaitingForHeaderResponse: true,
		},
	}, hint)
}

func requestBody(p []byte, last bool, hint []byte) *extprocv3.ProcessingRequest {
	return hinted(&extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: p, EndOfStream: last}},
	}, hint)
}

func responseHead(h http.Header, served string, last bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request:         &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{Headers: headerMap(h), EndOfStream: last}},
		MetadataContext: metadata(destinationSpace, servedKey, structpb.NewStringValue(served)),
	}
}

func responseBody(p []byte, last bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: p, EndOfStream: last}},
	}
}

func responseTrailers(h http.Header) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headerMap(h)}},
	}
}

// headerMap lists the fields of h, pseudo-headers first, in lower case and as raw
// values, which is how Envoy sends them.
func headerMap(h http.Header) *corev3.HeaderMap {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	m := &corev3.HeaderMap{Headers: make([]*corev3.HeaderValue, 0, n)}
	fields := make([]corev3.HeaderValue, n)
	add := func(name string, values []string) {
		for _, v := range values {
			f := &fields[len(m.Headers)]
			f.Key, f.RawValue = name, []byte(v)
			m.Headers = append(m.Headers, f)
		}
	}
	for name, values := range h {
		if strings.HasPrefix(name, ":") {
			add(name, values)
		}
	}
	for name, values := range h {
		if !strings.HasPrefix(name, ":") {
			add(strings.ToLower(name), values)
		}
	}
	return m
}

// pieces cuts a body into what one message carries each. A body in several parts
// is joined: one message more costs more than the copy.
func pieces(body [][]byte) [][]byte {
	var whole []byte
	if len(body) == 1 {
		whole = body[0]
	} else {
		size := 0
		for _, p := range body {
			size += len(p)
		}
		whole = make([]byte, 0, size)
		for _, p := range body {
			whole = append(whole, p...)
		}
	}
	var out [][]byte
	for len(whole) > 0 {
		n := min(len(whole), pieceBytes)
		out = append(out, whole[:n:n])
		whole = whole[n:]
	}
	return out
}
