#!/usr/bin/env bash
# Makes .venv with the locked development dependencies.
. "$(dirname "$0")/kind/lib/common.sh"
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip' 2>/dev/null; then
	is_debian_root || die "Python >= 3.11 with venv is needed: install it (Debian: python3-venv), then run this again."
	apt_install python3-venv
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python >= 3.11 is needed; python3 is $(python3 -V 2>&1)"
[[ -x .venv/bin/python ]] || python3 -m venv .venv
step "Python dependencies into .venv" .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
step "this package into .venv" .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
