# `make help` lists the targets. Their names are kubebuilder's where it has one.

SHELL := /bin/bash
.DEFAULT_GOAL := help

IMG ?= swarm-operator:dev
MEMORY_IMG ?= swarm-memory:dev
KUBECTL ?= kubectl
PLATFORMS ?= linux/amd64,linux/arm64
export IMG MEMORY_IMG KUBECTL PLATFORMS
# Tests start hundreds of processes: without bytecode each of them would compile this package again.
unexport PYTHONDONTWRITEBYTECODE

# What hack/kind built (kubectl, kind, etcd, kube-apiserver) is found behind what you have installed yourself.
TOOLS := $(shell hack/kind/binaries.sh where)
export PATH := $(PATH):$(TOOLS)

PYTHON := .venv/bin/python
VENV := .venv/.installed

##@ Start here

quickstart: ## Create a kind cluster with a swarm, and show that its memory outlives its pod
	hack/quickstart.sh

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Development

manifests: $(VENV) ## Render config/crd/bases from swarm_operator/api
	$(PYTHON) hack/manifests.py

proto: $(VENV) ## Generate the code of the memory's gRPC API from its .proto
	PYTHON=$(PYTHON) hack/proto.sh

wrap: $(VENV) ## Wrap the prose of the pages at 100 columns
	$(PYTHON) hack/wrap.py

openapi: $(VENV) ## Write docs/openapi.json from the memory service's code
	$(PYTHON) hack/openapi.py

client: $(VENV) ## Write the client's methods for records from the table of their operations
	$(PYTHON) hack/client.py

lint: $(VENV) ## ruff, mypy, import contracts, docstrings, spelling, banned words and the width of pages
	$(PYTHON) -m ruff check .
	@! git grep -n '^__all__' -- 'swarm_operator/*.py' ':!*__init__.py' || { echo '__all__: in packages only; a module has what it defines'; exit 1; }
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	git ls-files -z | xargs -0 .venv/bin/codespell -D - -D hack/words.txt
	$(PYTHON) hack/docstrings.py
	$(PYTHON) hack/wrap.py --check

check: lint ## Lint, and fail when generated files are stale
	$(PYTHON) hack/manifests.py --check
	PYTHON=$(PYTHON) hack/proto.sh --check
	$(PYTHON) hack/openapi.py --check
	$(PYTHON) hack/client.py --check

# Niced, for the longest tests wait for the kind cluster.
test: $(VENV) control-plane cluster docker-build ## Run all tests: unit, integration (a real kube-apiserver and etcd) and end to end (kind)
	hack/docker-build.sh prometheus
	hack/docker-build.sh git
	nice -n 10 $(PYTHON) -m pytest -n 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-long: ## Run all tests, the randomized ones with their whole budget
	TEST_BUDGET=long $(MAKE) test

test-unit: $(VENV) ## Run the unit tests
	$(PYTHON) -m pytest test/unit $(ARGS)

test-integration: $(VENV) control-plane ## Run the integration tests, against a real kube-apiserver and etcd
	$(PYTHON) -m pytest test/integration $(ARGS)

test-e2e: $(VENV) cluster docker-build ## Run the end-to-end tests, on the kind cluster
	hack/docker-build.sh prometheus
	hack/docker-build.sh git
	$(PYTHON) -m pytest test/e2e $(ARGS)

fuzz: $(VENV) ## Fuzz test: invalid requests to the memory over each protocol; FUZZ_SECONDS=600
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) FUZZ_STALL=$(or $(FUZZ_STALL),0.25) $(PYTHON) -m pytest test/unit/memory/fuzz $(ARGS)

bench: bench-operator bench-memory bench-recall ## Run all benchmarks

bench-operator: $(VENV) control-plane ## Benchmark of 1,000 stores and 100 clusters, compared with an operator in Go
	cd test && ../$(PYTHON) -m bench.operator $(ARGS)

bench-memory: $(VENV) ## Benchmark of the memory, compared with Redis and an empty server; needs wrk and redis-server
	cd test && ../$(PYTHON) -m bench.memory $(ARGS)

bench-recall: $(VENV) ## Recall of searches by words, by meaning and by both
	cd test && ../$(PYTHON) -m bench.recall $(ARGS)

soak: $(VENV) control-plane ## Soak test: 10 minutes of churn over 500 objects, checking for leaks
	cd test && ../$(PYTHON) -m bench.operator.soak $(ARGS)

run: $(VENV) ## Run the manager on this machine, against kubectl's current cluster
	.venv/bin/swarm-operator $(ARGS)

hostile: $(VENV) ## Effect of a hostile client on other clients of the memory, for a minute
	HOSTILE_SECONDS=60 $(PYTHON) -m pytest -s test/fault/test_hostile_clients.py $(ARGS)

found: $(VENV) ## Search test: finds 20,000 acknowledged values while the memory is killed; FOUND_WRITES=20000
	FOUND_WRITES=$(or $(FOUND_WRITES),20000) $(PYTHON) -m pytest test/fault/test_found_after_acknowledgement.py $(ARGS)

lock: $(VENV) ## Renew requirements/*.lock from pyproject.toml
	hack/lock.sh

venv: $(VENV) ## Create the development environment, .venv

$(VENV): requirements/dev.lock pyproject.toml hack/venv.sh
	hack/venv.sh
	@touch $@

##@ Build and deploy

docker-build: ## Build the images $(IMG) and $(MEMORY_IMG)
	hack/docker-build.sh

docker-buildx: ## Build both images for $(PLATFORMS) and push them
	hack/docker-build.sh buildx

install: ## Install the CRDs into kubectl's current cluster
	$(KUBECTL) apply --server-side -k config/crd

uninstall: ## Remove the CRDs; refuses while there are swarms or memories, unless DELETE_STORES=yes
	hack/uninstall.sh

deploy: ## Install everything with images $(IMG) and $(MEMORY_IMG); takes WATCH_NAMESPACES=a,b and IMAGE_PULL_SECRETS=a,b
	hack/render.sh $(IMG) $(MEMORY_IMG) | $(KUBECTL) apply --server-side -f -

undeploy: ## Remove the operator; CRDs, swarms and memories stay
	hack/render.sh $(IMG) $(MEMORY_IMG) without-crds | $(KUBECTL) delete --ignore-not-found -f -

##@ A cluster

control-plane: ## Build kube-apiserver, etcd and kubectl for the integration tests; KUBEBUILDER_ASSETS names yours
	@test -n "$$KUBEBUILDER_ASSETS" || hack/kind/binaries.sh control-plane >/dev/null

cluster: ## Create a kind cluster named swarm, also without an image registry
	hack/kind/cluster.sh up

cluster-down: ## Delete the cluster, and stop the Docker engine if `make cluster` started it
	hack/kind/cluster.sh down

.PHONY: quickstart help manifests proto wrap openapi client lint check test test-long test-unit test-integration test-e2e fuzz hostile bench bench-operator bench-memory bench-recall \
	soak run lock venv docker-build docker-buildx install \
	uninstall deploy undeploy control-plane cluster cluster-down
