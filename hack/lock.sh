#!/bin/sh
# Renews requirements/*.lock from pyproject.toml: exact versions with hashes, valid for every platform and
# Python that we support, and without any index's address.
set -eu
cd "$(dirname "$0")/.."
compile() {
	out=$1
	shift
	"${PYTHON:-.venv/bin/python}" -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' -o "requirements/$out" "$@"
}
compile operator.lock --extra operator
compile memory.lock --extra memory
compile dev.lock --all-extras --group dev
