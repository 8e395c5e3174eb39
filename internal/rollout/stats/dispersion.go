package stats

// Dispersion measures how much more windows vary than independent units would, by
// comparing stable with itself: its sessions, split in two by another hash. It is
// the mean over windows of Pearson's squared deviation of one half's events.
type Dispersion struct {
	Sum     float64 `json:"sum"`
	Windows float64 `json:"n"`
}

// priorWindows is how many windows of no excess a new Dispersion counts for, so
// that the first few cannot swing it.
const priorWindows = 20

// fade bounds the memory to about its inverse in windows.
const fade = 1.0 / 500

// Add adds one window of stable's two halves; the table's arms are the halves. A
// window without both events and their absence says nothing.
func (d *Dispersion) Add(t Table) {
	a, b := float64(t.Candidate.Units), float64(t.Stable.Units)
	n, f := a+b, float64(t.Candidate.Events+t.Stable.Events)
	if t.Check() != nil || a == 0 || b == 0 || f == 0 || f == n {
		return
	}
	mean := a * f / n
	variance := a * b * f * (n - f) / (n * n * (n - 1))
	deviation := float64(t.Candidate.Events) - mean
	d.Sum = d.Sum*(1-fade) + deviation*deviation/variance
	d.Windows = d.Windows*(1-fade) + 1
}

// Factor is the estimated overdispersion φ: 1 for independent units.
func (d Dispersion) Factor() float64 { return (d.Sum + priorWindows) / (d.Windows + priorWindows) }

// slack is the excess that is put down to chance: the standard error of Factor
// after a few hundred windows is near 0.1.
const slack = 1.2

// Temper is the exponent for likelihoods, 1/φ, in (0, 1].
func (d Dispersion) Temper() float64 {
	if f := d.Factor(); f > slack {
		return 1 / f
	}
	return 1
}
