package test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// report is what a ConformanceReport says of each profile.
type report struct {
	Profiles []struct {
		Name           string
		Core, Extended struct {
			Result            string
			Statistics        struct{ Passed, Failed, Skipped int }
			SupportedFeatures []string
		}
	}
}

// The table of docs/conformance.md says what the reports say, and no report tells of a
// failed or skipped test.
func TestConformancePage(t *testing.T) {
	page := read(t, "../docs/conformance.md")
	for name, words := range map[string]func(r report) string{
		"gateway-api-v1.6.1.yaml": func(r report) string {
			p := r.Profiles[0]
			return fmt.Sprintf("%s | %d of 37 | %d of 57, %d features |", p.Name, p.Core.Statistics.Passed, p.Extended.Statistics.Passed, len(p.Extended.SupportedFeatures))
		},
		"inference-v1.6.0.yaml": func(r report) string {
			p := r.Profiles[0]
			return fmt.Sprintf("%s | %d of 14 |", p.Name, p.Core.Statistics.Passed)
		},
	} {
		var r report
		if err := yaml.Unmarshal([]byte(read(t, "../conformance/reports/"+name)), &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Profiles) != 1 {
			t.Fatalf("%s has %d profiles", name, len(r.Profiles))
		}
		if row := words(r); !strings.Contains(page, row) || !strings.Contains(page, name) {
			t.Errorf("docs/conformance.md does not say %q of %s", row, name)
		}
		for _, part := range []struct{ Passed, Failed, Skipped int }{r.Profiles[0].Core.Statistics, r.Profiles[0].Extended.Statistics} {
			if part.Failed+part.Skipped > 0 {
				t.Errorf("%s: %d failed, %d skipped", name, part.Failed, part.Skipped)
			}
		}
	}
}
