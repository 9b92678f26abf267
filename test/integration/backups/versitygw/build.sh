#!/usr/bin/env bash
# Builds versitygw, a server of S3, into the cache, under a name with a digest of what pins it. Prints its path.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

PROGRAM=$CACHE/bin/versitygw-$(cat go.mod go.sum | sha256sum | cut -c1-8)

exec 9>"$CACHE/build.lock"
flock 9
[[ -x $PROGRAM ]] || {
	ensure_go
	step "go build versitygw" env CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$PROGRAM.new" github.com/versity/versitygw/cmd/versitygw
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
