#!/usr/bin/env bash
# Makes .venv with the locked development dependencies.
. "$(dirname "$0")/kind/lib/common.sh"
cd "$KIND_DIR/../.."

need_python
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python >= 3.11 is needed; python3 is $(python3 -V 2>&1)"
[[ -x .venv/bin/python ]] || python3 -m venv .venv
step "Python dependencies into .venv" .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.lock
step "this package into .venv" .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
