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
# What tokenizers and wordllama ask for and what is not used of them: downloads, and wordllama's own loader. A tool of the
# developers needs requests.
not_needed() { printf '%s\n' huggingface-hub safetensors toml "$@"; }
not_needed requests | compile memory.lock --extra memory --extra embed --excludes /dev/stdin
not_needed | compile dev.lock --all-extras --group dev --excludes /dev/stdin
