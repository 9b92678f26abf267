# Two images from one file: `operator` (the manager) and `memory` (the memory service).
#
#   docker build --target operator -t swarm-operator .
#   docker build --target memory -t swarm-memory .
#
# hack/docker-build.sh does both, also without an image registry and behind a proxy with a CA of its own.

# Any image with Python >= 3.11; Debian's own python3 will do.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS builder
# Another package index, for the builder only.
ARG PIP_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -c 'import ensurepip' 2>/dev/null \
    || (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-venv)
# .extra-ca.crt is there where hack/docker-build.sh put the host's CA bundle; it stays in the builder.
COPY hack/image-venv.sh hack/embedding-model.sh .extra-ca.cr[t] /src/hack/
COPY requirements/ /src/requirements/
RUN /src/hack/image-venv.sh operator
RUN /src/hack/image-venv.sh memory
COPY swarm_operator/ /src/swarm_operator/
RUN for program in operator memory; do \
        site=$(echo /venv/$program/lib/python3*/site-packages); \
        cp -r /src/swarm_operator "$site/" \
        && python3 -m compileall -q --invalidation-mode unchecked-hash "$site/swarm_operator" || exit 1; \
    done \
    && cd /venv/operator/lib/python3*/site-packages/swarm_operator/memory && rm -rf agent core embedding sqlite swarm transfer service

FROM ${PYTHON_IMAGE} AS base
# The public Python images carry pip; nothing is ever installed here.
RUN rm -rf /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip*
# They carry no compiled standard library either, and a pod, whose root is read-only, would compile it at each start.
RUN python3 -m compileall -q -x '/(dist|site)-packages/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# "nonroot" of the common minimal images; by number, so that Kubernetes can check runAsNonRoot.
USER 65532:65532
LABEL org.opencontainers.image.source="https://github.com/claudeflow/swarm-operator" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM base AS operator
LABEL org.opencontainers.image.title="swarm-operator"
COPY --from=builder /venv/operator /app
EXPOSE 8443 8081
ENTRYPOINT ["swarm-operator"]

FROM base AS memory
LABEL org.opencontainers.image.title="swarm-memory"
COPY --from=builder /venv/memory /app
# With whose model it embeds; the model's licence asks for that.
COPY NOTICE /app/NOTICE
EXPOSE 8080 9090 9091
ENTRYPOINT ["swarm-memory"]
