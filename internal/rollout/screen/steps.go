package screen

import (
	"fmt"
	"time"

	"crossfade.dev/internal/rollout"
)

// stop is one or more steps that stand on the line as one: a share and what is done
// at it.
type stop struct {
	name          string
	done, current bool
	watched, min  time.Duration
}

// stops groups the steps: a hold or an analysis belongs to the share before it.
func stops(steps []rollout.StepReport) (out []stop) {
	for _, s := range steps {
		if n := len(out); n > 0 && (s.Kind == rollout.Hold || s.Kind == rollout.Analyze) {
			last := &out[n-1]
			last.done = last.done && s.Done
			if s.Current {
				last.current, last.watched, last.min = true, s.Watched, s.Min
			}
			continue
		}
		x := stop{name: stopName(s), done: s.Done, current: s.Current}
		if s.Kind == rollout.Soak && s.Current {
			x.watched, x.min = s.Watched, s.Min
		}
		out = append(out, x)
	}
	return out
}

func stopName(s rollout.StepReport) string {
	switch s.Kind {
	case rollout.SetShare:
		return s.Share.String()
	case rollout.Warmup:
		return "warm-up"
	case rollout.Gate:
		if s.Min > 0 {
			return "wait"
		}
		return "gate"
	case rollout.Mirror:
		return fmt.Sprintf("mirror %d%%", s.Percent)
	}
	return string(s.Kind)
}

// steps is the way of the plan on one line. Where it is too long, what is done long
// ago is left out.
func steps(r *rollout.Report, width int) line {
	all := stops(r.Plan)
	failed := r.Phase == rollout.Aborting || r.Phase == rollout.Aborted
	for from := 0; ; from++ {
		var l line
		if from > 0 {
			l = append(l, span{"… ", faint})
		}
		stopped := false
		for i, s := range all[from:] {
			if i > 0 {
				l = append(l, span{"  ", plain})
			}
			ended := failed && !s.done && !stopped
			stopped = stopped || ended
			l = append(l, s.span(ended))
		}
		const label = 11
		if width <= 0 || l.width() <= width-label || from+1 >= len(all) || !all[from].done {
			return l
		}
	}
}

func (s stop) span(ended bool) span {
	switch {
	case s.done:
		return span{s.name + " ✔", good}
	case ended:
		return span{s.name + " ✖", bad}
	case !s.current:
		return span{s.name, faint}
	case s.min > 0:
		return span{fmt.Sprintf("%s ◌ %s/%s", s.name, Span(min(s.watched, s.min)), Span(s.min)), busy}
	}
	return span{s.name + " ◌", busy}
}
