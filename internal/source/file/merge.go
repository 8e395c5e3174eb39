package file

import (
	"fmt"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// epoch is the age of objects that do not say theirs: the first document of the
// first file is created at this instant, each following one a second later. So
// the oldest object is the one that stands first, after every reload and restart.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// record is one object in force.
type record struct {
	document *document // the form in force
	object   object    // with age and generation
	pods     []*corev1.Pod
}

// state holds the objects in force by their names.
type state map[translate.ObjectRef]*record

// input is one file as merge sees it.
type input struct {
	contents *contents
	problems []translate.Problem // of the file as a whole
}

// claim is what the files say of one object.
type claim struct {
	ref       translate.ObjectRef
	index     int // of its first document among all
	documents []*document
}

// last is the document that counts if it can.
func (c *claim) last() *document { return c.documents[len(c.documents)-1] }

// merger folds files into one update.
type merger struct {
	before, now state
	claims      []*claim // in order of their first documents
	byRef       map[translate.ObjectRef]*claim
	unknown     map[translate.ObjectRef]int   // documents by group and kind
	verdicts    map[*document]verdict         // of documents that do not count
	twice       map[*document]*document       // the document before, of one that replaces it
	extra       map[*document][]report        // found while merging
	count       int                           // documents so far
	podOwner    map[translate.ObjectRef]place // of pods in force
	problems    []translate.Problem
	update      source.Update
}

// verdict is what stays in force instead of a document that is set aside.
type verdict string

// report is a problem of a document that only merging can find.
type report struct {
	severity               translate.Severity
	field, message, remedy string
}

// merge folds the files, in their order, into one update. before is the state of
// the previous merge, nil at first.
func merge(inputs []input, before state) (source.Update, state) {
	m := &merger{
		before:   before,
		now:      state{},
		byRef:    map[translate.ObjectRef]*claim{},
		unknown:  map[translate.ObjectRef]int{},
		verdicts: map[*document]verdict{},
		twice:    map[*document]*document{},
		extra:    map[*document][]report{},
		podOwner: map[translate.ObjectRef]place{},
	}
	m.update.Resources = &translate.Resources{}
	m.update.Origins = map[translate.ObjectRef]string{}
	for _, in := range inputs {
		for _, d := range in.contents.documents {
			m.register(d)
		}
	}
	for _, c := range m.claims {
		m.settle(c)
	}
	m.addObjects()
	for _, in := range inputs {
		m.problems = append(m.problems, in.problems...)
		for _, d := range in.contents.documents {
			m.explain(d)
		}
	}
	m.update.Problems = capProblems(m.problems)
	return m.update, m.now
}

// register files d under the object it describes.
func (m *merger) register(d *document) {
	m.count++
	switch {
	case m.count > maxObjects:
		m.refuse(d)
		return
	case d.unknown():
		m.unknown[groupKind(d)]++
		return
	}
	c := m.byRef[d.ref]
	if c == nil {
		c = &claim{ref: d.ref, index: m.count - 1}
		m.byRef[d.ref] = c
		m.claims = append(m.claims, c)
	} else {
		m.twice[d] = c.last()
	}
	c.documents = append(c.documents, d)
}

// refuse reports, once, that d and what follows is too much.
func (m *merger) refuse(d *document) {
	if m.count == maxObjects+1 {
		m.problems = append(m.problems, fileProblem(d.place, fmt.Sprintf("objects from here on are left out: there are more than %d", maxObjects),
			"name folders that hold only what belongs together"))
	}
}

func groupKind(d *document) translate.ObjectRef {
	return translate.ObjectRef{Group: d.ref.Group, Kind: d.ref.Kind}
}

// settle decides which form of an object is in force: its last document; where
// that is not valid, or is no valid change, the form in force so far; where there
// is none, the last valid document.
func (m *merger) settle(c *claim) {
	last, old := c.last(), m.before[c.ref]
	if last.object != nil && m.mayReplace(last, old) {
		m.enforce(c, last)
		return
	}
	if old != nil {
		m.verdicts[last] = "its last good form stays in force"
		m.enforce(c, old.document)
		return
	}
	for i := len(c.documents) - 1; i >= 0; i-- {
		if d := c.documents[i]; d.object != nil {
			m.verdicts[last] = verdict("its form at " + d.place.String() + " is in force")
			m.enforce(c, d)
			return
		}
	}
}

// mayReplace reports whether d is a valid change of the object in force.
func (m *merger) mayReplace(d *document, old *record) bool {
	if old == nil || old.document == d || d.content == nil || old.document.content == nil || d.spec == old.document.spec {
		return true
	}
	s, err := d.kind.schemas[d.version]()
	if err != nil {
		panic(err) // d was decoded with it
	}
	errs := s.validateChange(d.content, old.document.content)
	for _, e := range errs {
		x := explain(d.kind, e)
		m.extra[d] = append(m.extra[d], report{translate.Error, x.field, x.message, x.remedy})
	}
	return len(errs) == 0
}

// enforce puts the form d of an object in force.
func (m *merger) enforce(c *claim, d *document) {
	created := d.object.GetCreationTimestamp()
	if created.IsZero() {
		created = metav1.NewTime(epoch.Add(time.Duration(c.index) * time.Second))
	}
	generation := int64(1)
	old := m.before[c.ref]
	if old != nil {
		generation = old.object.GetGeneration()
		if old.document.spec != d.spec {
			generation++
		}
		if age := old.object.GetCreationTimestamp(); old.document == d && age.Equal(&created) {
			m.now[c.ref] = old
			return
		}
	}
	o := d.kind.clone(d.object)
	o.SetCreationTimestamp(created)
	o.SetGeneration(generation)
	m.now[c.ref] = &record{document: d, object: o, pods: podsOf(o)}
}

// addObjects fills the update with the objects in force.
func (m *merger) addObjects() {
	var owners []*record
	for _, c := range m.claims {
		r := m.now[c.ref]
		if r == nil {
			continue
		}
		r.document.kind.add(m.update.Resources, r.object)
		m.update.Origins[c.ref] = r.document.place.String()
		if c.ref.Kind == "Pod" {
			m.podOwner[c.ref] = r.document.place
		}
		if len(r.document.unhonoured) > 0 {
			if m.update.Resources.UnhonouredFields == nil {
				m.update.Resources.UnhonouredFields = map[translate.ObjectRef][]string{}
			}
			m.update.Resources.UnhonouredFields[c.ref] = r.document.unhonoured
		}
		if len(r.pods) > 0 {
			owners = append(owners, r)
		}
	}
	total := 0
	for _, r := range owners {
		if total += len(r.pods); total > maxPods {
			m.extra[r.document] = append(m.extra[r.document], report{translate.Error, "spec.replicas",
				fmt.Sprintf("its pods are left out: there would be more than %d in all", maxPods), "ask for fewer replicas"})
			total -= len(r.pods)
			continue
		}
		m.addPods(r)
	}
}

// addPods adds the pods of a workload, but none whose name is taken.
func (m *merger) addPods(r *record) {
	for _, p := range r.pods {
		ref := translate.ObjectRef{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
		if taken, ok := m.podOwner[ref]; ok {
			m.extra[r.document] = append(m.extra[r.document], report{translate.Warning, "",
				fmt.Sprintf("its pod %s is left out: the name is taken by %s", p.Name, taken), "rename one of the two"})
			continue
		}
		m.podOwner[ref] = r.document.place
		m.update.Resources.Pods = append(m.update.Resources.Pods, p)
		m.update.Origins[ref] = r.document.place.String()
	}
}

// explain adds the problems of one document.
func (m *merger) explain(d *document) {
	if before := m.twice[d]; before != nil {
		m.add(d, report{translate.Warning, "",
			fmt.Sprintf("stands at %s and again at %s; the last one counts", before.place, d.place), "remove one of the two, or rename it"})
	}
	if d.unknown() {
		m.explainUnknown(d)
	}
	stays := m.verdicts[d]
	for _, p := range d.problems {
		if stays != "" && p.Severity == translate.Error {
			p.Message += "; " + string(stays)
		}
		m.problems = append(m.problems, p)
	}
	for _, r := range m.extra[d] {
		if stays != "" && r.severity == translate.Error {
			r.message += "; " + string(stays)
		}
		m.add(d, r)
	}
}

func (m *merger) add(d *document, r report) {
	m.problems = append(m.problems, translate.Problem{
		Severity: r.severity, Ref: d.ref, Field: r.field, Message: r.message, Remedy: r.remedy, Origin: d.lines.at(r.field).String(),
	})
}

// explainUnknown reports a kind that is not read, once.
func (m *merger) explainUnknown(d *document) {
	kind := groupKind(d)
	n := m.unknown[kind]
	if n == 0 {
		return
	}
	delete(m.unknown, kind)
	group := kind.Group
	if group == "" {
		group = "the core API"
	}
	message := fmt.Sprintf("%s of %s is not a kind Crossfade reads; skipped", kind.Kind, group)
	if n > 1 {
		message += fmt.Sprintf(", with %d more of its kind", n-1)
	}
	m.add(d, report{translate.Warning, "", message, unknownRemedy(kind)})
}

// unknownRemedy says what a kind that is not read was probably meant to be.
func unknownRemedy(kind translate.ObjectRef) string {
	const leave = "nothing, if it is meant for another program"
	ours := kindsOf(kind.Group)
	near := nearest(kind.Kind, ours)
	switch same := namesake(kind.Kind); {
	case same != nil && len(ours) > 0:
		return "did you mean apiVersion: " + same.apiVersion() + "?"
	case same != nil:
		return leave + "; for Crossfade use apiVersion: " + same.apiVersion()
	case near != "":
		return "did you mean kind: " + near + "?"
	}
	return leave
}

// capProblems bounds a list of problems.
func capProblems(problems []translate.Problem) []translate.Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	rest := problems[maxProblems:]
	return append(problems[:maxProblems:maxProblems], translate.Problem{
		Severity: worst(rest),
		Ref:      rest[0].Ref,
		Message:  fmt.Sprintf("this and later objects have %d more problems", len(rest)),
		Remedy:   "correct those above first",
		Origin:   rest[0].Origin,
	})
}
