package epptest

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// Destination is the header and metadata key of the endpoints chosen.
const Destination = "x-gateway-destination-endpoint"

// Set makes header options, given as name and value in turn.
func Set(fields ...string) *extprocv3.HeaderMutation {
	m := &extprocv3.HeaderMutation{}
	for i := 0; i < len(fields); i += 2 {
		m.SetHeaders = append(m.SetHeaders, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: fields[i], RawValue: []byte(fields[i+1])},
		})
	}
	return m
}

// Metadata names endpoints the second way.
func Metadata(list string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"envoy.lb": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			Destination: structpb.NewStringValue(list),
		}}),
	}}
}

// Chosen answers the request's head: endpoints in header and metadata, and further
// fields.
func Chosen(list string, fields ...string) *extprocv3.ProcessingResponse {
	m := RequestHead(&extprocv3.CommonResponse{HeaderMutation: Set(append([]string{Destination, list}, fields...)...)})
	m.DynamicMetadata = Metadata(list)
	return m
}

// RequestHead answers the request's head.
func RequestHead(r *extprocv3.CommonResponse) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: r}}}
}

// RequestBody answers a piece of the request's body; nil changes nothing.
func RequestBody(m *extprocv3.BodyMutation) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{
		RequestBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: m}}}}
}

// ResponseHead answers the answer's head with fields to set.
func ResponseHead(fields ...string) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{
		ResponseHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: Set(fields...)}}}}
}

// ResponseBody answers a piece of the answer's body; nil changes nothing.
func ResponseBody(m *extprocv3.BodyMutation) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{
		ResponseBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: m}}}}
}

// ResponseTrailers answers trailers with fields to set.
func ResponseTrailers(fields ...string) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{
		ResponseTrailers: &extprocv3.TrailersResponse{HeaderMutation: Set(fields...)}}}
}

// Streamed is a piece of a body that the picker streams.
func Streamed(p string, end bool) *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
		StreamedResponse: &extprocv3.StreamedBodyResponse{Body: []byte(p), EndOfStream: end}}}
}

// Whole replaces a piece, or a body.
func Whole(p string) *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: []byte(p)}}
}

// Clear removes a piece.
func Clear() *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}
}

// Immediate answers the request in the endpoint's stead.
func Immediate(status int, body string, fields ...string) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Headers: Set(fields...), Body: []byte(body)}}}
}
