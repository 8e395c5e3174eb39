package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestTracker reads a string of results, + and -, as verdicts: G, B, or ?.
func TestTracker(t *testing.T) {
	for _, c := range []struct {
		name          string
		kind          Kind
		probe         v1.Probe
		results, want string
		waits         string // of each step
	}{
		{"ready at once", Readiness, v1.Probe{PeriodSeconds: 10}, "+", "G", "10s"},
		{"quick until the first success", Readiness, v1.Probe{PeriodSeconds: 10}, "--+", "??G", "100ms 100ms 10s"},
		{"unready after three periods", Readiness, v1.Probe{PeriodSeconds: 10}, "+---", "G??B", "10s 10s 10s 10s"},
		{"ready again", Readiness, v1.Probe{PeriodSeconds: 1, FailureThreshold: 1}, "+-+", "GBG", "1s 1s 1s"},
		{"two successes", Readiness, v1.Probe{PeriodSeconds: 1, SuccessThreshold: 2}, "++-+", "?G??", "100ms 1s 1s 100ms"},
		{"alive until the third failure", Liveness, v1.Probe{PeriodSeconds: 2}, "---", "??B", "2s 2s 2s"},
		{"defaults", Liveness, v1.Probe{}, "--+", "??G", "10s 10s 10s"},
		{"a success forgives", Liveness, v1.Probe{PeriodSeconds: 1, FailureThreshold: 2}, "-+-", "?G?", "1s 1s 1s"},
	} {
		tracker := NewTracker(c.kind, &c.probe)
		verdicts, waits := "", []string{}
		for _, r := range c.results {
			v, wait := tracker.Observe(r == '+')
			verdicts += []string{"?", "G", "B"}[v]
			waits = append(waits, wait.String())
		}
		if verdicts != c.want || strings.Join(waits, " ") != c.waits {
			t.Errorf("%s: %s after %q, want %s after %s", c.name, verdicts, waits, c.want, c.waits)
		}
	}
}

// TestStartupTakesItsTime checks that quick attempts do not use up the failures
// that a slow program is granted: three periods of two seconds.
func TestStartupTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &v1.Probe{PeriodSeconds: 2, FailureThreshold: 3}
		var gaveUp time.Duration
		Run(t.Context(), Startup, p, time.Second, func(context.Context) error { return errors.New("no") }, func(v Verdict, _ error) bool {
			gaveUp = time.Since(began)
			return v != Bad
		})
		// The third period has begun when the third failure counts.
		if gaveUp < 5*time.Second || gaveUp > 7*time.Second {
			t.Errorf("gave up after %s, want about 1 s + 2 periods", gaveUp)
		}
	})
}

func TestRunEndsWithItsContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Run(ctx, Liveness, &v1.Probe{PeriodSeconds: 1}, 0,
				func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
				func(Verdict, error) bool { t.Error("an attempt that was cut short was judged"); return true })
		}()
		synctest.Wait()
		cancel()
		<-ended
	})
}

func TestAttempt(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/nowhere", http.StatusFound)
		case r.URL.Path == "/asked" && r.FormValue("a") == "b" && r.Header.Get("X") == "y" && r.Host == "z":
		case r.URL.Path != "/ok":
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checks, server := health.NewServer(), grpc.NewServer()
	checks.SetServingStatus("bad", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	port := func(address string) int32 {
		_, p, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"))
		n, _ := strconv.Atoi(p)
		return int32(n)
	}
	webPort, grpcPort := port(web.URL), port(listener.Addr().String())
	target := Target{PodIP: "127.0.0.1", Container: &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: webPort}}},
		Exec: func(_ context.Context, argv []string) error {
			if argv[0] != "true" {
				return fmt.Errorf("exit 1")
			}
			return nil
		}}
	get := func(path string, port intstr.IntOrString) v1.Probe {
		return v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: path, Port: port}}}
	}
	asked := get("/asked?a=b", intstr.FromInt32(webPort))
	asked.HTTPGet.HTTPHeaders = []v1.HTTPHeader{{Name: "X", Value: "y"}, {Name: "host", Value: "z"}}
	tls := get("/", intstr.FromInt32(port(secure.URL)))
	tls.HTTPGet.Scheme = v1.URISchemeHTTPS
	bad := "bad"
	for _, c := range []struct {
		name  string
		probe v1.Probe
		want  string // of the error; empty for none
	}{
		{"http", get("/ok", intstr.FromInt32(webPort)), ""},
		{"http by the port's name", get("/ok", intstr.FromString("web")), ""},
		{"http by a name that is missing", get("/ok", intstr.FromString("nobody")), `container c has no port named "nobody"`},
		{"http 404", get("/x", intstr.FromInt32(webPort)), "404"},
		{"a redirect is a success", get("/moved", intstr.FromInt32(webPort)), ""},
		{"query and headers", asked, ""},
		{"https with any certificate", tls, "404"},
		{"tcp", v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(webPort)}}}, ""},
		{"tcp refused", v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(1)}}}, "refused"},
		{"grpc", v1.Probe{ProbeHandler: v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: grpcPort}}}, ""},
		{"grpc not serving", v1.Probe{ProbeHandler: v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: grpcPort, Service: &bad}}}, "NOT_SERVING"},
		{"exec", v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}}, ""},
		{"exec fails", v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"false"}}}}, "exit 1"},
		{"nothing", v1.Probe{}, "neither"},
	} {
		err := target.Attempt(t.Context(), &c.probe)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}
