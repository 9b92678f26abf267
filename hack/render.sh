#!/bin/sh
# Prints the manifests of config/default with these images: render.sh OPERATOR_IMAGE MEMORY_IMAGE [without-crds]
#
# WATCH_NAMESPACES=a,b     the operator watches these namespaces, and its rights are bound in them alone
# IMAGE_PULL_SECRETS=a,b   Secrets with which both images are pulled, in the operator's namespace and in those of the stores
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
words() { echo "$1" | tr , ' '; }
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
      - op: add
        path: /spec/template/spec/containers/0/env/-
        value: {name: SWARM_OPERATOR_MEMORY_IMAGE_PULL_SECRETS, value: "${IMAGE_PULL_SECRETS:-}"}
      - op: add
        path: /spec/template/spec/imagePullSecrets
        value: [$(for secret in $(words "${IMAGE_PULL_SECRETS:-}"); do printf '{name: "%s"},' "$secret"; done)]
YAML
if [ -n "${WATCH_NAMESPACES:-}" ]; then
	cat >>"$top/build/deploy/kustomization.yaml" <<YAML
  - patch: |-
      apiVersion: rbac.authorization.k8s.io/v1
      kind: ClusterRoleBinding
      metadata: {name: swarm-operator-manager}
      \$patch: delete
  - patch: |-
      apiVersion: rbac.authorization.k8s.io/v1
      kind: ClusterRoleBinding
      metadata: {name: swarm-operator-namespaces}
      \$patch: delete
YAML
fi
if [ "${3:-}" = without-crds ]; then
	cat >>"$top/build/deploy/kustomization.yaml" <<YAML
  - target: {kind: CustomResourceDefinition}
    patch: |-
      apiVersion: apiextensions.k8s.io/v1
      kind: CustomResourceDefinition
      metadata: {name: any}
      \$patch: delete
YAML
fi
"${KUBECTL:-kubectl}" kustomize "$top/build/deploy"
for namespace in $(words "${WATCH_NAMESPACES:-}"); do
	echo ---
	sed -e "s/^kind: ClusterRoleBinding/kind: RoleBinding/" -e "s/name: manager/name: swarm-operator-manager/" \
		-e "s/name: controller-manager/name: swarm-operator-controller-manager/" \
		-e "s/namespace: system/namespace: swarm-operator-system/" \
		-e "s/^metadata:/metadata:\n  namespace: $namespace/" "$top/config/rbac/role_binding.yaml"
done
