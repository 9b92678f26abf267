#!/usr/bin/env bash
# Builds a server of the tests into the cache, under a name with a digest of what pins it. Prints its path.
#
#   build.sh versitygw          S3
#   build.sh fake-gcs-server    Google Cloud Storage
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

case ${1:-} in
versitygw) PACKAGE=github.com/versity/versitygw/cmd/versitygw ;;
fake-gcs-server) PACKAGE=github.com/fsouza/fake-gcs-server ;;
*) die "usage: build.sh versitygw|fake-gcs-server" ;;
esac
PROGRAM=$CACHE/bin/$1-$(cat go.mod go.sum | sha256sum | cut -c1-8)

exec 9>"$CACHE/build.lock"
flock 9
[[ -x $PROGRAM ]] || {
	ensure_go
	step "go build $1" env CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$PROGRAM.new" "$PACKAGE"
	mv "$PROGRAM.new" "$PROGRAM"
}
printf '%s\n' "$PROGRAM"
