package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// rights asks the API server what the data plane's and the controller's accounts
// may do.
func rights(t *testing.T) {
	p := newPlace(t)
	kubectl(t, "delete", "namespace", "rights-vault", "--ignore-not-found")
	kubectl(t, "create", "namespace", "rights-vault")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "rights-vault", "--wait=false") })
	apply(t, "rights-vault", `
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: lend}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: rights}]
  to: [{group: "", kind: Secret, name: lent}]
`)
	p.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: crossfade
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
  - {name: own, port: 8443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: own}]}}
  - {name: lent, port: 8443, protocol: HTTPS, hostname: b.example, tls: {certificateRefs: [{name: lent, namespace: rights-vault}]}}
  - {name: stolen, port: 8443, protocol: HTTPS, hostname: c.example, tls: {certificateRefs: [{name: stolen, namespace: rights-vault}]}}
`)
	p.gateway("gw")
	t.Run("data plane", func(t *testing.T) { dataPlaneRights(t, "system:serviceaccount:rights:gw-crossfade") })
	t.Run("controller", func(t *testing.T) { controllerRights(t, "system:serviceaccount:"+system+":crossfade-controller") })
}

// may checks lines of "yes or no, verb, resource[.group][:subresource][/name],
// namespace"; without a namespace it is about all of
// them. It asks as `kubectl auth can-i --as` does, but everything at once.
func may(t *testing.T, account, table string) {
	t.Helper()
	f := strings.Split(account, ":")
	lines := strings.Split(strings.TrimSpace(table), "\n")
	var reviews []string
	for _, line := range lines {
		reviews = append(reviews, review(account, f[2], strings.Fields(line)))
	}
	out, err := run(t.Context(), strings.Join(reviews, "\n---\n"), "create", "-f", "-", "-o", `jsonpath={.status.allowed}{"\n"}`)
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Fields(out)
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d questions", len(answers), len(lines))
	}
	for i, line := range lines {
		if (answers[i] == "true") != (strings.Fields(line)[0] == "yes") {
			t.Errorf("%s: the API server says allowed=%s", strings.TrimSpace(line), answers[i])
		}
	}
}

func review(account, namespace string, line []string) string {
	var r struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			User       string   `json:"user"`
			Groups     []string `json:"groups"`
			Attributes struct {
				Verb        string `json:"verb"`
				Group       string `json:"group"`
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				Name        string `json:"name"`
				Namespace   string `json:"namespace"`
			} `json:"resourceAttributes"`
		} `json:"spec"`
	}
	r.APIVersion, r.Kind = "authorization.k8s.io/v1", "SubjectAccessReview"
	r.Spec.User = account
	r.Spec.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	a := &r.Spec.Attributes
	a.Verb = line[1]
	a.Resource, a.Name, _ = strings.Cut(line[2], "/")
	a.Resource, a.Subresource, _ = strings.Cut(a.Resource, ":")
	a.Resource, a.Group, _ = strings.Cut(a.Resource, ".")
	if len(line) == 4 {
		a.Namespace = line[3]
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(text)
}

func dataPlaneRights(t *testing.T, account string) {
	may(t, account, `
		yes watch gateways.gateway.networking.k8s.io
		yes list  gatewayclasses.gateway.networking.k8s.io
		yes watch httproutes.gateway.networking.k8s.io
		yes list  referencegrants.gateway.networking.k8s.io
		yes watch inferencepools.inference.networking.k8s.io
		yes watch inferencepools.inference.networking.x-k8s.io
		yes watch inferencemodels.inference.networking.x-k8s.io
		yes watch clienttrafficpolicies.gateway.envoyproxy.io
		yes watch pods
		yes watch services
		yes list  endpointslices.discovery.k8s.io
		yes get   namespaces
		yes list  backendtlspolicies.gateway.networking.k8s.io
		yes get   secrets/own               rights
		yes watch secrets/own               rights
		yes get   secrets/lent              rights-vault
		no  get   secrets/stolen            rights-vault
		no  get   secrets/another           rights
		no  list  secrets                   rights
		no  list  secrets                   rights-vault
		no  get   secrets/own               default
		no  list  secrets
		no  get   configmaps
		no  get   configmaps                kube-system
		no  get   nodes
		no  get   gatewayparameters.crossfade.dev
		no  list  deployments.apps
		no  create pods                     rights
		no  delete pods                     rights
		no  create pods:exec                rights
		no  get   pods:log                  rights
		no  patch httproutes.gateway.networking.k8s.io
		no  update gateways.gateway.networking.k8s.io:status
		no  patch inferencepools.inference.networking.k8s.io:status
		no  update services                 rights
		no  create events                   rights
		no  create serviceaccounts:token    rights
		no  update secrets/own              rights
		no  get   leases.coordination.k8s.io crossfade-system
		no  create rolebindings.rbac.authorization.k8s.io rights
		no  impersonate serviceaccounts
		no  escalate clusterroles.rbac.authorization.k8s.io
		no  bind  clusterroles.rbac.authorization.k8s.io
	`)
}

func controllerRights(t *testing.T, account string) {
	may(t, account, `
		yes watch gateways.gateway.networking.k8s.io
		yes patch gateways.gateway.networking.k8s.io:status
		yes patch httproutes.gateway.networking.k8s.io:status
		yes patch inferencepools.inference.networking.k8s.io:status
		yes patch inferencemodels.inference.networking.x-k8s.io:status
		yes create deployments.apps
		yes create services
		yes create serviceaccounts
		yes delete clusterrolebindings.rbac.authorization.k8s.io
		yes bind  clusterroles.rbac.authorization.k8s.io/crossfade-gateway
		yes update leases.coordination.k8s.io/crossfade-controller crossfade-system
		yes create events
		no  bind  clusterroles.rbac.authorization.k8s.io/cluster-admin
		no  escalate clusterroles.rbac.authorization.k8s.io
		no  create clusterroles.rbac.authorization.k8s.io
		no  update httproutes.gateway.networking.k8s.io
		no  patch gateways.gateway.networking.k8s.io
		no  update gateways.gateway.networking.k8s.io/status
		no  update deployments.apps
		no  watch roles.rbac.authorization.k8s.io
		no  create secrets
		no  update secrets
		no  delete secrets
		no  create pods
		no  delete pods
		no  create pods:exec
		no  get   nodes
		no  create namespaces
		no  create serviceaccounts:token
		no  impersonate users
		no  update leases.coordination.k8s.io/another crossfade-system
		no  update leases.coordination.k8s.io kube-system
	`)
}
