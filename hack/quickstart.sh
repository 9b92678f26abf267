#!/usr/bin/env bash
# A kind cluster with a swarm: three agents that work through tasks, and a memory that keeps what it acknowledged.
. "$(dirname "$0")/kind/lib/common.sh"
cd "$KIND_DIR/../.."

NAMESPACE=claude-flow-swarm
STORE=my-cluster-memory
TASKS=30
kube() { kubectl --context "kind-$CLUSTER" -n "$NAMESPACE" "$@"; }

say "1. A Kubernetes cluster"
hack/kind/cluster.sh up

say "2. The operator"
hack/docker-build.sh
hack/kind-deploy.sh

say "3. A swarm of three agents with a memory: examples/swarm-with-agents.yaml"
kube get namespace "$NAMESPACE" >/dev/null 2>&1 || kube create namespace "$NAMESPACE" >/dev/null
kube apply -f examples/swarm-with-agents.yaml >/dev/null
kube delete pod agent --ignore-not-found >/dev/null
kube apply -f examples/agent.yaml >/dev/null
step "waiting for swarmcluster/my-cluster to be Ready" kube wait --for=condition=Ready swarmcluster/my-cluster --timeout=300s
step "waiting for the pod of a user" kube wait --for=condition=Ready pod/agent --timeout=60s

say "4. The agents work through $TASKS tasks together"
kube exec -i agent -- python3 - "$TASKS" <hack/quickstart_tasks.py

say "5. A user stores a value, the memory's pod is replaced, and the user reads it again: examples/agent.yaml"
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

step "waiting for swarmcluster/my-cluster to be Ready" kube wait --for=condition=Ready swarmcluster/my-cluster --timeout=120s
step "waiting for the numbers in its status" kube wait --for=jsonpath='{.status.entryCount}' "swarmmemorystore/$STORE" --timeout=60s
say
say "\$ kubectl get swarmclusters,swarmmemorystores,pods -A"
kubectl --context "kind-$CLUSTER" get swarmclusters,swarmmemorystores,pods -A
