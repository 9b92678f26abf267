#!/usr/bin/env bash
# Builds rqlite into the cache, under a name with a digest of what pins it. Prints its path. Needs a C compiler.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

PROGRAM=$CACHE/bin/rqlited-$(cat go.mod go.sum | sha256sum | cut -c1-8)

exec 9>"$CACHE/build.lock"
flock 9
[[ -x $PROGRAM ]] || {
	ensure_go
	step "go build rqlited" env CGO_ENABLED=1 GOFLAGS=-mod=readonly GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$PROGRAM.new" github.com/rqlite/rqlite/v8/cmd/rqlited
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
