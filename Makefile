# SPDX-License-Identifier: Apache-2.0
# `make` lists the targets.

GO       ?= go
PREFIX   ?= /usr/local
FUZZTIME ?= 20s
SOAK     ?= 10m
TEST     ?= ./...
# The race detector needs a C compiler; without one the tests run without it, and say so.
RACE      = $(shell sh .ci/race)

.DEFAULT_GOAL := help
.PHONY: help build install test soak test-short check lint format vet staticcheck imports bench fuzz demo deps clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the switchboard command and the network service, in bin
	$(GO) build -trimpath -o bin/ ./cmd/switchboard ./cmd/switchboard-network

install: build ## install the two programs, their systemd units and nothing else (PREFIX=/usr/local, DESTDIR=)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/switchboard bin/switchboard-network
	install -d -m 0755 $(DESTDIR)$(PREFIX)/lib/systemd/user
	for unit in deploy/systemd/user/*; do \
		sed 's|@PREFIX@|$(PREFIX)|g' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/user/$${unit##*/}; \
	done

demo: ## the ten-second tour
	$(GO) run ./cmd/switchboard demo

test: deps ## all tests, with the race detector
	$(GO) test $(RACE) -timeout 15m $(TEST)

soak: deps ## frames for SOAK (10m): 32 readers in Go and Python, killed at every step, slow, stopped and mad; then 1,000 kills of each kind
	SWITCHBOARD_TEST_SOAK=$(SOAK) $(GO) test $(RACE) -v -count=1 -timeout 60m -run Soak ./frames
	SWITCHBOARD_TEST_KILLS=1000 $(GO) test -count=1 -timeout 60m -run Killed ./frames

test-short: ## the tests that take no time, without the race detector
	$(GO) test -short -timeout 2m $(TEST)

check: lint test ## everything that CI checks

lint: format vet staticcheck imports ## formatting, vet and staticcheck (Linux and macOS), import rules

format: ## fail on files that gofmt would change
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

vet: ## go vet, for Linux and macOS
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...

staticcheck: ## staticcheck, for Linux and macOS
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	GOOS=darwin $$($(GO) tool -modfile=tools/go.mod -n staticcheck) ./...

imports: ## the rules of which package may import which
	@GO=$(GO) sh .ci/imports

bench: ## measure, and print ratios against the peers
	$(GO) run ./bench

fuzz: ## fuzz each decoder for FUZZTIME (20s)
	@GO=$(GO) FUZZTIME=$(FUZZTIME) sh .ci/fuzz

deps: ## install what the tests use (root and apt-get), or say what is missing
	@sh .ci/deps

clean: ## remove what was built
	rm -rf bin dist
