package kube

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"k8s.io/apimachinery/pkg/types"
)

// A data plane's ServiceAccount may not read what only makers of data planes need.
func TestDataPlanesDoNotAskForParameters(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{Only: types.NamespacedName{Namespace: "infra", Name: "edge"}})
	f.until("everything", holds("Pod chat/qwen-1", "Secret infra/cert"))
	for _, r := range s.asked() {
		if strings.Contains(r, "gatewayparameters") {
			t.Errorf("asked for what it may not read: %s", r)
		}
	}
}

// The right to read a certificate follows the reference to it. Until then the
// certificate before is served, not none.
func TestACertificateIsAwaitedUntilItMayBeRead(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{RightsGrace: time.Hour})
	f.until("the certificate", holds("Secret infra/cert"))
	refused := make(chan bool, 1000)
	s.setFault(func(_, resource, _ string) int {
		if resource == "secrets" {
			refused <- true
			return 403
		}
		return 0
	})
	s.apply(t, `{apiVersion: v1, kind: Secret, metadata: {name: next, namespace: infra}, data: {tls.crt: YQ==, tls.key: Yg==}}`)
	s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: infra}, spec: {gatewayClassName: crossfade, listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: next}]}}]}}`)
	for range 5 {
		<-refused
	}
	s.setFault(nil)
	f.until("the next certificate", func(u source.Update) bool {
		if len(u.Resources.Secrets) == 0 {
			t.Fatalf("published without a certificate:\n%s", show(u))
		}
		return holds("Secret infra/next")(u)
	})
}

func TestPauseForRightsIsShort(t *testing.T) {
	w := newWatch(New(nil, Options{}), findKind(serviceKind), key{scope: scope{name: "a"}})
	w.trouble = forbidden
	if d := w.pause(lastRetry); d != earlyRetry {
		t.Errorf("a single object is first tried again after %s", d)
	}
	w.since = w.since.Add(-grace)
	if d := w.pause(lastRetry); d != rightsRetry {
		t.Errorf("a single object is tried again after %s", d)
	}
	if d := w.pause(firstRetry); d != firstRetry {
		t.Errorf("a single object is tried again after %s", d)
	}
	if w.name = ""; w.pause(lastRetry) != lastRetry {
		t.Error("others are tried again as often")
	}
}

// A data plane that may not read routes would answer every request with 404: it
// waits, and its predecessor goes on serving.
func TestDataPlanesWaitForRoutes(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	refused := make(chan bool, 1000)
	s.setFault(func(_, resource, _ string) int {
		if resource == "httproutes.gateway.networking.k8s.io" {
			refused <- true
			return 403
		}
		return 0
	})
	f := follow(t, s, Options{Only: types.NamespacedName{Namespace: "infra", Name: "edge"}})
	for range 4 {
		<-refused
	}
	s.setFault(nil)
	f.until("a first picture", func(u source.Update) bool {
		if !holds("HTTPRoute chat/chat")(u) {
			t.Fatalf("published without routes:\n%s", show(u))
		}
		return true
	})
}

// An object that comes to a form that does not fit goes on being served in its last
// good one.
func TestTheLastGoodFormOfAnObjectStays(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{Statuses: true})
	f.until("everything", holds("HTTPRoute chat/chat", "Pod chat/qwen-1"))
	s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: chat, namespace: chat}, spec: {rules: 7}}`)
	f.until("a problem", func(u source.Update) bool { return len(u.Problems) == 1 })
	if !holds("HTTPRoute chat/chat", "Pod chat/qwen-1")(f.last) {
		t.Errorf("gone is the route or what it leads to:\n%s", show(f.last))
	}
	s.delete("httproutes.gateway.networking.k8s.io", "chat", "chat")
	f.until("no route and no problem", func(u source.Update) bool {
		return len(u.Problems) == 0 && len(u.Resources.HTTPRoutes) == 0
	})
}

func TestAnOutageAtTheStartIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	s := New(nil, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if again := s.took(&discovery{}, false, errors.New("connection refused")); again != hasty {
			t.Errorf("looks again after %s", again)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
