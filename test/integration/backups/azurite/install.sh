#!/usr/bin/env bash
# Installs the packages into the cache, under a name with a digest of what pins them. Prints the folder.
. "$(dirname "$0")/../../../../hack/kind/lib/common.sh"
cd "$(dirname "${BASH_SOURCE[0]}")"

FOLDER=$CACHE/azurite-$(cat package.json package-lock.json | sha256sum | cut -c1-8)

exec 9>"$CACHE/node.lock"
flock 9
[[ -d $FOLDER ]] || {
	rm -rf "$FOLDER.new"
	mkdir "$FOLDER.new"
	cp package.json package-lock.json "$FOLDER.new"
	step "npm ci" npm --prefix "$FOLDER.new" ci --no-audit --no-fund
	mv "$FOLDER.new" "$FOLDER"
}
printf '%s\n' "$FOLDER"
