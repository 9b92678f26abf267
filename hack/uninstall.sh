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
[[ -z $objects ]] || sed 's/^/Object:    /' <<<"$objects"
if [[ -n $objects && ${DELETE_STORES:-} != yes ]]; then
	echo "Nothing was deleted: these objects would be deleted with the CRDs, and their pods with them. Volumes of stores" >&2
	echo "with deletionPolicy Retain would stay. Delete the objects first, or set DELETE_STORES=yes to delete them here." >&2
	exit 1
fi
"$kube" delete --ignore-not-found -k config/crd
[[ -z $objects ]] || echo "Volumes of stores with deletionPolicy Retain are still there: $kube get pvc -A -l app.kubernetes.io/managed-by=swarm-operator"
