#!/usr/bin/env bash
# Loads the built images into the kind cluster and deploys them.
#
# In the cluster an image is named after its content: what is running is replaced when it differs, and only then.
. "$(dirname "$0")/kind/lib/common.sh"
cd "$KIND_DIR/../.."

by_content() {
	local id name
	id=$(docker image inspect -f '{{.Id}}' "$1")
	name=${1%:*}:${id:7:12}
	docker tag "$1" "$name"
	printf '%s\n' "$name"
}

operator=$(by_content "${IMG:-swarm-operator:dev}")
memory=$(by_content "${MEMORY_IMG:-swarm-memory:dev}")
# The name that examples/agent.yaml has.
docker tag "$memory" swarm-memory:dev
hack/kind/cluster.sh load "$operator" "$memory" swarm-memory:dev
kube() { kubectl --context "kind-$CLUSTER" "$@"; }
deploy() { hack/render.sh "$operator" "$memory" | hack/kind/cluster.sh apply; }
step "deploying the operator" deploy
step "waiting for the operator" kube -n swarm-operator-system rollout status deployment/swarm-operator-controller-manager --timeout=120s
