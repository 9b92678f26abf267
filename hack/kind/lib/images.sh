# Sourced: images made from package registries alone, for where no image registry can be reached.
# shellcheck shell=bash

# digest: a short name for what is on standard input.
digest() { sha256sum | cut -c1-"$1"; }

debian_image_name() {
	local suite=$1 packages=$2
	printf 'swarm-operator/debian:%s\n' "$suite-$({ declare -f debootstrap_image && echo "$packages"; } | digest 8)"
}

# debian_image SUITE [PACKAGE,...]: a base image of a Debian release; prints its name.
debian_image() {
	local suite=$1 packages=ca-certificates${2:+,$2} image
	image=$(debian_image_name "$suite" "$packages")
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

# The tag of the node image has a digest of all that goes into it: the programs (their folder's name has one of its own),
# the files, the settings and the functions below without their comments.
node_image_name() {
	local recipe
	recipe=$({
		echo "${BIN##*/}" "$(debian_image_name "$DEBIAN_SUITE" ca-certificates)" "$PAUSE_VERSION" "$ETCD_IMAGE_TAG" \
			"$COREDNS_IMAGE_TAG" "$(restrict_oom_score)"
		cat "$KIND_DIR"/node/*
		declare -f single_program control_plane_images base_node_image filled_node_image
	} | digest 12)
	printf 'swarm-operator/node:%s\n' "$KUBERNETES_VERSION-$recipe"
}

# node_image: make the kind node image; prints its name.
node_image() {
	local image debian
	image=$(node_image_name)
	if ! docker image inspect "$image" >/dev/null 2>&1; then
		say "  making a node image from package registries (12 to 18 minutes the first time)"
		"$KIND_DIR/binaries.sh" all >/dev/null
		debian=$(debian_image "$DEBIAN_SUITE")
		step "images of the control plane" control_plane_images "$debian"
		step "node image" base_node_image "$debian" "$image-base"
		step "node image with the control plane's images inside" filled_node_image "$image-base" "$image"
	fi
	printf '%s\n' "$image"
}

# Without CAP_SYS_RESOURCE no process may lower its OOM score, which every pod's sandbox tries.
restrict_oom_score() {
	if [[ $(missing_capabilities) == *CAP_SYS_RESOURCE* ]]; then echo true; else echo false; fi
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
	# shellcheck disable=SC2064 # the directory is known now
	trap "rm -rf '$context'" EXIT
	cp "$BIN/kube-proxy" "$context/"
	docker build --build-arg "DEBIAN_IMAGE=$debian" -f "$KIND_DIR/node/kube-proxy.Dockerfile" \
		-t "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION" "$context" || return
	docker build --build-arg "DEBIAN_IMAGE=$debian" -f "$KIND_DIR/node/local-path-helper.Dockerfile" \
		-t localhost/local-path-helper:bookworm "$context"
}

base_node_image() {
	local debian=$1 image=$2 context
	context=$(mktemp -d "$CACHE/image.XXXXXX")
	# shellcheck disable=SC2064 # the directory is known now
	trap "rm -rf '$context'" EXIT
	cp -r "$BIN/node-files" "$context/files"
	mkdir "$context/bin"
	cp "$BIN"/{kubeadm,kubelet,kubectl} "$context/bin/"
	cp "$KIND_DIR"/node/* "$context/"
	docker build -t "$image" \
		--build-arg "DEBIAN_IMAGE=$debian" --build-arg "KUBERNETES_VERSION=$KUBERNETES_VERSION" \
		--build-arg "PAUSE_IMAGE=registry.k8s.io/pause:$PAUSE_VERSION" \
		--build-arg "RESTRICT_OOM_SCORE_ADJ=$(restrict_oom_score)" "$context"
}

# The images go into the node's own containerd, so that the cluster starts without pulling anything.
filled_node_image() {
	local base=$1 image=$2 container images
	images=(
		registry.k8s.io/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy}:"$KUBERNETES_VERSION"
		"registry.k8s.io/etcd:$ETCD_IMAGE_TAG" "registry.k8s.io/coredns/coredns:$COREDNS_IMAGE_TAG"
		"registry.k8s.io/pause:$PAUSE_VERSION" "localhost/local-path-provisioner:$LOCAL_PATH_VERSION"
		localhost/local-path-helper:bookworm
	)
	container=$(docker run -d --privileged --entrypoint sleep "$base" 3600) || return
	# shellcheck disable=SC2064 # the container is known now
	trap "docker rm -f '$container'" EXIT
	docker exec -d "$container" containerd || return
	docker exec "$container" timeout 60 sh -c 'until ctr version >/dev/null 2>&1; do sleep 0.1; done' || return
	docker save "${images[@]}" | docker exec -i "$container" ctr --namespace=k8s.io images import --no-unpack --digests - || return
	docker exec "$container" pkill containerd || return
	docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" "$image"
}
