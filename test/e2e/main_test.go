package e2e

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"
)

var errNotYet = errors.New("not yet")

var (
	root   = flag.String("root", "../..", "the repository")
	outage = flag.Duration("outage", 2*time.Minute, "how long the API server is away; less for a quick run")
	bin    = flag.String("bin", "../../bin/testbin", "folder of the programs that `make e2e` builds")
	half   = flag.String("cluster", both, "which scenarios this cluster is for: calm, shaken or all")
)

// Two clusters are fit for all scenarios in half the time. On one, controllers and API
// server are killed and rollouts take their minutes; on the other they are left alone,
// but for what a story changes.
const (
	both   = "all"
	calm   = "calm"
	shaken = "shaken"
)

// scenario is one story. Those that need more than a cluster say so by skipping.
type scenario struct {
	name string
	run  func(t *testing.T)
	on   string // which cluster
}

// scenarios are in an order in which one cluster serves all, or each of two its own:
// installing comes first, what takes kinds away comes last.
var scenarios = []scenario{
	{"install", install, both},
	{"docs", docs, calm}, // the page shows the first address that a load balancer gives
	{"guide", guide, calm},
	{"weights", weights, calm},
	{"modelRollout", modelRollout, calm},
	{"gatewayRollout", gatewayRollout, calm},
	{"controllerKilled", controllerKilled, shaken},
	{"rolloutPromoted", rolloutPromoted, shaken},
	{"rolloutKilled", rolloutKilled, shaken},
	{"rolloutAborted", rolloutAborted, shaken},
	{"apiServerAway", apiServerAway, shaken},
	{"mistakes", mistakes, calm},
	{"twoGateways", twoGateways, calm},
	{"rights", rights, calm},
	{"sharing", sharing, shaken},
	{"classes", classes, calm},
	{"parameters", parameters, calm},
	{"deletion", deletion, calm},
	{"failOpen", failOpen, calm},
	{"absentKinds", absentKinds, calm},
	{"helm", helm, calm},
}

// TestCluster runs the scenarios inside a cluster. Each but the first needs only
// that Crossfade is installed: -test.run 'Cluster/(install|weights)' is enough.
func TestCluster(t *testing.T) {
	if os.Getenv("CLUSTER_DIR") == "" {
		t.Skip("runs inside a test cluster: `make e2e`")
	}
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Fatal(err)
	}
	if *half != both && *half != calm && *half != shaken {
		t.Fatalf("-cluster %s: use %s, %s or %s", *half, calm, shaken, both)
	}
	for _, s := range scenarios {
		if s.on != both && *half != both && s.on != *half {
			continue
		}
		began := time.Now()
		ok := t.Run(s.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					diagnose(t, began)
				}
			})
			s.run(t)
		})
		if !ok && s.name == "install" {
			t.Fatal("without an installation there is nothing to look at")
		}
	}
}
