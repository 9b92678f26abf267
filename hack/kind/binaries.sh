#!/usr/bin/env bash
# Builds the Kubernetes programs, etcd, kind, CoreDNS and the local storage provisioner from the Go module
# proxy into the cache. What is there already is not built again.
#
#   binaries.sh control-plane   kube-apiserver, etcd and kubectl: what the integration tests need
#   binaries.sh kind            kind alone
#   binaries.sh kubectl         kubectl alone
#   binaries.sh all             everything that a node image needs, kind's own files for it included
#   binaries.sh where           nothing
#
# Prints the directory of the binaries on standard output.
. "$(dirname "$0")/lib/common.sh"
. "$KIND_DIR/lib/go.sh"

# pinned MODULE_DIR VERSION: stop unless the module pins the version.
pinned() {
	grep -qE "^(require )?[[:space:]]*[^ ]+ ${2//./\\.}( |$)" "$KIND_DIR/go/$1/go.mod" || die "$KIND_DIR/go/$1/go.mod does not pin $2: it and lib/common.sh must name the same version"
}

# go_tool MODULE_DIR PACKAGE NAME [VERSION]: build one program into the cache, atomically.
go_tool() {
	local dir=$1 package=$2 name=$3 version=${4:-}
	[[ -x $BIN/$name ]] && return
	[[ -z $version ]] || pinned "$dir" "$version"
	ensure_go
	CGO_ENABLED=0 step "go build $name $version" go_build "$KIND_DIR/go/$dir" -ldflags "-s -w" -o "$BIN/.$name.new" "$package"
	mv "$BIN/.$name.new" "$BIN/$name"
}

# kubernetes PROGRAM...: build programs of Kubernetes likewise, all at once: Go links two of them at a time.
kubernetes() {
	local program missing=() minor package=k8s.io/component-base/version
	for program; do [[ -x $BIN/$program ]] || missing+=("$program"); done
	((${#missing[@]})) || return 0
	pinned kubernetes "$KUBERNETES_VERSION"
	ensure_go
	minor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")
	rm -rf "$BIN/.new" # an interrupted build may have left half a program
	mkdir "$BIN/.new"
	CGO_ENABLED=0 step "go build ${missing[*]} $KUBERNETES_VERSION" go_build "$KIND_DIR/go/kubernetes" \
		-ldflags "-s -w -X $package.gitVersion=$KUBERNETES_VERSION -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean" \
		-o "$BIN/.new/" "${missing[@]/#/k8s.io/kubernetes/cmd/}"
	mv "$BIN"/.new/* "$BIN/"
}

control_plane() {
	go_tool etcd go.etcd.io/etcd/server/v3 etcd "$ETCD_VERSION"
	kubernetes kubectl kube-apiserver
}

# The entrypoint, units and settings that kind gives its nodes are in its own module.
node_files() {
	[[ -d $BIN/node-files ]] && return
	ensure_go
	local module
	module=$(env -C "$KIND_DIR/go/kind" GOFLAGS=-mod=readonly GOWORK=off go mod download -json sigs.k8s.io/kind | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	rm -rf "$BIN/.node-files.new"
	cp -r "$module/images/base/files" "$BIN/.node-files.new"
	chmod -R u+w "$BIN/.node-files.new"
	mv "$BIN/.node-files.new" "$BIN/node-files"
}

if [[ ${1:-} == where ]]; then
	printf '%s\n' "$BIN"
	exit
fi

# Only one build at a time: two would fill the same cache.
exec 9>"$CACHE/build.lock"
flock 9

case ${1:-} in
control-plane) control_plane ;;
all)
	go_tool kind sigs.k8s.io/kind kind "$KIND_VERSION"
	node_files
	control_plane
	kubernetes kubelet kubeadm kube-proxy kube-scheduler kube-controller-manager
	go_tool coredns . coredns "$COREDNS_VERSION"
	go_tool pause . pause
	go_tool local-path-provisioner github.com/rancher/local-path-provisioner local-path-provisioner "$LOCAL_PATH_VERSION"
	;;
kind) go_tool kind sigs.k8s.io/kind kind "$KIND_VERSION" ;;
kubectl) kubernetes kubectl ;;
*) die "usage: binaries.sh control-plane|kind|kubectl|all|where" ;;
esac
printf '%s\n' "$BIN"
