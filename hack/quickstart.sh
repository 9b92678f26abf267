#!/usr/bin/env bash
# A kind cluster with a swarm that has a memory, and the proof that it keeps what it acknowledged.
. "$(dirname "$0")/kind/lib/common.sh"
cd "$KIND_DIR/../.."

NAMESPACE=claude-flow-swarm
STORE=my-cluster-memory
kube() { kubectl --context "kind-$CLUSTER" -n "$NAMESPACE" "$@"; }

say "1. A Kubernetes cluster"
hack/kind/cluster.sh up

say "2. The operator"
hack/docker-build.sh
hack/kind-deploy.sh

say "3. A swarm with a memory: examples/sqlite-memory-cluster.yaml"
kube get namespace "$NAMESPACE" >/dev/null 2>&1 || kube create namespace "$NAMESPACE" >/dev/null
kube apply -f examples/sqlite-memory-cluster.yaml >/dev/null
step "waiting for swarmmemorystore/$STORE to exist" kube wait --for=create "swarmmemorystore/$STORE" --timeout=60s
step "waiting for it to be Ready" kube wait --for=condition=Ready "swarmmemorystore/$STORE" --timeout=300s
kube rollout status "statefulset/$STORE" --timeout=120s >/dev/null

say "4. An agent stores a value, the memory's pod is replaced, and the agent reads it again: examples/agent.yaml"
kube delete pod agent --ignore-not-found >/dev/null
kube apply -f examples/agent.yaml >/dev/null
step "waiting for the agent's pod" kube wait --for=condition=Ready pod/agent --timeout=60s
value="{\"text\": \"remember this\", \"at\": \"$(date -u +%FT%TZ)\"}"
say "  agent$ swarm-memory put demo note '$value'"
kube exec agent -- swarm-memory put demo note "$value"
step "deleting pod $STORE-0" kube delete pod "$STORE-0"
kube wait --for=create "pod/$STORE-0" --timeout=60s >/dev/null
step "waiting for its successor" kube wait --for=condition=Ready "pod/$STORE-0" --timeout=120s
# The Service leads to the new pod a moment after that is ready.
answer=
for _ in $(seq 30); do
	answer=$(kube exec agent -- swarm-memory get demo note 2>/dev/null) && break
	sleep 1
done
say "  agent$ swarm-memory get demo note"
printf '%s\n' "$answer"
compare='import json, sys; sys.exit(json.loads(sys.argv[1]) != json.loads(sys.argv[2])["value"])'
kube exec agent -- python3 -c "$compare" "$value" "$answer" || die "the memory lost what it had acknowledged"

step "waiting for swarmmemorystore/$STORE to be Ready" kube wait --for=condition=Ready "swarmmemorystore/$STORE" --timeout=120s
step "waiting for the numbers in its status" kube wait --for=jsonpath='{.status.entryCount}' "swarmmemorystore/$STORE" --timeout=60s
say
say "\$ kubectl get swarmclusters,swarmmemorystores,pods -A"
kubectl --context "kind-$CLUSTER" get swarmclusters,swarmmemorystores,pods -A
