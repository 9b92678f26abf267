#!/bin/sh
# Prints the manifests of config/default with these images: render.sh OPERATOR_IMAGE MEMORY_IMAGE
# With WATCH_NAMESPACES=a,b the operator watches these namespaces, and its rights are bound in them alone.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$top/build/deploy"
cat >"$top/build/deploy/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../config/default
images:
  - name: swarm-operator
    newName: "${1%:*}"
    newTag: "${1##*:}"
patches:
  - target:
      kind: Deployment
      name: swarm-operator-controller-manager
    patch: |-
      - op: replace
        path: /spec/template/spec/containers/0/env/0/value
        value: "$2"
      - op: add
        path: /spec/template/spec/containers/0/env/-
        value: {name: SWARM_OPERATOR_WATCH_NAMESPACES, value: "${WATCH_NAMESPACES:-}"}
YAML
if [ -n "${WATCH_NAMESPACES:-}" ]; then
	cat >>"$top/build/deploy/kustomization.yaml" <<YAML
  - patch: |-
      apiVersion: rbac.authorization.k8s.io/v1
      kind: ClusterRoleBinding
      metadata: {name: swarm-operator-manager}
      \$patch: delete
YAML
fi
"${KUBECTL:-kubectl}" kustomize "$top/build/deploy"
for namespace in $(echo "${WATCH_NAMESPACES:-}" | tr , ' '); do
	echo ---
	sed -e "s/^kind: ClusterRoleBinding/kind: RoleBinding/" -e "s/name: manager/name: swarm-operator-manager/" \
		-e "s/name: controller-manager/name: swarm-operator-controller-manager/" \
		-e "s/namespace: system/namespace: swarm-operator-system/" \
		-e "s/^metadata:/metadata:\n  namespace: $namespace/" "$top/config/rbac/role_binding.yaml"
done
