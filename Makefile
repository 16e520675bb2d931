# make help lists the targets. Versions of tools are pinned in tools/go.mod, tools/lint/go.mod and tools/collector/go.mod.

GO        ?= go
DOCKER    ?= docker
FUZZTIME  ?= 20s
FLAKYTIME ?= 30m
FLAKYLOAD ?= 4
SOAK      ?= 15m
LEAKS     ?= 25m
BENCHTIME ?= 1s
ROUNDS    ?= 9

BIN   := bin
TOOLS := $(CURDIR)/.tools/bin

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

IMAGE ?= perfd

.PHONY: image
image: ## build a container image, with docker or DOCKER=podman: IMAGE (perfd) with the version as its tag, and latest
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t $(IMAGE):$(subst +,-,$(VERSION)) -t $(IMAGE):latest .

# Which stages of make check or make test run; all where it is empty.
STAGES ?=

.PHONY: check
check: suite ## the inner loop: vet and the short unit tests
	$(TOOLS)/suite check $(STAGES)

.PHONY: test
test: deps suite ## everything CI runs; STAGES="lint unit" picks some
	$(TOOLS)/suite test $(STAGES)

.PHONY: flaky
flaky: deps suite ## rerun tests that wait on sockets, processes or time for FLAKYTIME (30m) under a load of FLAKYLOAD (4)
	$(TOOLS)/suite -for $(FLAKYTIME) -load $(FLAKYLOAD) flaky $(PACKAGES)

.PHONY: suite
suite:
	@$(GO) build -C tools -o $(TOOLS)/suite ./suite

# The parts of lint have targets of their own, so that make test goes on after one of them.
.PHONY: lint
lint: golangci tidy deadcode vulncheck ## golangci-lint, go mod tidy, unreachable functions, known vulnerabilities

.PHONY: golangci
golangci: tools-lint
	$(TOOLS)/golangci-lint run ./...
	cd tools && $(TOOLS)/golangci-lint run ./...
	cd tools/collector && $(TOOLS)/golangci-lint run ./...

.PHONY: tidy
tidy:
	@GO=$(GO) sh tools/tidy.sh

.PHONY: deadcode
deadcode: tools-lint
	@sh tools/deadcode.sh $(TOOLS)/deadcode

.PHONY: vulncheck
vulncheck: tools-lint
	@sh tools/vulncheck.sh $(TOOLS)/govulncheck

# The tests of tools, which have modules of their own.
.PHONY: test-tools
test-tools:
	cd tools && $(GO) test ./suite

.PHONY: format
format: tools-lint ## rewrite the sources the way lint wants them
	$(TOOLS)/golangci-lint fmt ./...

.PHONY: docs
docs: ## regenerate docs/metrics.md, the JSON schema of the configuration and the tables of docs/verdicts.md
	$(GO) test -count=1 ./internal/metric ./config -args -update
	$(GO) test -count=1 -p 1 ./internal/analysis/sla ./internal/analysis/regression ./internal/analysis/leak -args -update

.PHONY: bench
bench: deps-bench ## requests per second of CPU beside wrk, lateness, memory, scrape time (about 15 minutes)
	@status=0; \
	$(GO) run ./bench/throughput -rounds $(ROUNDS) || status=1; \
	$(GO) run ./bench/memory || status=1; \
	$(GO) run ./bench/remotewrite || status=1; \
	$(GO) run ./bench/verdicts || status=1; \
	$(GO) test -count=1 -run ThousandPairs -bench Scrape -v ./internal/output/exposition || status=1; \
	exit $$status

# The commit that make bench-vs compares with.
AGAINST ?= HEAD~1

.PHONY: bench-vs
bench-vs: deps-bench ## requests per second of CPU beside the perfd of the commit AGAINST (HEAD~1)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	git archive $(AGAINST) | tar -x -C "$$dir" && \
	$(GO) build -C "$$dir" -buildvcs=false -o "$$dir/perfd" ./cmd/perfd && \
	$(GO) run ./bench/throughput -rounds $(ROUNDS) -vs "$$dir/perfd"

# Where bench-large writes profiles of the daemon; nowhere where it is empty.
PROFILES ?=

.PHONY: bench-streams
bench-streams: deps-bench ## CPU of requests of gRPC and messages of streams beside bare loops and ghz, memory of 15,000 WebSockets (ten minutes)
	$(GO) run ./bench/streams -rounds $(ROUNDS) -ghz

.PHONY: bench-large
bench-large: ## 500 scenarios of 20 steps: ready, reload, scrape and memory beside their bars (two minutes)
	$(GO) run ./bench/large $(if $(PROFILES),-profiles $(PROFILES))

.PHONY: microbench
microbench: ## Go benchmarks of the hot paths; compare two outputs with .tools/bin/benchstat
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./internal/...

.PHONY: soak
soak: ## 500 requests/s for SOAK (15m): memory, goroutines and descriptors stay flat
	$(GO) run ./bench/soak -duration $(SOAK)

.PHONY: soak-streams
soak-streams: ## 1,000 streams of gRPC and 1,000 WebSockets for SOAK (15m), with a restart of their server: nothing is lost, memory is flat
	$(GO) run ./bench/soak -streams 1000 -duration $(SOAK)

# The seed of the simulations of make nightly: the day's date.
SEED ?= $(shell date -u +%Y%m%d)

.PHONY: nightly
nightly: ## judge the verdicts on simulations of the seed SEED (today's date), which it prints
	@echo "make nightly SEED=$(SEED)"
	$(GO) test -count=1 -p 1 -timeout 1h -v -run 'Verdicts|ErrorRates' ./internal/analysis/sla ./internal/analysis/regression ./internal/analysis/leak -args -seed $(SEED)

.PHONY: leaks
leaks: ## programs in Go, Node, Python and Java, as far as they are installed, that leak or only look so, for LEAKS (25m)
	$(GO) test -count=1 -timeout 2h -v ./test/leaks -args -leaks.for=$(LEAKS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s) each
	GO=$(GO) sh tools/fuzz.sh $(FUZZTIME)

.PHONY: screenshots
screenshots: build ## docs/landing.png and docs/shop.png from a running demo, in nine minutes
	sh tools/debian.sh chromium=chromium
	sh tools/screenshots.sh $(BIN)/perfd docs

.PHONY: dashboards
dashboards: ## regenerate the JSON of the Grafana dashboards from dashboards/build
	$(GO) test -count=1 ./dashboards/build -args -update

# How long the demo runs at least before its dashboards are drawn; half of it is before a worse release, and what that
# release breaks is waited for.
PREVIEW ?= 10m

.PHONY: previews
previews: tools-prometheus ## dashboards/preview/*.png from a demo of PREVIEW (10m); needs npm
	sh tools/debian.sh chromium=chromium npm=npm
	cd tools/preview && npm ci --no-audit --no-fund
	rm -rf $(CURDIR)/.tools/preview && mkdir -p $(CURDIR)/.tools/preview
	$(GO) test -count=1 -timeout 2h ./test -run '^TestPreviews$$' -args -previews.after=$(PREVIEW) -previews.results=$(CURDIR)/.tools/preview
	cd tools && $(GO) run ./preview preview/node_modules/uplot/dist $(CURDIR)/.tools/preview $(CURDIR)/dashboards/preview

.PHONY: deps
deps: tools-prometheus tools-collector tools-peers ## install what the tests need and is missing
	sh tools/debian.sh gcc=gcc prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager chromium=chromium redis-server=redis-server unbound=unbound dnsdist=dnsdist

.PHONY: deps-bench
deps-bench:
	sh tools/debian.sh wrk=wrk nginx=nginx-light taskset=util-linux

.PHONY: clean
clean: ## remove what was built here
	rm -rf $(BIN) .tools

# Tools are installed where what they are built from has changed, which tools/install.sh knows.

# Prometheus and promtool without service discovery, of which the tests use static addresses only: it is most of what there is to compile.
.PHONY: tools-prometheus
tools-prometheus:
	@GO=$(GO) sh tools/install.sh $(TOOLS) tools -tags=remove_all_sd tool

.PHONY: tools-collector
tools-collector:
	@GO=$(GO) sh tools/install.sh $(TOOLS) tools/collector .

.PHONY: tools-peers
tools-peers:
	@sh tools/debian.sh node=nodejs npm=npm
	@sh tools/peers.sh $(CURDIR)/.tools/peers

.PHONY: tools-lint
tools-lint:
	@GO=$(GO) sh tools/install.sh $(TOOLS) tools/lint tool
