# Sourced: the kind cluster itself.
# shellcheck shell=bash

NODE=$CLUSTER-control-plane
CONTEXT=kind-$CLUSTER
STOCK_IMAGE=kindest/node:$KUBERNETES_VERSION

kube() { kubectl --context "$CONTEXT" "$@"; }

cluster_exists() { docker container inspect "$NODE" >/dev/null 2>&1; }

cluster_up() {
	engine_up
	# Of what is installed, kind may be any, and kubectl one that has `wait --for=create`.
	command -v kind >/dev/null || "$KIND_DIR/binaries.sh" kind >/dev/null
	grep -q -- --for=create <<<"$(kubectl wait --help 2>&1)" || "$KIND_DIR/binaries.sh" kubectl >/dev/null
	if cluster_exists; then
		[[ $(docker container inspect -f '{{.State.Running}}' "$NODE") == true ]] || step "starting node $NODE again" docker start "$NODE"
		{ kind export kubeconfig --name "$CLUSTER" >/dev/null 2>&1 && wait_ready; } || die "cluster $CLUSTER is there but does not answer; make it anew: hack/kind/cluster.sh down, then up"
		say "  using the kind cluster $CLUSTER (context $CONTEXT)"
		return
	fi
	local image=$STOCK_IMAGE
	have_image "$STOCK_IMAGE" || image=$(node_image)
	step "kind create cluster $CLUSTER" kind create cluster --name "$CLUSTER" --image "$image" --wait 120s
	wait_ready || die "cluster $CLUSTER was made but is not ready; see: kubectl --context $CONTEXT get pods -A"
	say "  kind cluster $CLUSTER is up (context $CONTEXT)"
}

wait_ready() {
	local i
	for ((i = 0; i < 60; i++)); do
		kube get --raw /readyz >/dev/null 2>&1 && break
		sleep 1
	done
	kube wait --for=condition=Ready "node/$NODE" --timeout=120s >/dev/null &&
		kube -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null &&
		kube -n local-path-storage rollout status deployment/local-path-provisioner --timeout=120s >/dev/null &&
		kube -n default wait --for=create serviceaccount/default --timeout=60s >/dev/null
}

# cluster_apply: apply the manifests on standard input. On a starved machine the kubelet may start the one API server anew,
# which takes it away for a minute; applying again is harmless.
cluster_apply() {
	local manifests tries=0
	cluster_exists || die "no cluster $CLUSTER: make it first (make cluster)"
	manifests=$(cat)
	until kube apply --server-side -f - <<<"$manifests"; do
		((++tries < 3)) || return 1
		say "applying failed; waiting for the API server"
		wait_ready || return 1
	done
}

# cluster_diagnose: what one asks first when the cluster misbehaves.
cluster_diagnose() {
	cluster_exists || die "no cluster $CLUSTER"
	docker ps -a || true
	free -m || true
	df -h "$CACHE" /tmp || true
	docker exec "$NODE" sh -c '
		uptime
		ctr --namespace=k8s.io tasks ls
		for log in /var/log/pods/kube-system_kube-apiserver-*/*/*.log /var/log/pods/kube-system_etcd-*/*/*.log; do
			printf "\n== %s\n" "$log"
			tail -n 15 "$log" | cut -c1-300
		done
		printf "\n== kubelet\n"
		journalctl -u kubelet --no-pager | grep -E "Killing container|Liveness|probe failed|CrashLoop|[Ee]vict" | tail -n 20 | cut -c1-300
	' || true
	dmesg 2>/dev/null | grep -iE "oom|killed process" | tail -n 5 || true
	kube get pods -A -o wide || true
}

cluster_down() {
	if docker info >/dev/null 2>&1 && cluster_exists; then
		command -v kind >/dev/null || "$KIND_DIR/binaries.sh" kind >/dev/null
		step "kind delete cluster $CLUSTER" kind delete cluster --name "$CLUSTER"
	fi
	engine_down
}

# cluster_status: say what is there; fails when there is no running cluster.
cluster_status() {
	if ! docker info >/dev/null 2>&1; then
		say "engine: none"
		return 1
	fi
	if engine_is_ours; then say "engine: started by this tool, data in $CACHE/docker"; else say "engine: answers"; fi
	if ! cluster_exists; then
		say "cluster: no $CLUSTER"
		return 1
	fi
	say "cluster: $CLUSTER (context $CONTEXT)"
	kube get nodes
}

# cluster_load IMAGE...: put images into the node; those that it has already are not copied again.
cluster_load() {
	local image
	cluster_exists || die "no cluster $CLUSTER: make it first (make cluster)"
	for image in "$@"; do
		docker image inspect "$image" >/dev/null 2>&1 || die "no image $image: build it first (make docker-build)"
		same_image "$image" || step "loading $image" kind load docker-image --name "$CLUSTER" "$image"
	done
}

# same_image IMAGE: whether this name means the same image on the node. The ID that Docker shows is the digest of the
# image's configuration, or of its manifest where Docker keeps its images in containerd.
same_image() {
	local id
	id=$(docker image inspect -f '{{.Id}}' "$1")
	docker exec "$NODE" sh -c '
		target=$(ctr --namespace=k8s.io images ls | awk -v name="$1" \
			"\$1 == name || \$1 == \"docker.io/\" name || \$1 == \"docker.io/library/\" name { print \$3; exit }")
		[ -n "$target" ] || exit 1
		[ "$target" = "$2" ] || ctr --namespace=k8s.io content get "$target" | grep -qF "$2"' sh "$1" "$id"
}
