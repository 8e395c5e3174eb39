# Targets people and CI use; `make` alone prints this list.

GO      ?= go
BIN     := bin/crossfade
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZ    ?= 30s

.DEFAULT_GOAL := help
.PHONY: help setup build run test check format vet lint unit race clients fuzz bench golden generate clean
.PHONY: testbin cluster cluster-test lwepp cluster-programs
.PHONY: e2e e2e-all e2e-calm e2e-shaken e2e-programs conformance conformance-gateway-api conformance-inference conformance-programs

help: ## print this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/crossfade
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/crossfade

run: build ## run the gateway on the gray-release example, with simulated model servers
	$(BIN) up examples/gray-release

test: setup format vet lint race clients ## everything a change must pass

check: format vet lint unit ## the quick part of `make test`

setup:
	@tools/setup

format: ## fail on files that gofmt would change
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet: ## go vet
	$(GO) vet ./...

lint: ## staticcheck, its version pinned in tools/lint/go.mod
	$(GO) tool -modfile=tools/lint/go.mod staticcheck ./...

unit: ## all tests, fuzz seeds included
	$(GO) test -timeout 30m ./...

# The whole-system tests begin first: they wait most of the time, and what computes
# runs beside them.
race: ## all tests with the race detector
	$(GO) test -race -timeout 20m -parallel 4 ./test ./...

clients: build ## the official OpenAI clients against the gateway
	cd test/clients && $(GO) test ./...

fuzz: ## every fuzz target for FUZZ (30s) each
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ) -fuzzminimizetime 5x $$pkg || exit 1; \
	  done; \
	done

bench: build ## CPU per request and more, beside nginx and haproxy
	@tools/setup bench
	$(GO) run ./bench

# The flags that cmd/testbin builds with: others would compile Kubernetes again.
TESTBIN_ENV := CGO_ENABLED=0 GOFLAGS='-trimpath -gcflags=all=-dwarf=false'

testbin: ## build what test clusters run into bin/testbin; minutes the first time
	@tools/setup cluster
	cd test/cluster && $(GO) run ./cmd/testbin --out ../../bin/testbin

cluster: testbin ## start a Kubernetes cluster of local processes and say how to enter it
	bin/testbin/up --dir bin/cluster --images test/cluster/images.yaml

# Without cmd/hyper: vet would read all of Kubernetes for it.
CLUSTER_PKGS := . ./internal/... ./cmd/up ./cmd/testbin ./cmd/testserver

cluster-test: testbin ## test the test cluster itself
	cd test/cluster && $(TESTBIN_ENV) $(GO) vet $(CLUSTER_PKGS) && $(TESTBIN_ENV) $(GO) test $(CLUSTER_PKGS)

# Its two halves, and the conformance suites, have clusters of their own: `make -j`
# runs them beside each other.
e2e: $(if $(E2E),e2e-all,e2e-calm e2e-shaken) ## install Crossfade on a test cluster and use it as people do; E2E=-test.run=... for some of it

e2e-all e2e-calm e2e-shaken: e2e-%: e2e-programs
	cd test/e2e && ../../bin/testbin/up --dir ../../bin/e2e/$* --images images.yaml --max-probe-delay=1s -- ../../bin/testbin/e2e.test -test.v -test.timeout=20m -cluster=$* $(E2E)

e2e-programs: lwepp
	cd tools/helm && $(TESTBIN_ENV) $(GO) build -o ../../bin/testbin/helm .
	cd test/e2e && $(TESTBIN_ENV) $(GO) test -c -o ../../bin/testbin/e2e.test .

conformance: conformance-gateway-api conformance-inference ## run both official conformance suites on test clusters, reports to conformance/reports

conformance-gateway-api conformance-inference: conformance-%: conformance-programs
	test/conformance/run $*

conformance-programs: lwepp
	cd test/conformance/images && $(TESTBIN_ENV) $(GO) build -ldflags='-s -w' -o ../../../bin/testbin/echo-basic sigs.k8s.io/gateway-api-conformance-images/echo-basic
	cd test/conformance && $(TESTBIN_ENV) $(GO) test -ldflags='-s -w' -c -o ../../bin/testbin/gatewayapi.test ./gatewayapi
	cd test/conformance && $(TESTBIN_ENV) $(GO) test -ldflags='-s -w' -c -o ../../bin/testbin/inference.test ./inference

# The endpoint picker of both.
lwepp: testbin
	cd test/conformance && $(TESTBIN_ENV) $(GO) build -ldflags='-s -w' -o ../../bin/testbin/lwepp sigs.k8s.io/gateway-api-inference-extension/cmd/lwepp

cluster-programs: testbin e2e-programs conformance-programs ## build all that `make cluster-test e2e conformance` runs; long the first time

golden: ## rewrite the expected results of golden tests; read the difference before committing
	$(GO) test $$(grep -rl '"update", false' --include='*_test.go' internal cmd | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

generate: ## rebuild what is generated from other modules
	$(GO) generate ./...

clean: ## remove what the targets above built
	rm -rf bin dist
