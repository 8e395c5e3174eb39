package translate

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions are the conditions of one object, listener or parent, at most one
// of each type, in the order in which they were first set.
type conditions struct {
	generation int64
	list       []metav1.Condition
}

// set gives the condition of type kind its status, reason and message.
func (c *conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	n := metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: c.generation}
	for i := range c.list {
		if c.list[i].Type == kind {
			c.list[i] = n
			return
		}
	}
	c.list = append(c.list, n)
}

func (c *conditions) yes(kind, reason, message string) {
	c.set(kind, metav1.ConditionTrue, reason, message)
}

func (c *conditions) no(kind, reason, message string) {
	c.set(kind, metav1.ConditionFalse, reason, message)
}

// maxMessage is the longest message a condition may carry, in bytes
// (metav1.Condition allows 32768; a person reads less).
const maxMessage = 1024

// sentence joins messages into one text for a condition.
func sentence(messages []string) string {
	s := strings.Join(messages, "; ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// Reasons and types that several kinds share. Those of one kind are written
// where they are used, as constants of the API's own package where it has them.
const (
	accepted         = "Accepted"
	resolvedRefs     = "ResolvedRefs"
	programmed       = "Programmed"
	invalid          = "Invalid"
	pending          = "Pending"
	unsupportedValue = "UnsupportedValue"
	refNotPermitted  = "RefNotPermitted"
)
