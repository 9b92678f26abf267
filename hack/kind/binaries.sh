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

# go_tool MODULE_DIR PACKAGE NAME VERSION [LDFLAGS]: build one program into the cache, atomically.
go_tool() {
	local dir=$KIND_DIR/go/$1 package=$2 name=$3 version=$4 ldflags=${5:-}
	[[ -x $BIN/$name ]] && return
	[[ -z $version ]] || grep -qE "^(require )?[[:space:]]*[^ ]+ ${version//./\\.}( |$)" "$dir/go.mod" || die "$dir/go.mod does not pin $version: it and lib/common.sh must name the same version"
	ensure_go
	# The caller's flags and workspace must not change what is built.
	step "go build $name $version" env -C "$dir" CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags "-s -w $ldflags" -o "$BIN/.$name.new" "$package"
	mv "$BIN/.$name.new" "$BIN/$name"
}

kubernetes() {
	local minor version_package=k8s.io/component-base/version
	minor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")
	go_tool kubernetes "k8s.io/kubernetes/cmd/$1" "$1" "$KUBERNETES_VERSION" \
		"-X $version_package.gitVersion=$KUBERNETES_VERSION -X $version_package.gitMajor=1 -X $version_package.gitMinor=$minor -X $version_package.gitTreeState=clean"
}

control_plane() {
	go_tool etcd go.etcd.io/etcd/server/v3 etcd "$ETCD_VERSION"
	kubernetes kubectl
	kubernetes kube-apiserver
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
	for program in kubelet kubeadm kube-proxy kube-scheduler kube-controller-manager; do kubernetes "$program"; done
	go_tool coredns . coredns "$COREDNS_VERSION"
	go_tool pause . pause ""
	go_tool local-path-provisioner github.com/rancher/local-path-provisioner local-path-provisioner "$LOCAL_PATH_VERSION"
	;;
kind) go_tool kind sigs.k8s.io/kind kind "$KIND_VERSION" ;;
kubectl) kubernetes kubectl ;;
*) die "usage: binaries.sh control-plane|kind|kubectl|all|where" ;;
esac
printf '%s\n' "$BIN"
