#!/usr/bin/env bash
# Builds grpcurl into the cache. Prints its path.
. "$(dirname "$0")/../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

module_program grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl
