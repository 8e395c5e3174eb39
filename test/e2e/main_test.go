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
)

// scenario is one story. Those that need more than a cluster say so by skipping.
type scenario struct {
	name string
	run  func(t *testing.T)
}

// scenarios are in an order in which one cluster serves all: installing comes
// first, what takes kinds away comes last.
var scenarios = []scenario{
	{"install", install},
	{"docs", docs}, // the page shows the first address that a load balancer gives
	{"guide", guide},
	{"weights", weights},
	{"modelRollout", modelRollout},
	{"gatewayRollout", gatewayRollout},
	{"controllerKilled", controllerKilled},
	{"rolloutPromoted", rolloutPromoted},
	{"rolloutKilled", rolloutKilled},
	{"rolloutAborted", rolloutAborted},
	{"apiServerAway", apiServerAway},
	{"mistakes", mistakes},
	{"twoGateways", twoGateways},
	{"rights", rights},
	{"sharing", sharing},
	{"classes", classes},
	{"parameters", parameters},
	{"deletion", deletion},
	{"failOpen", failOpen},
	{"absentKinds", absentKinds},
	{"helm", helm},
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
	for _, s := range scenarios {
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
