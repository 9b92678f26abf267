#!/usr/bin/env bash
# Builds versitygw, a server of S3, into the cache. Prints its path.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

module_program versitygw github.com/versity/versitygw/cmd/versitygw
