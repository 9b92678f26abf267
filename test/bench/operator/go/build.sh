#!/usr/bin/env bash
# Builds the reference operator into the cache. Prints its path.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

module_program reference-operator .
