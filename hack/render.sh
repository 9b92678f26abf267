#!/bin/sh
# Prints the manifests of config/default with these images: render.sh OPERATOR_IMAGE MEMORY_IMAGE
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
    newName: ${1%:*}
    newTag: ${1##*:}
patches:
  - target:
      kind: Deployment
      name: swarm-operator-controller-manager
    patch: |-
      - op: replace
        path: /spec/template/spec/containers/0/env/0/value
        value: $2
YAML
"${KUBECTL:-kubectl}" kustomize "$top/build/deploy"
