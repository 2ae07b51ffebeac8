# make demo and make test set up everything that they need on a fresh machine.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# A count, not a time: a target that is out of time in the middle of an input fails.
FUZZTIME ?= 50000x
GOTEST   := go test -race -shuffle=on -timeout 40m

.PHONY: build demo test setup lint unit fuzz bench-once bench bench-large torture clean

build: ## bin/mintmark
	go build -trimpath -o bin/mintmark ./daemon/cmd/mintmark

demo: build ## a simulated line, from an empty folder to a refused batch
	bin/mintmark demo

test: setup lint unit fuzz bench-once ## all that CI runs

setup: ## installs what the tests need from the distribution
	fixtures/setup.sh

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'make: gofmt: the files above are not formatted' >&2; exit 1; }
	go mod tidy -diff
	go vet ./...
	go tool staticcheck ./...

# The canary looks through whole memories: without the race detector, which slows
# that down and has a shadow of its own.
unit: build
	$(GOTEST) $$(go list ./... | grep -v /daemon/canary)
	go test -timeout 20m ./daemon/canary

fuzz: ## every fuzz target, $(FUZZTIME) inputs
	@go list ./... | while read -r pkg; do \
	  go test -list '^Fuzz' "$$pkg" | sed -n '/^Fuzz/p' | while read -r f; do \
	    echo "fuzz $$pkg $$f"; </dev/null go test -run='^$$' -fuzz="^$$f$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=100x "$$pkg"; \
	  done; \
	done

bench-once: ## every benchmark runs
	go test -run='^$$' -bench=. -benchtime=1x ./...

bench: setup ## medians and ratios of one run, written to docs/benchmarks.md
	go run ./fixtures/bench -o docs/benchmarks.md

bench-large: ## the same in a ledger of a hundred million, ours only; 7 GiB of TMPDIR
	go run ./fixtures/bench -large -count=2 -o docs/benchmarks-large.md

torture: setup build ## the long ones: hundreds of kills, power cuts, every byte flipped
	go test -timeout 6h -v ./records ./fixtures/torture ./fixtures/powercut ./daemon/crash -torture

clean:
	rm -rf bin demo .cache
