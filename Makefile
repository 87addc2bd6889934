# Remora's tasks. `make help` lists them.

# Go is taken from PATH, else from where its own archive puts it.
export PATH := $(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Tests start real servers: two packages at a time, so that time-outs mean something on two cores.
TESTFLAGS ?= -p 2 -timeout 15m
# Which tests: make test PKG=./failover RUN=Switchover
PKG ?= ./...
RUN ?=
# Which measurements, how often, on which servers, and where the report goes: make bench WHAT=kill,freeze N=5 FLAVOR=mariadb,mysql OUT=file
# (each has its own N otherwise); make measure WHAT=quiet,haproxy,kvchaos,walk likewise, of one flavor at a time
WHAT ?=
N ?=
OUT ?= bench-report
# WHAT=watch, rack or both is what large fleets cost, on simulated servers: make bench WHAT=watch ARGS='-clusters 200 -instances 600'
ARGS ?=
comma = ,
SCALE = $(filter watch rack,$(subst $(comma), ,$(WHAT)))
BENCH_SCALE = go run ./internal/lab/scale/cmd/scale -what '$(WHAT)' -out '$(OUT)' $(ARGS)
BENCH_OUTAGES = go run ./internal/lab/bench/cmd/bench -what '$(WHAT)' $(if $(N),-n $(N)) -flavor '$(FLAVOR)' -out '$(OUT)' $(ARGS)
# On whose servers the demo, chaos and the measurements run: FLAVOR=mysql for MySQL
ON_FLAVOR = $(if $(FLAVOR),REMORA_FLAVOR=$(FLAVOR))
# How long each parser is fuzzed: make fuzz T=5m
T ?= 30s
# How long chaos begins faults, the seed of their order, and which to draw from: make chaos T=5m SEED=7 ONLY='primary killed,leader killed'
CHAOS_T = $(if $(filter file,$(origin T)),30m,$(T))
SEED ?=
ONLY ?=
# Which faults of a simulated schedule to keep, as a shrunk one says; which sabotages: make sabotage S=lease
KEEP ?=
S ?=

# Tests build the programs that they start, within their own time-outs: compile those beforehand.
COMPILE = go build ./...

.DEFAULT_GOAL := help
.PHONY: help build test race lint demo chaos bench measure walk sim sabotage fuzz cover clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/remora, a static binary
	@scripts/deps build
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/remora ./cmd/remora

test: ## Run all tests on real servers, MariaDB and MySQL (PKG=./mysql RUN=Name for some, REMORA_FLAVOR=mysql for one kind)
	@scripts/deps test
	$(COMPILE)
	REMORA_LAB=required go test $(TESTFLAGS) $(if $(RUN),-run '$(RUN)') $(PKG)
	$(if $(RUN)$(filter-out ./...,$(PKG))$(REMORA_FLAVOR),,scripts/test-mysql $(TESTFLAGS))
	@scripts/which-proxysql

race: ## Run all tests with the race detector, which needs a C compiler
	@scripts/deps race
	CGO_ENABLED=1 $(COMPILE)
	CGO_ENABLED=1 REMORA_LAB=required go test -race $(TESTFLAGS) $(if $(RUN),-run '$(RUN)') $(PKG)
	@scripts/which-proxysql

lint: ## Run the linters; builds the pinned golangci-lint on first use
	@scripts/deps build
	@scripts/lint $(PKG)

demo: ## Start three of each, switch over, kill the primary, and show what clients saw (FLAVOR=mysql for MySQL)
	@scripts/deps test
	$(COMPILE)
	$(ON_FLAVOR) go run ./examples/demo

chaos: ## Play faults of every kind in network namespaces for 30 minutes and judge (T=5m SEED=7 FLAVOR=mysql; needs root)
	@scripts/deps test
	$(COMPILE)
	$(ON_FLAVOR) go run ./internal/lab/chaos/cmd/chaos -t $(CHAOS_T) $(if $(SEED),-seed $(SEED)) -only "$(ONLY)"

bench: ## Measure outages as clients see them (WHAT=kill,freeze N=5 FLAVOR=mariadb,mysql OUT=file; all and both are many minutes)
	@scripts/deps $(if $(SCALE),build,bench)
	$(COMPILE)
	$(if $(SCALE),$(BENCH_SCALE),$(BENCH_OUTAGES))
	@scripts/which-proxysql

measure: ## Play the long tests of docs/benchmarks.md: quiet, haproxy, kvchaos, walk (WHAT=quiet N=10 for some, FLAVOR=mysql for MySQL)
	@scripts/deps test
	$(COMPILE)
	$(ON_FLAVOR) REMORA_LAB=required REMORA_MEASURE=$(or $(WHAT),all) REMORA_N=$(N) go test -count 1 -timeout 3h -v -run '^TestMeasure' ./internal/lab/fleet
	@scripts/which-proxysql

walk: ## Kill the leader at every step of every kind of recovery, on real servers (FLAVOR=mysql for MySQL)
	@$(MAKE) --no-print-directory measure WHAT=walk

sim: ## Play schedules of faults in the simulated world (N=20000 SEED=1); SEED=7 alone plays one and shows it
	@scripts/deps build
	SIM_N=$(N) SIM_SEED=$(SEED) SIM_KEEP=$(KEEP) go test -count 1 -timeout 6h -run '^TestSchedules$$' $(if $(N),,-v) ./internal/world

sabotage: ## Prove that the simulation finds mistakes: each within 2,000 schedules (S=lease for some)
	@scripts/deps build
	SIM_SABOTAGE='$(or $(S),all)' go test -count 1 -timeout 2h -v -run '^TestSabotages$$' ./internal/world

fuzz: ## Fuzz every parser for a while (T=30s each)
	@scripts/deps build
	@scripts/fuzz $(T)

cover: ## Measure coverage; bin/cover.html shows it line by line
	@scripts/deps test
	@mkdir -p bin
	$(COMPILE)
	REMORA_LAB=required go test $(TESTFLAGS) -coverprofile bin/cover.out $(PKG)
	@go tool cover -html bin/cover.out -o bin/cover.html
	@go tool cover -func bin/cover.out | tail -n 1

clean: ## Remove what the other targets made in this directory
	rm -rf bin bench-report.json bench-report.svg demo-report.json chaos-report.json chaos-report.svg chaos-report-logs
