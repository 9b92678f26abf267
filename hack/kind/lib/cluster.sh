# Sourced: the kind cluster itself.
# shellcheck shell=bash

NODE=$CLUSTER-control-plane
CONTEXT=kind-$CLUSTER
STOCK_IMAGE=kindest/node:$KUBERNETES_VERSION

kube() { kubectl --context "$CONTEXT" "$@"; }

cluster_exists() { docker container inspect "$NODE" >/dev/null 2>&1; }

cluster_up() {
	engine_up
	"$KIND_DIR/binaries.sh" kind >/dev/null
	command -v kubectl >/dev/null || "$KIND_DIR/binaries.sh" control-plane >/dev/null
	if cluster_exists; then
		[[ $(docker container inspect -f '{{.State.Running}}' "$NODE") == true ]] || step "starting node $NODE again" docker start "$NODE"
		kind export kubeconfig --name "$CLUSTER" >/dev/null 2>&1
		wait_ready || die "cluster $CLUSTER is there but does not answer; make it anew: hack/kind/cluster.sh down, then up"
		say "  using the kind cluster $CLUSTER (context $CONTEXT)"
		return
	fi
	local image=$STOCK_IMAGE
	registry_answers "$STOCK_IMAGE" || image=$(node_image)
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

cluster_down() {
	if docker info >/dev/null 2>&1 && cluster_exists; then
		"$KIND_DIR/binaries.sh" kind >/dev/null
		step "kind delete cluster $CLUSTER" kind delete cluster --name "$CLUSTER"
	fi
	engine_down
}

# cluster_load IMAGE...: put images into the node; those that it has already are not copied again.
cluster_load() {
	local image present
	present=$(docker exec "$NODE" ctr --namespace=k8s.io images ls -q)
	for image in "$@"; do
		docker image inspect "$image" >/dev/null 2>&1 || die "no image $image: build it first (make docker-build)"
		if grep -qxF -e "$image" -e "docker.io/library/$image" -e "docker.io/$image" <<<"$present" && same_image "$image"; then
			continue
		fi
		step "loading $image" kind load docker-image --name "$CLUSTER" "$image"
	done
}

# The node names an image by its configuration's digest, as Docker does.
same_image() {
	local id
	id=$(docker image inspect -f '{{.Id}}' "$1")
	docker exec "$NODE" ctr --namespace=k8s.io images ls -q | grep -qF -- "${id}"
}
