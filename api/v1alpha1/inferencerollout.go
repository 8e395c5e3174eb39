package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InferenceRollout shifts traffic from a stable version of a model to a candidate
// and judges on the way. The objects it works on are never written: the shares in
// its status are laid over their weights, and deleting it returns to those.
type InferenceRollout struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InferenceRolloutSpec   `json:"spec"`
	Status            InferenceRolloutStatus `json:"status,omitempty"`
}

// InferenceRolloutSpec is what a rollout wants. Target, Stable and Candidate are
// enough; all else has defaults.
type InferenceRolloutSpec struct {
	Target    RolloutTarget `json:"target"`
	Stable    RolloutSide   `json:"stable"`
	Candidate RolloutSide   `json:"candidate"`
	// Attempt grows to try the same candidate again.
	Attempt int64 `json:"attempt,omitempty"`
	Paused  bool  `json:"paused,omitempty"`

	Assignment RolloutAssignment `json:"assignment,omitempty"`
	// Steps in order; at most 32, expanded at most 64.
	Steps    []RolloutStep   `json:"steps,omitempty"`
	Analysis RolloutAnalysis `json:"analysis,omitempty"`
	Capacity RolloutCapacity `json:"capacity,omitempty"`
	Abort    RolloutAbort    `json:"abort,omitempty"`
	// Deadlines pause a rollout that takes longer.
	Deadlines    RolloutDeadlines `json:"deadlines,omitempty"`
	HistoryLimit *int32           `json:"historyLimit,omitempty"` // 1 to 50, 10 when unset
}

// RolloutTarget is what the traffic is split over: exactly one, in the rollout's
// namespace.
type RolloutTarget struct {
	HTTPRoute      *RolloutRouteTarget   `json:"httpRoute,omitempty"`
	ModelRewrite   *RolloutRewriteTarget `json:"modelRewrite,omitempty"`
	InferenceModel *RolloutModelTarget   `json:"inferenceModel,omitempty"`
}

// RolloutRouteTarget is a rule of an HTTPRoute that has both versions as backends.
type RolloutRouteTarget struct {
	Name string `json:"name"`
	// RuleName is needed when more than one rule has both.
	RuleName string `json:"ruleName,omitempty"`
}

// RolloutRewriteTarget is a rule of an InferenceModelRewrite.
type RolloutRewriteTarget struct {
	Name string `json:"name"`
	// Match is the model name the rule matches; "" the rule without matches.
	Match string `json:"match,omitempty"`
}

// RolloutModelTarget is an InferenceModel.
type RolloutModelTarget struct {
	Name string `json:"name"`
}

// RolloutSide names one version: a pool of the rollout's namespace, by Kind and
// Name, or a model inside the target, by Model.
type RolloutSide struct {
	Group string `json:"group,omitempty"` // default inference.networking.k8s.io
	Kind  string `json:"kind,omitempty"`  // InferencePool
	Name  string `json:"name,omitempty"`
	Model string `json:"model,omitempty"`
	// Revision makes the candidate another one though its name stays.
	Revision string `json:"revision,omitempty"`
}

// RolloutAssignment says how requests are assigned to a version.
type RolloutAssignment struct {
	// Keys are tried in order; the first that a request has decides.
	Keys []RolloutKey `json:"keys,omitempty"`
	// Include are key values that always get the candidate (while it has traffic
	// at all), Exclude those that never do. They do not count in the analysis.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	// OverrideHeader is a header by which a request chooses its version itself, with
	// the value stable or candidate (while it has traffic at all); such requests do
	// not count in the analysis either. Unset: no header does.
	OverrideHeader string `json:"overrideHeader,omitempty"`
}

// RolloutKey is one source of a key: exactly one field is set.
type RolloutKey struct {
	Header string `json:"header,omitempty"`
	Cookie string `json:"cookie,omitempty"`
	// BodyField is user, prompt_cache_key or safety_identifier of a model call.
	BodyField string `json:"bodyField,omitempty"`
	// Consumer is the credential of the request (Authorization or X-Api-Key).
	Consumer bool `json:"consumer,omitempty"`
}

// RolloutStep is one step: exactly one field is set.
type RolloutStep struct {
	Warmup   *RolloutWarmup  `json:"warmup,omitempty"`
	Mirror   *RolloutMirror  `json:"mirror,omitempty"`
	SetShare *RolloutShare   `json:"setShare,omitempty"`
	Ramp     *RolloutRamp    `json:"ramp,omitempty"`
	Hold     *RolloutAnalyze `json:"hold,omitempty"`
	Analyze  *RolloutAnalyze `json:"analyze,omitempty"`
	Pause    *RolloutPause   `json:"pause,omitempty"`
	Soak     *RolloutSoak    `json:"soak,omitempty"`
}

// RolloutWarmup sends requests to the candidate before any user does.
type RolloutWarmup struct {
	MinRequestsPerEndpoint int32            `json:"minRequestsPerEndpoint,omitempty"`
	Timeout                *metav1.Duration `json:"timeout,omitempty"`
	// Requests are sent in turn; unset: a built-in prompt. At most 32, of 64 KiB.
	Requests []RolloutProbe `json:"requests,omitempty"`
}

// RolloutProbe is a request of a warm-up. The model it names is replaced by the
// candidate's.
type RolloutProbe struct {
	Path string `json:"path,omitempty"` // default /v1/chat/completions
	Body string `json:"body"`           // JSON
}

// RolloutMirror sends copies of stable's requests to the candidate and compares.
type RolloutMirror struct {
	Percent     int32            `json:"percent"`
	MinPairs    int64            `json:"minPairs,omitempty"`
	MaxTokens   int32            `json:"maxTokens,omitempty"`
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// RolloutShare gives the candidate a share.
type RolloutShare struct {
	// Percent of the traffic, 0 to 100 in steps of 0.01.
	Percent float64 `json:"percent"`
}

// RolloutRamp expands to shares From, From·Factor, … To, each held.
type RolloutRamp struct {
	From    float64          `json:"from"`
	To      float64          `json:"to"`
	Factor  float64          `json:"factor,omitempty"` // above 1, default 2
	MinHold *metav1.Duration `json:"minHold,omitempty"`
	MaxHold *metav1.Duration `json:"maxHold,omitempty"`
}

// RolloutAnalyze stays at a share: at least MinDuration, and until enough was seen
// (hold) or a pass is proved (analyze), for at most MaxDuration.
type RolloutAnalyze struct {
	MinDuration *metav1.Duration `json:"minDuration,omitempty"`
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// RolloutPause waits for promote, or for Duration.
type RolloutPause struct {
	Duration *metav1.Duration `json:"duration,omitempty"`
}

// RolloutSoak watches on while stable is kept.
type RolloutSoak struct {
	Duration metav1.Duration `json:"duration"`
}

// RolloutAnalysis says how the candidate is judged.
type RolloutAnalysis struct {
	Tick  *metav1.Duration `json:"tick,omitempty"`
	Alpha float64          `json:"alpha,omitempty"` // false aborts in all, default 0.01
	Beta  float64          `json:"beta,omitempty"`  // false passes, default 0.05
	// OnInsufficientData is Hold, Extend, ProceedUnpowered or Abort.
	OnInsufficientData string               `json:"onInsufficientData,omitempty"`
	OnProviderError    RolloutProviderError `json:"onProviderError,omitempty"`
	// Settle is how long the candidate's latencies do not count at first.
	Settle *metav1.Duration `json:"settle,omitempty"`
	// Guardrails replace the built-in ones; at most 16.
	Guardrails []RolloutGuardrail `json:"guardrails,omitempty"`
}

// RolloutProviderError says what follows when a provider outside fails.
type RolloutProviderError struct {
	Action       string           `json:"action,omitempty"` // Hold or AbortOnStall
	StallTimeout *metav1.Duration `json:"stallTimeout,omitempty"`
}

// RolloutGuardrail is one metric that is watched. A Name of a built-in metric
// brings its defaults.
type RolloutGuardrail struct {
	Name   string `json:"name"`
	Class  string `json:"class,omitempty"` // Hard, Soft or Info
	DryRun bool   `json:"dryRun,omitempty"`
	// Direction that is harm: Higher, Lower or Both.
	Direction  string             `json:"direction,omitempty"`
	Compare    *RolloutCompare    `json:"compare,omitempty"`
	Quantiles  []float64          `json:"quantiles,omitempty"` // each in (0, 1)
	SLO        *metav1.Duration   `json:"slo,omitempty"`
	Absolute   *RolloutAbsolute   `json:"absolute,omitempty"`
	MinSamples int64              `json:"minSamples,omitempty"`
	Endpoints  *int32             `json:"minEndpoints,omitempty"`
	External   *RolloutExternally `json:"external,omitempty"`
}

// RolloutCompare has the margins against stable, as odds ratios, and the factor of
// a latency that is tolerated.
type RolloutCompare struct {
	OddsRatioMargin float64 `json:"oddsRatioMargin,omitempty"`
	PassMargin      float64 `json:"passMargin,omitempty"`
	Tolerance       float64 `json:"tolerance,omitempty"`
	Negligible      float64 `json:"negligible,omitempty"`
}

// RolloutAbsolute is a rate that is good for any version.
type RolloutAbsolute struct {
	// MaxRate of bad units, a part of 1.
	MaxRate float64 `json:"maxRate"`
}

// RolloutExternally bounds a value that a provider outside reports: one of
// Prometheus and Webhook is set.
type RolloutExternally struct {
	Min *float64 `json:"min,omitempty"`
	Max *float64 `json:"max,omitempty"`
	// Interval between two questions, default 30s, and Timeout of one, default 10s.
	Interval   *metav1.Duration   `json:"interval,omitempty"`
	Timeout    *metav1.Duration   `json:"timeout,omitempty"`
	Prometheus *RolloutPrometheus `json:"prometheus,omitempty"`
	Webhook    *RolloutWebhook    `json:"webhook,omitempty"`
}

// RolloutPrometheus is a query whose answer is one number.
type RolloutPrometheus struct {
	Address string `json:"address"` // such as http://prometheus.monitoring:9090
	// Query in PromQL; {{stable}} and {{candidate}} stand for the names of the two
	// versions, {{namespace}} and {{name}} for the rollout's.
	Query string `json:"query"`
}

// RolloutWebhook is asked by POST with the rollout's name, versions, attempt and
// share, and answers {"value": number}.
type RolloutWebhook struct {
	URL string `json:"url"`
}

// RolloutCapacity keeps the share within what the candidate can take.
type RolloutCapacity struct {
	Mode                     string `json:"mode,omitempty"` // Gate or Off
	MinStableCapacityPercent *int32 `json:"minStableCapacityPercent,omitempty"`
}

// RolloutAbort says what happens to running requests.
type RolloutAbort struct {
	InFlight     string           `json:"inFlight,omitempty"` // Drain or Cancel
	DrainTimeout *metav1.Duration `json:"drainTimeout,omitempty"`
}

// RolloutDeadlines bound a step and the whole.
type RolloutDeadlines struct {
	Step  *metav1.Duration `json:"step,omitempty"`
	Total *metav1.Duration `json:"total,omitempty"`
}

// InferenceRolloutStatus is where a rollout stands.
type InferenceRolloutStatus struct {
	Phase   string `json:"phase,omitempty"`
	Message string `json:"message,omitempty"` // ends with what comes next
	Step    string `json:"step,omitempty"`    // "3/9 hold 5m"
	Attempt int64  `json:"attempt,omitempty"`
	// Share is the candidate's share, and Observed what it got, as people read it:
	// "12.5%".
	Share    string `json:"share,omitempty"`
	Observed string `json:"observed,omitempty"`
	// Shares is what gateways serve: the one part of the status that they act on.
	Shares     *RolloutShares     `json:"shares,omitempty"`
	Verdicts   []RolloutVerdict   `json:"verdicts,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	Request    *RolloutRequest    `json:"request,omitempty"`
	// Machine is the machine's own memory: JSON of no fixed form, as text.
	Machine string `json:"machine,omitempty"`
}

// RolloutShares is the split in force. It names its own versions: while the spec
// already names others, these are still served.
type RolloutShares struct {
	Stable    RolloutSide `json:"stable"`
	Candidate RolloutSide `json:"candidate"`
	// Set is the candidate's share in hundredths of a percent, 0 to 10,000.
	Set      int32  `json:"set"`
	Observed *int32 `json:"observed,omitempty"` // the same, as seen
	Verified bool   `json:"verified,omitempty"`
	Salt     string `json:"salt,omitempty"`
	Attempt  int64  `json:"attempt"`
	Revision int64  `json:"revision"`
	Epoch    int64  `json:"epoch,omitempty"`
	// Watched says that an attempt is under way: a gateway that sees the candidate
	// fail stops sending to it by itself.
	Watched bool `json:"watched,omitempty"`
	// Task is what gateways do for the candidate beside serving.
	Task *RolloutTask `json:"task,omitempty"`
}

// RolloutTask is what gateways do for the candidate beside serving.
type RolloutTask struct {
	Warmup *RolloutWarmupTask `json:"warmup,omitempty"`
	Mirror *RolloutMirrorTask `json:"mirror,omitempty"`
	// Cancel: the candidate's running requests are cut.
	Cancel bool `json:"cancel,omitempty"`
}

// RolloutWarmupTask is a warm-up under way.
type RolloutWarmupTask struct {
	Requests int32 `json:"requests"` // to each endpoint
}

// RolloutMirrorTask is mirroring under way.
type RolloutMirrorTask struct {
	Percent   int32 `json:"percent"`
	MaxTokens int32 `json:"maxTokens,omitempty"`
}

// RolloutVerdict is what one guardrail says.
type RolloutVerdict struct {
	Name      string `json:"name"`
	Verdict   string `json:"verdict"`
	Effect    string `json:"effect,omitempty"`
	EValue    string `json:"eValue,omitempty"`
	Candidate int64  `json:"candidateUnits,omitempty"`
	Stable    int64  `json:"stableUnits,omitempty"`
	Note      string `json:"note,omitempty"`
}

// RequestAnnotation carries a RolloutRequest as JSON, for those who may not write
// the status.
const RequestAnnotation = "crossfade.dev/request"

// RolloutRequest is an operator's verb. It acts once, by its ID, and only on the
// attempt its author saw.
type RolloutRequest struct {
	ID      string  `json:"id"`
	Verb    string  `json:"verb"`
	Attempt int64   `json:"attempt,omitempty"`
	Percent float64 `json:"percent,omitempty"` // of set-share
	Reason  string  `json:"reason,omitempty"`
	By      string  `json:"by,omitempty"`
}
