package llm

// The keys that mean something in a response. Keys that different APIs use for
// the same thing share a label.
const (
	labelModel label = iota + 1
	labelRole
	labelID
	labelStatus
	labelFinish   // finish_reason, stop_reason
	labelResponse // what an event of the Responses API wraps
	labelMessage  // what Anthropic's message_start wraps
	labelChoices
	labelType // from here to labelArguments: see judged
	labelDelta
	labelText
	labelContent
	labelThought // reasoning_content, reasoning, thinking
	labelRefusal
	labelOutput
	labelIndex
	labelName
	labelArguments
	labelCalls // tool_calls, function_call
	labelFunction
	labelBlock // content_block
	labelError
	labelStop // stop_sequence
	labelSignature
	labelUsage
	labelPromptTokens
	labelInputTokens
	labelCompletionTokens // completion_tokens, output_tokens
	labelTokenDetails     // prompt_tokens_details, input_tokens_details
	labelCachedTokens
	labelCacheRead
	labelCacheWritten
)

// responseLabel returns the label of a response's key, 0 for any other.
func responseLabel(key []byte) label {
	switch string(key) {
	case "model":
		return labelModel
	case "type":
		return labelType
	case "role":
		return labelRole
	case "id":
		return labelID
	case "status":
		return labelStatus
	case "finish_reason", "stop_reason":
		return labelFinish
	case "response":
		return labelResponse
	case "message":
		return labelMessage
	case "choices":
		return labelChoices
	case "delta":
		return labelDelta
	case "text":
		return labelText
	case "content":
		return labelContent
	case "reasoning_content", "reasoning", "thinking":
		return labelThought
	case "refusal":
		return labelRefusal
	case "output":
		return labelOutput
	case "index":
		return labelIndex
	case "tool_calls", "function_call":
		return labelCalls
	case "function":
		return labelFunction
	case "content_block":
		return labelBlock
	case "name":
		return labelName
	case "arguments":
		return labelArguments
	case "error":
		return labelError
	case "stop_sequence":
		return labelStop
	case "signature":
		return labelSignature
	}
	return usageLabel(key)
}

// usageLabel returns the label of a key of usage objects, 0 for any other.
func usageLabel(key []byte) label {
	switch string(key) {
	case "usage":
		return labelUsage
	case "prompt_tokens":
		return labelPromptTokens
	case "input_tokens":
		return labelInputTokens
	case "completion_tokens", "output_tokens":
		return labelCompletionTokens
	case "prompt_tokens_details", "input_tokens_details":
		return labelTokenDetails
	case "cached_tokens":
		return labelCachedTokens
	case "cache_read_input_tokens":
		return labelCacheRead
	case "cache_creation_input_tokens":
		return labelCacheWritten
	}
	return 0
}

// judged reports whether a value with this label may matter to the judge.
func (l label) judged() bool { return labelType <= l && l <= labelArguments }

// room is how many bytes of the text of a value with this label are kept.
func (l label) room() int {
	switch l {
	case labelModel:
		return MaxModelLength
	case labelType, labelStatus, labelFinish:
		return 64
	case labelPromptTokens, labelInputTokens, labelCompletionTokens, labelCachedTokens, labelCacheRead, labelCacheWritten:
		return 20
	}
	return 0
}
