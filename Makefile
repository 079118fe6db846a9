# adtally: make without a target prints what there is.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

GO ?= go
BIN := bin/adtally
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL := $(GO) tool -modfile=scripts/tools/go.mod
DEMO ?= 1
PURE := ./proto/... ./aggregate/window/... ./ingest/token/...
FUZZTIME ?= 60s

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/adtally
	@[ -e $(BIN) ] || echo 'building $(BIN): the first time takes some minutes'
	@$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN) .

.PHONY: run
run: build ## start everything on embedded servers (DEMO=0 for no demo traffic)
	@exec $(BIN) run --log-format=console $(if $(filter 0,$(DEMO)),,--demo)

.PHONY: test
test: ## every test, on embedded servers and on a real Kafka broker (CI=true forbids skips)
	@./scripts/test.sh

.PHONY: check
check: generated fmt-check lint vet race arrows ## what must be clean before a commit

.PHONY: generate
generate: ## make the generated files again
	@$(TOOL) buf lint
	@$(TOOL) buf generate
	@cd query/graphql && $(GO) tool gqlgen generate

.PHONY: tag
tag: ## build beacon.js from ingest/tag/npm/src, and fetch what the dashboard takes from npm
	@for dir in ingest/tag/npm query/dashboard/npm; do \
		npm --prefix $$dir ci --silent --no-fund --no-audit && npm --prefix $$dir run build --silent; \
	done

.PHONY: generated
generated: generate tag
	@git diff --exit-code --stat -- proto query/graphql ':!proto/testdata' ingest/tag/npm/dist query/dashboard/static/vendor || { echo 'generated files were not current: commit what make generate and make tag made' >&2; exit 1; }

.PHONY: golden
golden: ## rewrite the golden files from what the code does now
	@$(GO) test ./aggregate/window ./query -update

.PHONY: fmt
fmt: ## format the code
	@$(TOOL) golangci-lint fmt ./...

.PHONY: fmt-check
fmt-check:
	@$(TOOL) golangci-lint fmt --diff ./...

.PHONY: lint
lint: ## lint, with the dependency arrows of the tree
	@$(TOOL) golangci-lint run ./...

.PHONY: vet
vet:
	@$(GO) mod verify >/dev/null
	@$(GO) vet ./...

.PHONY: race
race: ## race tests of the pure parts
	@$(GO) test -race -count=1 $(PURE)

.PHONY: arrows
arrows: ## prove that the lint arrows catch a planted violation
	@./scripts/arrows.sh

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (60s)
	@./scripts/fuzz.sh $(FUZZTIME)

.PHONY: mutants
mutants: ## plant known mistakes and check that the tests notice each
	@./scripts/mutants.sh

.PHONY: bench
bench: build ## side-by-side benchmarks, printed and written to bench/results
	@./bench/run.sh

.PHONY: clean
clean: ## remove what make build made
	@rm -rf bin
