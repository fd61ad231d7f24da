# Countersign. "make help" lists the targets.

GO          ?= go
FUZZTIME    ?= 10s
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
REVIVE      := github.com/mgechev/revive@v1.15.0
GOCRITIC    := github.com/go-critic/go-critic/cmd/gocritic@v0.15.0
ERRCHECK    := github.com/kisielk/errcheck@v1.9.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/countersign, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.buildVersion=$(VERSION)' -o bin/countersign ./cmd/countersign

.PHONY: demo
demo: ## build and run everything on this machine, with simulated Slack, Discord and EPM: http://127.0.0.1:8080/
	@echo 'Building countersign; the first time takes a minute.'
	@CGO_ENABLED=0 $(GO) build -o bin/countersign ./cmd/countersign
	@./bin/countersign demo $(ARGS)

.PHONY: test
test: ## set up what the tests need, then run all of them; TEST_ALL=1 leaves nothing out
	@GO='$(GO)' sh .ci/test

.PHONY: lint
lint: ## gofmt, vet, staticcheck, errcheck, revive (comments of what is exported) and gocritic
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./... && cd tests && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	cd tests && $(GO) run $(STATICCHECK) ./...
	$(GO) run $(ERRCHECK) -ignoretests -exclude .ci/errcheck.txt ./...
	$(GO) run $(REVIVE) -config .ci/revive.toml -set_exit_status ./...
	$(GO) run $(GOCRITIC) check -checkTests=false -disable=appendAssign ./...

.PHONY: test-stress
test-stress: ## the tests that are ten times longer without the race detector
	$(GO) test -count=1 -run 'ManyInteractions|BothAtTheSameInstant' ./adapters/discord ./cmd/countersign

.PHONY: faults
faults: ## the long form of tests/faults/: 360 kills, and what else can be taken away; takes about a quarter of an hour
	cd tests && COUNTERSIGN_TEST_FAULTS=long COUNTERSIGN_TEST_ALL=1 $(GO) test -count=1 -timeout 90m -v ./faults

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; done

.PHONY: deploy-check
deploy-check: ## hold deploy/, the Dockerfile and .goreleaser.yaml to their tools and to the program
	@GO='$(GO)' bash .ci/deploy

.PHONY: update-golden
update-golden: ## write the golden files anew; read the difference before you commit it
	$(GO) test ./adapters/slack ./adapters/discord ./adapters/sinks ./epm -update

.PHONY: notices
notices: ## write THIRD_PARTY_NOTICES.txt anew, after a change of dependencies
	$(GO) run ./.ci/notices > THIRD_PARTY_NOTICES.txt

.PHONY: vulncheck
vulncheck: ## look for known vulnerabilities in what is linked; VULN_REQUIRED=1 fails where it cannot look
	@GO='$(GO)' GOVULNCHECK='$(GOVULNCHECK)' sh .ci/vuln

.PHONY: bench
bench: ## compare with bare servers, in one run, and send a storm; takes about four minutes
	$(GO) test ./cmd/countersign -run '^$$' -bench 'Webhooks|Start|Latency|Storm' -benchtime 1x -timeout 20m

.PHONY: bench-scale
bench-scale: ## up to a million tickets, replicas and takeover; takes about ten minutes, 10 GB of memory and as much disk
	$(GO) test ./cmd/countersign -run '^$$' -bench 'Scale|Replicas|Takeover' -benchtime 1x -timeout 40m

.PHONY: bench-audit
bench-audit: ## verify and export a million events; takes about five minutes
	$(GO) test ./cmd/countersign -run '^$$' -bench 'Audit' -benchtime 1x -timeout 20m

.PHONY: count
count: ## count the lines of Go: production, tests and suites, fakes
	@sh .ci/count

.PHONY: image
image: ## build the container image
	docker build --build-arg VERSION=$(VERSION) -t countersign:$(VERSION) .

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
