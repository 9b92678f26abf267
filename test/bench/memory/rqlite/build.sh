#!/usr/bin/env bash
# Builds rqlite into the cache. Prints its path. Needs a C compiler.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

CGO_ENABLED=1 module_program rqlited github.com/rqlite/rqlite/v8/cmd/rqlited
