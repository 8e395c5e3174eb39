package test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	scenarioRow  = regexp.MustCompile(`(?m)^\| (\d+) \|`)
	pageLink     = regexp.MustCompile(`\[([^\]]+)\]\(\.\./([^)]+)\)`)
	rolloutStory = regexp.MustCompile(`(?m)^func (TestRollout\w+)\(`)
)

// Every test and script that docs/rollout-scenarios.md names is where the page says,
// it has all scenarios, and no test of the whole system is forgotten.
func TestScenariosPage(t *testing.T) {
	page := read(t, "../docs/rollout-scenarios.md")
	if rows := scenarioRow.FindAllString(page, -1); len(rows) != 18 {
		t.Errorf("the page has %d scenarios, want 18", len(rows))
	}
	named := map[string]bool{}
	for _, m := range pageLink.FindAllStringSubmatch(page, -1) {
		name, file := m[1], m[2]
		named[name] = true
		if !strings.HasSuffix(file, ".go") {
			if _, err := os.Stat("../" + file); err != nil || path.Base(file) != name {
				t.Errorf("%s is not %s: %v", name, file, err)
			}
			continue
		}
		if !strings.Contains(read(t, "../"+file), "\nfunc "+name+"(t *testing.T)") {
			t.Errorf("there is no test %s in %s", name, file)
		}
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "rollout_") {
			continue
		}
		for _, m := range rolloutStory.FindAllStringSubmatch(read(t, f.Name()), -1) {
			if !named[m[1]] {
				t.Errorf("docs/rollout-scenarios.md does not name %s of %s", m[1], f.Name())
			}
		}
	}
}
