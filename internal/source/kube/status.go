package kube

import (
	"cmp"
	"fmt"
	"time"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
)

// verdicts is what statuses are made of: Build's, and whose entries are ours.
type verdicts struct {
	now time.Time
	// ours says whether a controllerName is ours.
	ours func(controller string) bool
	// mayServe says of a Gateway that it is ours, or nobody's because it is gone:
	// some lists do not name the controller of an entry.
	mayServe func(translate.ObjectRef) bool
}

// parents describes a list of entries about an object at each of its parents.
type parents struct {
	list, ref string // names of the fields
	// named entries carry their controller's name; sections are told apart.
	named, sections bool
	// placeholder: the list is never empty, but has an entry that says so.
	placeholder bool
	most        int // entries
}

// parentsOf returns how the kind of an object lists its parents.
func parentsOf(ref translate.ObjectRef) (parents, bool) {
	switch {
	case ref.Kind == "HTTPRoute":
		return parents{list: "parents", ref: "parentRef", named: true, sections: true, most: 32}, true
	case ref.Kind == "InferencePool" && ref.Group == infv1a2.GroupXK8s:
		return parents{list: "parent", ref: "parentRef", placeholder: true, most: 32}, true
	case ref.Kind == "InferencePool":
		return parents{list: "parents", ref: "parentRef", named: true, most: 32}, true
	case ref.Kind == "ClientTrafficPolicy", ref.Kind == "BackendTrafficPolicy", ref.Kind == "BackendTLSPolicy":
		return parents{list: "ancestors", ref: "ancestorRef", named: true, sections: true, most: 16}, true
	}
	return parents{}, false
}

// patch returns the fields of the status of ref that are to change, nil for none.
// live is the status as it is; want is Build's, or nil when Build has none because
// the object is no concern of ours, or not any longer.
func (v *verdicts) patch(ref translate.ObjectRef, live map[string]any, want *translate.Status) map[string]any {
	next := map[string]any{}
	if p, ok := parentsOf(ref); ok {
		var statuses []translate.ParentStatus
		if want != nil {
			statuses = want.Parents
		}
		next[p.list] = v.entries(p, ref, list(live, p.list), statuses)
	} else if want != nil {
		next["conditions"] = conditions(list(live, "conditions"), want.Conditions, v.now, mostConditions(ref.Kind))
		v.own(next, ref.Kind, live, want)
	}
	for key, value := range next {
		l, isList := value.([]any)
		if isList && len(l) == 0 && len(list(live, key)) == 0 || equality.Semantic.DeepEqual(value, live[key]) {
			delete(next, key)
		}
	}
	if len(next) == 0 {
		return nil
	}
	return next
}

// own adds the fields that the statuses of some kinds have besides conditions.
func (v *verdicts) own(next map[string]any, kind string, live map[string]any, want *translate.Status) {
	switch kind {
	case "GatewayClass":
		next["supportedFeatures"] = features(want.Features)
	case "Gateway":
		next["listeners"] = v.listeners(list(live, "listeners"), want.Listeners)
		next["addresses"] = addresses(want.Addresses)
		if n := want.AttachedSets; n != nil {
			next["attachedListenerSets"] = int64(*n)
		} else if live["attachedListenerSets"] != nil {
			next["attachedListenerSets"] = nil // removes it
		}
	case "ListenerSet":
		next["listeners"] = v.listeners(list(live, "listeners"), want.Listeners)
	}
}

// entries returns the list old with our entries as statuses say, in their places;
// those of others stay as they are.
func (v *verdicts) entries(p parents, of translate.ObjectRef, old []any, statuses []translate.ParentStatus) []any {
	wanted := map[parentKey]*translate.ParentStatus{}
	for i := range statuses {
		wanted[keyOfStatus(p, &statuses[i])] = &statuses[i]
	}
	out := make([]any, 0, len(old)+len(statuses))
	var removed bool
	for _, e := range old {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if p.placeholder && isPlaceholder(m) {
			removed = true
			continue
		}
		at := keyOfEntry(p, of, m)
		if !v.isOurs(p, m, at) {
			out = append(out, e)
			continue
		}
		if s := wanted[at]; s != nil {
			delete(wanted, at)
			out = append(out, v.entry(p, s, list(m, "conditions")))
		} else {
			removed = true
		}
	}
	for i := range statuses {
		if at := keyOfStatus(p, &statuses[i]); wanted[at] != nil && len(out) < p.most {
			delete(wanted, at)
			out = append(out, v.entry(p, &statuses[i], nil))
		}
	}
	if p.placeholder && removed && len(out) == 0 {
		out = append(out, placeholder())
	}
	return out
}

// isOurs says whether entry m, of the parent at, was written by us. One without a
// controller's name, as an older API server leaves it, is judged by its parent.
func (v *verdicts) isOurs(p parents, m map[string]any, at parentKey) bool {
	if name := text(m, "controllerName"); p.named && name != "" {
		return v.ours(name)
	}
	return at.ObjectRef.Kind == "Gateway" && !p.sections && v.mayServe(at.ObjectRef)
}

func (v *verdicts) entry(p parents, s *translate.ParentStatus, old []any) map[string]any {
	ref := map[string]any{"group": s.Parent.Group, "kind": s.Parent.Kind, "name": s.Parent.Name}
	if s.Parent.Namespace != "" {
		ref["namespace"] = s.Parent.Namespace
	}
	if p.sections && s.Section != "" {
		ref["sectionName"] = s.Section
	}
	if p.sections && s.Port != 0 {
		ref["port"] = int64(s.Port)
	}
	e := map[string]any{p.ref: ref, "conditions": conditions(old, s.Conditions, v.now, 0)}
	if p.named {
		e["controllerName"] = s.Controller
	}
	return e
}

// parentKey tells the entries of one controller apart.
type parentKey struct {
	translate.ObjectRef
	section string
	port    int64
}

func keyOfStatus(p parents, s *translate.ParentStatus) parentKey {
	k := parentKey{ObjectRef: s.Parent}
	if p.sections {
		k.section, k.port = s.Section, int64(s.Port)
	}
	return k
}

func keyOfEntry(p parents, of translate.ObjectRef, m map[string]any) parentKey {
	r, _ := m[p.ref].(map[string]any)
	k := parentKey{ObjectRef: translate.ObjectRef{
		Group: cmp.Or(text(r, "group"), gwv1.GroupName), Kind: cmp.Or(text(r, "kind"), "Gateway"),
		Namespace: cmp.Or(text(r, "namespace"), of.Namespace), Name: text(r, "name"),
	}}
	if p.sections {
		k.section = text(r, "sectionName")
		k.port, _ = r["port"].(int64)
	}
	return k
}

// isPlaceholder recognises the entry that v1alpha2 pools have when no Gateway leads
// to them (GIE v0.5).
func isPlaceholder(m map[string]any) bool {
	r, _ := m["parentRef"].(map[string]any)
	return text(r, "kind") == "Status" && text(r, "name") == "default"
}

func placeholder() map[string]any {
	return map[string]any{
		"parentRef": map[string]any{"kind": "Status", "name": "default"},
		"conditions": []any{map[string]any{
			"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
			"lastTransitionTime": "1970-01-01T00:00:00Z",
		}},
	}
}

func (v *verdicts) listeners(old []any, want []translate.ListenerStatus) []any {
	before := map[string]map[string]any{}
	for _, l := range old {
		if m, ok := l.(map[string]any); ok {
			before[text(m, "name")] = m
		}
	}
	out := make([]any, 0, len(want))
	for _, l := range want {
		kinds := make([]any, 0, len(l.SupportedKinds))
		for _, k := range l.SupportedKinds {
			kinds = append(kinds, map[string]any{"group": string(value(k.Group, gwv1.GroupName)), "kind": string(k.Kind)})
		}
		out = append(out, map[string]any{
			"name": l.Name, "supportedKinds": kinds, "attachedRoutes": int64(l.AttachedRoutes),
			"conditions": conditions(list(before[l.Name], "conditions"), l.Conditions, v.now, 0),
		})
	}
	return out
}

func addresses(want []gwv1.GatewayStatusAddress) []any {
	out := make([]any, 0, len(want))
	for _, a := range want {
		out = append(out, map[string]any{"type": string(value(a.Type, gwv1.IPAddressType)), "value": a.Value})
	}
	return out
}

// left returns a patch that says of a Gateway what its API says before any
// controller came, for one that we no longer serve.
func left(ref translate.ObjectRef) map[string]any {
	if ref.Kind != "Gateway" {
		return nil
	}
	var unknown []metav1.Condition
	for _, kind := range []gwv1.GatewayConditionType{gwv1.GatewayConditionAccepted, gwv1.GatewayConditionProgrammed} {
		unknown = append(unknown, metav1.Condition{Type: string(kind), Status: metav1.ConditionUnknown, Reason: string(gwv1.GatewayReasonPending), Message: "Waiting for controller"})
	}
	return map[string]any{"conditions": conditions(nil, unknown, time.Unix(0, 0), 0), "listeners": nil, "addresses": nil}
}

// statusError names the object a status could not be written to.
func statusError(ref translate.ObjectRef, err error) error {
	return fmt.Errorf("write the status of %s: %w", ref, err)
}

func features(names []gwv1.FeatureName) []any {
	out := make([]any, 0, len(names))
	for _, n := range names {
		out = append(out, map[string]any{"name": string(n)})
	}
	return out
}
