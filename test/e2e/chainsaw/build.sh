#!/usr/bin/env bash
# Builds chainsaw into the cache. Prints its path.
. "$(dirname "$0")/../../../hack/kind/lib/common.sh"
. "$KIND_DIR/lib/go.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

# It does not compile with Go 1.26, whose testing.MainStart asks for a method more. The module proxy has Go 1.25.
export GOTOOLCHAIN=go1.25.5
# A lock of its own: it takes minutes, and others build meanwhile.
LOCK=chainsaw module_program chainsaw github.com/kyverno/chainsaw
