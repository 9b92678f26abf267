#!/usr/bin/env bash
# Builds the reference operator into the cache, under a name with a digest of its sources. Prints its path.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

PROGRAM=$CACHE/bin/reference-operator-$(cat ./*.go go.mod go.sum | sha256sum | cut -c1-8)

exec 9>"$CACHE/build.lock"
flock 9
[[ -x $PROGRAM ]] || {
	ensure_go
	step "go build reference-operator" env CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$PROGRAM.new" .
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
