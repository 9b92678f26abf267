# Sourced by every script here: versions, places, and how a step reports itself.
# shellcheck shell=bash

set -euo pipefail

KIND_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CLUSTER=${KIND_CLUSTER:-swarm}

# The modules under go/ are pinned by their own go.mod; these names repeat what they pin, because file
# names, image tags and `-X` flags need them. `binaries.sh` refuses to build when the two disagree.
KUBERNETES_VERSION=v1.34.4
ETCD_VERSION=v3.6.13
KIND_VERSION=v0.33.0
COREDNS_VERSION=v1.12.1
LOCAL_PATH_VERSION=v0.0.30
PAUSE_VERSION=3.10.1
ETCD_IMAGE_TAG=3.6.5-0       # this tag and the next are the names that kubeadm gives; what is inside is ours
COREDNS_IMAGE_TAG=v1.12.1
GO_MINIMUM=1.25 # what etcd's go.mod asks for
DEBIAN_SUITE=bookworm

# Everything that takes long to make lives here, keyed by version, so that it is made once a machine.
CACHE=${SWARM_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/swarm-operator}
BIN=$CACHE/bin/$KUBERNETES_VERSION-etcd$ETCD_VERSION-kind$KIND_VERSION
LOGS=$CACHE/logs
mkdir -p "$BIN" "$LOGS"
PATH=$BIN:$PATH

say() { printf '%s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TITLE COMMAND...: run a command with its output in a log; say what runs, every 20 s that it still does, and how long it took.
step() {
	local title=$1 log started now next pid status=0
	shift
	log=$LOGS/$(tr -cs 'A-Za-z0-9.' '-' <<<"$title" | sed 's/-*$//').log
	started=$SECONDS next=20
	printf '  %-58s' "$title" >&2
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		now=$((SECONDS - started))
		if ((now >= next)); then
			printf ' %ss' "$now" >&2
			next=$((next + 20))
		fi
	done
	wait "$pid" || status=$?
	if ((status != 0)); then
		printf ' FAILED after %ss; the end of %s:\n' "$((SECONDS - started))" "$log" >&2
		tail -n 40 "$log" >&2
		return "$status"
	fi
	printf ' done (%ss)\n' "$((SECONDS - started))" >&2
}

is_debian_root() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

# need_packages COMMAND=PACKAGE...: install Debian packages whose command is missing, or say which to install.
need_packages() {
	local pair missing=()
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null || [[ -x /usr/sbin/${pair%%=*} ]] || missing+=("${pair#*=}")
	done
	((${#missing[@]})) || return 0
	is_debian_root || die "not found: ${missing[*]} (names of the Debian packages). Install them, then run this again."
	apt_install "${missing[@]}"
}

apt_install() {
	if [[ -z $(find /var/lib/apt/lists -name '*_Packages*' -mmin -1440 -print -quit 2>/dev/null) ]]; then
		step "apt-get update" apt-get update -q
	fi
	step "apt-get install $*" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@"
}
