#!/bin/sh
# Run by image-venv.sh: the files of the embedder `static` for a machine that wordllama has no wheel for.
# They are data, and the same in every wheel: those of one for another machine do.
#
#   embedding-model.sh PYTHON LOCK SITE    with pip of PYTHON, by the hashes in LOCK, into the folder SITE
set -eu
python=$1 lock=$2 site=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Without the marker, by which pip would leave it out here as well.
sed -n '/^wordllama==/,/[^\\]$/p' "$lock" | sed '1s/ ;.*/ \\/' >"$folder/wordllama.txt"
if [ ! -s "$folder/wordllama.txt" ]; then
	exit 0 # the image is to be without the model
fi
"$python" -m pip download --quiet --require-hashes --no-deps --only-binary=:all: --platform manylinux2014_x86_64 \
	--implementation cp --python-version 3.13 --dest "$folder" -r "$folder/wordllama.txt"
"$python" -m zipfile -e "$folder"/wordllama-*.whl "$folder/wheel"
cp -r "$folder"/wheel/wordllama* "$site/"
