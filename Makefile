# The two commands that matter are `make up` and `make test`; `make help` lists all.
# Nothing has to be installed before: scripts/go-toolchain finds, fetches or names
# what is missing.

.DEFAULT_GOAL := help
SHELL := /bin/sh

# The pinned toolchain, looked for once and only by targets that need it.
GO = $(eval GO := $$(shell scripts/go-toolchain))$(if $(GO),$(GO),$(error no Go toolchain: see the message above))

export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false
# GO already is the pinned version; a second switch could only make it another.
export GOTOOLCHAIN := local

WORKLOAD ?= examples/guestbook
OUTPUT ?= dist/image
KERNEL ?= generic
LENGTH ?= 0
CUTS ?= 60

# Build recipes print their own time, as `secretvm up` does for its steps.
define timed
	@start=$$(date +%s%N); $(2) || exit $$?; \
	end=$$(date +%s%N); ms=$$(( (end - start) / 1000000 )); \
	printf ' ✓ %-12s %-48s %4d.%ds\n' '$(1)' '$(3)' $$((ms / 1000)) $$((ms % 1000 / 100)) >&2
endef

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: up
up: build ## boot the example workload in a measured VM (WORKLOAD=folder)
	@exec bin/secretvm up $(WORKLOAD)

.PHONY: build
build: toolchain bin/secretvm bin/kmsd ## build the commands into bin/

.PHONY: toolchain
toolchain:
	$(call timed,toolchain,test -x "$(GO)",$(shell $(GO) env GOVERSION))

# Go decides itself what is stale, and quickly.
.PHONY: bin/secretvm bin/kmsd
bin/secretvm bin/kmsd: bin/%:
	$(call timed,build,$(GO) build -ldflags '-s -w' -o $@ ./cmd/$*,$@)

.PHONY: test
test: build ## run all tests, the end-to-end boot included
	$(GO) test -timeout 30m ./...
	$(GO) test -count=1 -timeout 15m -tags faults -v ./test/faults
	$(GO) test -count=1 -timeout 15m -tags e2e -v ./test/disk
	$(GO) test -count=1 -timeout 35m -tags e2e -v ./test/e2e/...

.PHONY: test-unit
test-unit: ## run all tests but the end-to-end ones
	$(GO) test -timeout 30m ./...

.PHONY: e2e
e2e: build ## run only the end-to-end tests (KERNEL=minimal: with our own kernel)
	$(GO) test -count=1 -timeout 35m -tags e2e -v ./test/e2e -kernel $(KERNEL)

.PHONY: faults
faults: toolchain ## break four real key manager nodes in every way under releases (LENGTH=10m: again and again)
	$(GO) test -count=1 -timeout 60m -tags faults -v ./test/faults -args -length $(LENGTH)

.PHONY: power-cuts
power-cuts: toolchain ## cut the power of a machine at CUTS (60) random writes, with and without integrity each
	$(GO) test -count=1 -timeout 60m -tags e2e -v -run D5 ./test/disk -args -cuts $(CUTS)

.PHONY: same-hash
same-hash: toolchain ## let two different builds of kmsd compute the same chain, and compare
	scripts/same-hash "$(GO)"

.PHONY: firmware
firmware: bin/secretvm ## build our own firmware (minutes), and boot it with what it has to refuse
	bin/secretvm image firmware build --tee tdx
	bin/secretvm image firmware build --tee snp
	$(GO) test -count=1 -timeout 20m -tags firmware -v -run 'B6|TDX|Tables' ./image/firmware
	$(GO) test -count=1 -timeout 20m -tags firmware -v -run Firmware ./host/qtest

.PHONY: kernel
kernel: bin/secretvm ## build our own kernel (up to 19 minutes of a processor), and hold it against Debian's
	bin/secretvm image kernel build
	$(GO) test -count=1 -timeout 20m -tags kernel -v ./image/linux
	$(GO) test -count=1 -v -run Kernel ./host/qtest

.PHONY: driver
driver: bin/secretvm ## build NVIDIA's driver for the image for GPUs (6 minutes of a processor), and have the kernel load it
	bin/secretvm image driver build
	$(GO) test -count=1 -timeout 20m -tags driver -v ./image/nvidia

.PHONY: image
image: bin/secretvm ## build the base image into OUTPUT (dist/image)
	bin/secretvm image build --output $(OUTPUT)

.PHONY: verifier
verifier: toolchain ## build the verifier for browsers and JavaScript into dist/verifier
	$(call timed,verifier,scripts/verifier "$(GO)" dist/verifier,dist/verifier: serve it with any web server)

.PHONY: bench-verify
bench-verify: toolchain ## compare verification with other verifiers: verdicts and speed (needs npm)
	scripts/bench-verify "$(GO)"

.PHONY: repro
repro: bin/secretvm ## build the image twice in different folders and compare every byte
	scripts/repro

.PHONY: lint
lint: ## check formatting and run the linters
	scripts/lint "$(GO)"

.PHONY: fuzz
fuzz: ## fuzz every decoder for FUZZTIME each (default 10s)
	scripts/fuzz "$(GO)"

.PHONY: clean
clean: ## remove what was built here (caches and machines' data stay)
	rm -rf bin dist
