package llm

// Why a call ended as it did. The list is closed: these words are values of a
// metric label, of an access log field and of rollout rules, so each means one
// thing and a new one is an addition here. Words beginning with upstream tell
// that an endpoint failed; the others tell of the client, the gateway or its
// configuration.
const (
	// ReasonOK: the endpoint's answer reached the client whole, with a status
	// below 400.
	ReasonOK = "ok"
	// ReasonClientClosed: the client went away before the answer was complete.
	ReasonClientClosed = "client_closed"
	// ReasonBadRequest: the gateway refused the request as malformed.
	ReasonBadRequest = "bad_request"
	// ReasonRouteNotFound: no route matched.
	ReasonRouteNotFound = "route_not_found"
	// ReasonModelNotFound: nothing behind the route serves the model.
	ReasonModelNotFound = "model_not_found"
	// ReasonBodyTooLarge: the request body exceeded its limit.
	ReasonBodyTooLarge = "body_too_large"
	// ReasonRateLimited: the client or its class was over its share.
	ReasonRateLimited = "rate_limited"
	// ReasonOverloaded: the gateway had no room for the request.
	ReasonOverloaded = "overloaded"
	// ReasonDraining: the gateway was going down and took no new calls, or its
	// drain limit cut this one.
	ReasonDraining = "draining"
	// ReasonRouteInvalid: the route that matched cannot be followed, such as
	// by a filter that is unknown.
	ReasonRouteInvalid = "route_invalid"
	// ReasonBackendInvalid: the draw fell on a backend that does not resolve.
	ReasonBackendInvalid = "backend_invalid"
	// ReasonNoEndpoints: the pool had no endpoint ready for the call.
	ReasonNoEndpoints = "no_endpoints"
	// ReasonPickerFailed: the endpoint picker gave no answer.
	ReasonPickerFailed = "picker_failed"
	// ReasonPickerRejected: an external endpoint picker refused the call, for
	// another reason than that it was over its share or had no endpoint.
	ReasonPickerRejected = "picker_rejected"
	// ReasonRolloutCancelled: the call was on the candidate of a rollout that was
	// aborted together with what was running on it.
	ReasonRolloutCancelled = "rollout_cancelled"
	// ReasonRequestTimeout: the route's or policy's limit on the whole call ran
	// out.
	ReasonRequestTimeout = "request_timeout"
	// ReasonInternal: the gateway itself failed.
	ReasonInternal = "internal"

	// ReasonUpstreamConnect: no connection to an endpoint came about.
	ReasonUpstreamConnect = "upstream_connect"
	// ReasonUpstreamReset: the endpoint broke the connection before its
	// response head was complete.
	ReasonUpstreamReset = "upstream_reset"
	// ReasonUpstreamInvalid: the endpoint's response head was not HTTP.
	ReasonUpstreamInvalid = "upstream_invalid"
	// ReasonUpstreamTimeout: the limit on one try at an endpoint ran out.
	ReasonUpstreamTimeout = "upstream_timeout"
	// ReasonFirstByteTimeout: the endpoint did not begin its answer in time.
	ReasonFirstByteTimeout = "first_byte_timeout"
	// ReasonIdleTimeout: the endpoint fell silent in the middle of its answer.
	ReasonIdleTimeout = "idle_timeout"
	// ReasonUpstreamTruncated: the answer broke off after its head, or its
	// stream ended without its last event.
	ReasonUpstreamTruncated = "upstream_truncated"
	// ReasonUpstreamStreamError: the endpoint sent an error inside a stream.
	ReasonUpstreamStreamError = "upstream_stream_error"
	// ReasonUpstreamRejected: the endpoint answered with a status from 400 to
	// 499, which was passed on.
	ReasonUpstreamRejected = "upstream_rejected"
	// ReasonUpstreamError: the endpoint answered with a status of 500 or more,
	// which was passed on.
	ReasonUpstreamError = "upstream_error"
)

// Reasons returns all reasons, so that metrics can exist before they are
// needed.
func Reasons() []string {
	return []string{
		ReasonOK, ReasonClientClosed, ReasonBadRequest, ReasonRouteNotFound,
		ReasonModelNotFound, ReasonBodyTooLarge, ReasonRateLimited,
		ReasonOverloaded, ReasonDraining, ReasonRouteInvalid,
		ReasonBackendInvalid, ReasonNoEndpoints, ReasonPickerFailed,
		ReasonPickerRejected, ReasonRolloutCancelled, ReasonRequestTimeout,
		ReasonInternal,
		ReasonUpstreamConnect, ReasonUpstreamReset, ReasonUpstreamInvalid,
		ReasonUpstreamTimeout, ReasonFirstByteTimeout, ReasonIdleTimeout,
		ReasonUpstreamTruncated, ReasonUpstreamStreamError,
		ReasonUpstreamRejected, ReasonUpstreamError,
	}
}
