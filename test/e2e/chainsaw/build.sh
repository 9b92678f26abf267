#!/usr/bin/env bash
# Builds chainsaw into the cache, under a name with a digest of what pins it. Prints its path.
. "$(dirname "$0")/../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

PROGRAM=$CACHE/bin/chainsaw-$(cat go.mod go.sum | sha256sum | cut -c1-8)

# A lock of its own: it takes minutes, and others build meanwhile.
exec 9>"$CACHE/chainsaw.lock"
flock 9
[[ -x $PROGRAM ]] || {
	ensure_go
	# It does not compile with Go 1.26, whose testing.MainStart asks for a method more. The module proxy has Go 1.25.
	step "go build chainsaw" env CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off GOTOOLCHAIN=go1.25.5 \
		go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$PROGRAM.new" github.com/kyverno/chainsaw
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
