#!/bin/sh
# Run by the Dockerfile's builder stage: /venv/PROGRAM with the locked dependencies and the program's start script.
# The folder becomes /app in the image, so everything in it names /app.
set -eu
program=$1
ca=/src/hack/.extra-ca.crt
[ -s $ca ] && export PIP_CERT=$ca
[ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL
python3 -m venv --symlinks "/venv/$program"
"/venv/$program/bin/pip" install --quiet --require-hashes --no-deps --only-binary=:all: -r "/src/requirements/$program.lock"
site=$(echo "/venv/$program"/lib/python3*/site-packages)
if [ "$program" = memory ] && [ ! -d "$site/wordllama" ]; then
	/src/hack/embedding-model.sh "/venv/$program/bin/python" "/src/requirements/$program.lock" "$site"
fi
# Two files of data are used of it: half of it is code, which nothing imports.
find "/venv/$program/lib" -path '*/site-packages/wordllama/*' -type f ! -name '*.safetensors' ! -name '*tokenizer_config.json' -delete
"/venv/$program/bin/pip" uninstall --quiet --yes pip
bin=/venv/$program/bin
find "$bin" -type f ! -name 'python*' -delete
# As in pyproject.toml.
module=manager function=main
if [ "$program" = memory ]; then
	module=memory function=program
fi
cat >"$bin/swarm-$program" <<SCRIPT
#!/app/bin/python3
import sys
from swarm_operator.cmd.$module import $function
sys.exit($function())
SCRIPT
chmod 0755 "$bin/swarm-$program"
