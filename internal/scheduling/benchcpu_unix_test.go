//go:build unix

package scheduling

import (
	"syscall"
	"testing"
)

// reportCPU reports the processor time of each operation from now on beside the
// time on the clock, which other programs stretch.
func reportCPU(b *testing.B) (done func()) {
	start := cpuNanos()
	return func() { b.ReportMetric(float64(cpuNanos()-start)/float64(b.N), "cpu-ns/op") }
}

func cpuNanos() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return syscall.TimevalToNsec(u.Utime) + syscall.TimevalToNsec(u.Stime)
}
