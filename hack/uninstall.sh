#!/usr/bin/env bash
# Deletes the CRDs of the cluster that kubectl points at, and with them every swarm and every memory store.
#
# While there are any it only says which, unless DELETE_STORES=yes. It fails when it cannot know.
set -euo pipefail
cd "$(dirname "$0")/.."
kube=${KUBECTL:-kubectl}
kinds=$(sed -n 's/^  name: //p' config/crd/bases/*.yaml)

installed=$("$kube" get crd --output=name)
there=()
for kind in $kinds; do
	grep -qx "customresourcedefinition.apiextensions.k8s.io/$kind" <<<"$installed" && there+=("$kind")
done
((${#there[@]})) || {
	echo "Nothing to delete: ${kinds//$'\n'/ and } are not installed."
	exit
}
objects=$(for kind in "${there[@]}"; do "$kube" get "$kind" --all-namespaces --no-headers --ignore-not-found \
	--output=custom-columns=NAMESPACE:.metadata.namespace,KIND:.kind,NAME:.metadata.name; done)
printf 'Context:   %s\n' "$("$kube" config current-context)"
printf 'CRD:       %s\n' "${there[@]}"
# shellcheck disable=SC2001 # the start of each line
[[ -z $objects ]] || sed 's/^/Object:    /' <<<"$objects"
if [[ -n $objects && ${DELETE_STORES:-} != yes ]]; then
	echo "Nothing was deleted: these objects would be deleted with the CRDs, and their pods with them. Volumes of stores would" >&2
	echo "stay, without final backups, except with deletionPolicy Delete. Delete the objects first, while the operator runs, or" >&2
	echo "set DELETE_STORES=yes to delete them here." >&2
	exit 1
fi
"$kube" delete --ignore-not-found --wait=false -k config/crd
# A final backup is an object of a kind that is being deleted, and there may be no operator any more.
declare -A ours=([SwarmMemoryStore]=final-backup [SwarmCluster]=other-namespaces)
while read -r namespace kind name; do
	[[ -n $kind && -n ${ours[$kind]:-} ]] || continue # there may be no object: one empty line
	patch='[{"op": "test", "path": "/metadata/finalizers/0", "value": "swarm.claudeflow.io/'${ours[$kind]}'"},
		{"op": "remove", "path": "/metadata/finalizers/0"}]'
	"$kube" patch "$kind" --namespace="$namespace" "$name" --type=json --patch="$patch" >/dev/null 2>&1 || true
done <<<"$objects"
"$kube" wait --for=delete --timeout=120s "${there[@]/#/crd/}"
[[ -z $objects ]] || echo "Volumes of stores without deletionPolicy Delete are still there: $kube get pvc -A -l app.kubernetes.io/managed-by=swarm-operator"
