# Targets; every step of CI is one of them.
.DEFAULT_GOAL := help
.PHONY: help build install run test race invariants fuzz bench compare sim lint interop soak clean

GO      ?= go
PREFIX  ?= /usr/local
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X zabra.dev/zabra/server.Commit=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) \
           -X zabra.dev/zabra/server.BuiltOn=$(shell date -u +%Y-%m-%dT%H:%MZ)
LINKS   := zkServer.sh zkServer-initialize.sh zkCli.sh

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build bin/zabra and its links zkServer.sh, zkCli.sh
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/zabra ./server/zabra
	@for l in $(LINKS); do ln -sf zabra $(BIN)/$$l; done

install: build ## copy the binary and its links to PREFIX/bin
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/zabra $(DESTDIR)$(PREFIX)/bin/zabra
	@for l in $(LINKS); do ln -sf zabra $(DESTDIR)$(PREFIX)/bin/$$l; done

run: build ## build and run an ensemble of three servers on ports 2181 to 2183, data in ./zabra-ensemble
	$(BIN)/zabra ensemble -n 3

test: ## unit, golden, model, crash tests; needs Go alone
	$(GO) vet ./...
	$(GO) test ./...

race: ## the same under the race detector, in short mode
	$(GO) test -race -short ./...

invariants: ## the same with costly assertions and poisoned memory, in short mode
	$(GO) test -tags invariants -short ./...

FUZZTIME ?= 10s
fuzz: ## run each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; done; done

bench: ## the microbenchmarks of all packages
	$(GO) test -run '^$$' -bench . -benchmem ./...

compare: build ## the same loads on Debian's Java ensemble and on Zabra's in turn, then on one server each; prints the ratios
	$(BIN)/zabra bench compare

SEEDS ?= 2000
FIRST ?= 1
sim: ## simulate ensembles from SEEDS seeds, from seed FIRST on
	$(GO) test ./quorum/sim -count=1 -timeout 0 -run TestSim -sim.seeds=$(SEEDS) -sim.first=$(FIRST)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags interop ./...
	$(GO) run $(STATICCHECK) ./...

interop: build ## real clients and real Java servers against Zabra; installs what it can
	sh server/interop/setup.sh
	$(GO) test -tags interop -count=1 -timeout 20m ./server/interop/... ./snapshot/javadata/... ./server/client/... ./server/cli/... ./quorum/transport/...
	$(GO) test -v -count=1 -timeout 10m -run Browser ./bench

SOAK ?= 10m
soak: ## kill, stop and cut off the servers of an ensemble for SOAK under clients whose history is judged
	$(GO) test -tags interop -count=1 -timeout 0 -v ./server/interop -run TestPartitions -interop.soak=$(SOAK)

clean: ## remove what build made
	rm -rf $(BIN)
