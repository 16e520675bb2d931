# make help lists the targets. Versions of tools are pinned in tools/go.mod, tools/lint/go.mod and tools/collector/go.mod.

GO        ?= go
FUZZTIME  ?= 20s
SOAK      ?= 15m
BENCHTIME ?= 1s
ROUNDS    ?= 9

BIN   := bin
TOOLS := $(CURDIR)/.tools/bin

# What make check tests; ./test/... starts real programs and belongs to make test.
UNIT := ./alerts/... ./cmd/... ./config/... ./dashboards/... ./internal/...

# What make test runs without the race detector too, which is ten times as fast: error rates are simulated there.
SIMULATED := ./internal/app ./internal/analysis/... ./internal/stats

VERSION_PKG := github.com/prometheus/common/version
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION    := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
BRANCH      := $(shell git rev-parse --abbrev-ref HEAD 2>/dev/null || echo unknown)
# The commit's date rather than today's, so that two builds of one commit are equal.
BUILD_DATE  := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS     := -s -w \
	-X $(VERSION_PKG).Version=$(VERSION) -X $(VERSION_PKG).Revision=$(REVISION) \
	-X $(VERSION_PKG).Branch=$(BRANCH) -X $(VERSION_PKG).BuildDate=$(BUILD_DATE)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## build, then run the daemon and the demo shop: http://127.0.0.1:9797 (needs Go only)
	@# Job control keeps Ctrl-C from make, which would call the clean exit an interrupt.
	@if [ -t 0 ]; then set -m; fi; ./$(BIN)/perfd demo

.PHONY: build
build: ## build bin/perfd, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/perfd ./cmd/perfd

.PHONY: check
check: ## the inner loop: vet, build and the short unit tests
	$(GO) vet ./...
	$(GO) build -o /dev/null ./...
	$(GO) test -short $(UNIT)

.PHONY: test
test: deps lint ## everything CI runs: lint, drift of generated files, all tests with the race detector
	$(GO) test -race -timeout 30m $(UNIT)
	$(GO) test -timeout 20m $(SIMULATED)
	@# One package after another: what they start shares the processors with what others time.
	$(GO) test -race -timeout 45m -count=1 -p 1 ./bench/... ./test/...

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## golangci-lint with .golangci.yml
	$(TOOLS)/golangci-lint run ./...

.PHONY: format
format: $(TOOLS)/golangci-lint ## rewrite the sources the way lint wants them
	$(TOOLS)/golangci-lint fmt ./...

.PHONY: docs
docs: ## regenerate docs/metrics.md, the JSON schema of the configuration and the tables of docs/verdicts.md
	$(GO) test -count=1 ./internal/metric ./config -args -update
	$(GO) test -count=1 -p 1 ./internal/analysis/sla ./internal/analysis/regression ./internal/analysis/leak -args -update

.PHONY: bench
bench: deps-bench ## requests per second of CPU beside wrk, lateness, memory, scrape time (about 12 minutes)
	@status=0; \
	$(GO) run ./bench/throughput -rounds $(ROUNDS) || status=1; \
	$(GO) run ./bench/memory || status=1; \
	$(GO) run ./bench/remotewrite || status=1; \
	$(GO) run ./bench/verdicts || status=1; \
	$(GO) test -count=1 -run ThousandPairs -bench Scrape -v ./internal/output/exposition || status=1; \
	exit $$status

.PHONY: microbench
microbench: ## Go benchmarks of the hot paths; compare two outputs with .tools/bin/benchstat
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(UNIT)

.PHONY: soak
soak: ## 500 requests/s for SOAK (15m): memory, goroutines and descriptors stay flat
	$(GO) run ./bench/soak -duration $(SOAK)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s) each
	GO=$(GO) sh tools/fuzz.sh $(FUZZTIME)

.PHONY: screenshots
screenshots: build ## docs/landing.png from a running demo
	sh tools/debian.sh chromium=chromium
	sh tools/screenshots.sh $(BIN)/perfd docs

.PHONY: dashboards
dashboards: ## regenerate the JSON of the Grafana dashboards from dashboards/build
	$(GO) test -count=1 ./dashboards/build -args -update

# How long the demo runs before its dashboards are drawn; half of it is before a worse release.
PREVIEW ?= 10m

.PHONY: previews
previews: $(TOOLS)/prometheus ## dashboards/preview/*.png from a demo of PREVIEW (10m); needs npm
	sh tools/debian.sh chromium=chromium npm=npm
	cd tools/preview && npm ci --no-audit --no-fund
	rm -rf $(CURDIR)/.tools/preview && mkdir -p $(CURDIR)/.tools/preview
	$(GO) test -count=1 -timeout 2h ./test -run DashboardsShow -args -previews.after=$(PREVIEW) -previews.results=$(CURDIR)/.tools/preview
	cd tools && $(GO) run ./preview preview/node_modules/uplot/dist $(CURDIR)/.tools/preview $(CURDIR)/dashboards/preview

.PHONY: deps
deps: $(TOOLS)/prometheus $(TOOLS)/collector ## install what the tests need and is missing
	sh tools/debian.sh gcc=gcc prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager chromium=chromium

.PHONY: deps-bench
deps-bench:
	sh tools/debian.sh wrk=wrk nginx=nginx-light taskset=util-linux

.PHONY: clean
clean: ## remove what was built here
	rm -rf $(BIN) .tools

$(TOOLS)/prometheus: tools/go.mod tools/go.sum
	cd tools && GOBIN=$(TOOLS) $(GO) install tool
	@touch $@

$(TOOLS)/collector: tools/collector/go.mod tools/collector/go.sum $(wildcard tools/collector/*.go)
	cd tools/collector && GOBIN=$(TOOLS) $(GO) install .
	@touch $@

$(TOOLS)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && GOBIN=$(TOOLS) $(GO) install tool
	@touch $@
