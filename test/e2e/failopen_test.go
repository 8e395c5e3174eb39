package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// failOpen scales the endpoint pickers of two pools to nothing and back. The pool
// that fails open is served by any of its pods meanwhile; the one that fails closed
// answers 503.
func failOpen(t *testing.T) {
	if _, err := os.Stat(filepath.Join(*bin, "lwepp")); err != nil {
		t.Skipf("build it first: (cd test/conformance && CGO_ENABLED=0 go build -o ../../bin/testbin/lwepp sigs.k8s.io/gateway-api-inference-extension/cmd/lwepp): %v", err)
	}
	p, base := newChat(t)
	text, err := os.ReadFile("testdata/picker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]string{"open": "FailOpen", "closed": "FailClose"}
	for name, mode := range modes {
		p.apply(strings.NewReplacer("NAMESPACE", p.namespace, "NAME", name, "MODE", mode).Replace(string(text)))
	}
	for name := range modes {
		rolledOut(t, p.namespace, name+"-epp")
		p.says("inferencepools.inference.networking.k8s.io/"+name, "Accepted=True", "ResolvedRefs=True")
	}
	p.pickersChoose(base)

	p.kubectl("scale", "deployment/open-epp", "deployment/closed-epp", "--replicas=0")
	eventually(t, "the pickers are gone", func() error {
		if pods := p.kubectl("get", "pods", "-l", "app in (open-epp, closed-epp)", "-o", "name"); pods != "" {
			return errors.New(pods)
		}
		return nil
	})
	p.eventuallyPicked(base, "open", func(a answer) error {
		if a.status != http.StatusOK || a.header.Get(servedHeader) != "" {
			return fmt.Errorf("status %d, served by %q", a.status, a.header.Get(servedHeader))
		}
		return nil
	})
	p.eventuallyPicked(base, "closed", func(a answer) error {
		if a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	l := startLoad(t, base, 4, on("open", nil))
	l.measure(200)
	l.stop()

	p.kubectl("scale", "deployment/open-epp", "deployment/closed-epp", "--replicas=1")
	rolledOut(t, p.namespace, "open-epp", "closed-epp")
	p.pickersChoose(base)
}

// The picker for tests chooses only among the pods that the first one names, and
// tells by the second one which pod the gateway says has answered.
const (
	chooseHeader = "test-epp-endpoint-selection"
	servedHeader = "x-conformance-test-served-endpoint"
)

func on(pool string, header map[string]string) question {
	q := ask("chat")
	q.host, q.header = pool+".example", header
	return q
}

// pickersChoose waits until each pool's picker decides who answers.
func (p place) pickersChoose(base string) {
	p.t.Helper()
	for _, pool := range []string{"open", "closed"} {
		for _, ip := range strings.Fields(p.kubectl("get", "pods", "-l", "app=one", "-o", "jsonpath={.items[*].status.podIP}")) {
			q := on(pool, map[string]string{chooseHeader: ip})
			p.eventuallyAnswers(base, q, func(a answer) error {
				if served := a.header.Get(servedHeader); served != ip+":8000" {
					return fmt.Errorf("%s answered, the picker chose %s", served, ip)
				}
				return wrongAsError(a, q)
			})
		}
	}
}

func wrongAsError(a answer, q question) error {
	if wrong := a.wrong(q); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

func (p place) eventuallyPicked(base, pool string, check func(answer) error) {
	p.t.Helper()
	p.eventuallyAnswers(base, on(pool, nil), check)
}

func (p place) eventuallyAnswers(base string, q question, check func(answer) error) {
	p.t.Helper()
	client := newClient(false)
	eventually(p.t, "an answer as expected of "+q.host, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		a, err := chat(ctx, client, base, q)
		if err != nil {
			return err
		}
		return check(a)
	})
}
