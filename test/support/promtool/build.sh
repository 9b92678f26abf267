#!/usr/bin/env bash
# Builds promtool into the cache, under a name with a digest of what pins it.
#
#   build.sh        prints the program's path
#   build.sh crds   prints the folder with the CRDs of the Prometheus operator
. "$(dirname "$0")/../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

PROGRAM=$CACHE/bin/promtool-$(cat go.mod go.sum | sha256sum | cut -c1-8)
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

if [[ ${1:-} == crds ]]; then
	ensure_go
	module=$(go mod download -json github.com/prometheus-operator/prometheus-operator | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	printf '%s\n' "$module/example/prometheus-operator-crd"
	exit
fi
[[ -x $PROGRAM ]] || {
	exec 9>"$CACHE/build.lock"
	flock 9
	ensure_go
	# Of the services that Prometheus finds its targets by only Kubernetes: the others take most of the time.
	step "go build promtool" go build -trimpath -buildvcs=false -tags remove_all_sd,enable_kubernetes_sd -ldflags "-s -w" \
		-o "$PROGRAM.new" github.com/prometheus/prometheus/cmd/promtool
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
