# Targets people and CI use; `make` alone prints this list.

GO      ?= go
BIN     := bin/crossfade
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZ    ?= 30s

.DEFAULT_GOAL := help
.PHONY: help setup build run test check format vet lint unit race clients fuzz bench testbin cluster cluster-test golden generate clean

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race ./...

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

testbin: ## build what test clusters run into bin/testbin; minutes the first time
	@tools/setup cluster
	cd test/cluster && $(GO) run ./cmd/testbin --out ../../bin/testbin

cluster: testbin ## start a Kubernetes cluster of local processes and say how to enter it
	bin/testbin/up --dir bin/cluster --images test/cluster/images.yaml

cluster-test: testbin ## test the test cluster itself
	cd test/cluster && $(GO) vet ./... && $(GO) test ./...

golden: ## rewrite the expected results of golden tests; read the difference before committing
	$(GO) test $$(grep -rl '"update", false' --include='*_test.go' internal cmd | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

generate: ## rebuild what is generated from other modules
	$(GO) generate ./...

clean: ## remove what the targets above built
	rm -rf bin dist
