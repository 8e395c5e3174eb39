package translate

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// String prints the status on one line for the object and one for each listener
// and parent. A condition prints as Type=Status, with its reason and message
// where they tell more.
func (s Status) String() string {
	var b strings.Builder
	b.WriteString(s.Ref.String())
	if s.Ref.Kind == kindInferencePool || s.Ref.Kind == kindObjective || s.Ref.Kind == kindRewrite {
		b.WriteString(" (" + s.Ref.Group + ")")
	}
	printConditions(&b, s.Conditions)
	if s.AttachedSets != nil {
		fmt.Fprintf(&b, "\n  listener sets %d", *s.AttachedSets)
	}
	for _, a := range s.Addresses {
		b.WriteString("\n  address " + a.Value)
	}
	for _, l := range s.Listeners {
		fmt.Fprintf(&b, "\n  listener %s: routes %d", l.Name, l.AttachedRoutes)
		for _, k := range l.SupportedKinds {
			b.WriteString(" " + string(k.Kind))
		}
		printConditions(&b, l.Conditions)
	}
	for _, p := range s.Parents {
		b.WriteString("\n  " + p.Parent.String())
		if p.Section != "" {
			b.WriteString(" " + p.Section)
		}
		if p.Port != 0 {
			fmt.Fprintf(&b, " port %d", p.Port)
		}
		printConditions(&b, p.Conditions)
	}
	return b.String()
}

func printConditions(b *strings.Builder, list []metav1.Condition) {
	for i, c := range list {
		if i == 0 {
			b.WriteString(":")
		}
		fmt.Fprintf(b, " %s=%s", c.Type, c.Status)
		if c.Reason != c.Type {
			b.WriteString("/" + c.Reason)
		}
		if c.Message != "" {
			fmt.Fprintf(b, " %q", c.Message)
		}
	}
}
