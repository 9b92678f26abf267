#!/usr/bin/env bash
# Builds the images, also where no image registry can be reached and behind a proxy with a CA of its own.
#
#   docker-build.sh              the operator ($IMG, default swarm-operator:dev) and the memory service ($MEMORY_IMG)
#   docker-build.sh buildx       both for $PLATFORMS, from the public base image, and push them to their registry
#   docker-build.sh prometheus   Debian's Prometheus for the end-to-end tests ($PROMETHEUS_IMG)
#   docker-build.sh git          git beside $MEMORY_IMG's programs, for the same ($GIT_IMG)
#
# $PYTHON_IMAGE and $DEBIAN_IMAGE name other base images.
. "$(dirname "$0")/kind/lib/common.sh"
# shellcheck source=kind/lib/engine.sh
. "$KIND_DIR/lib/engine.sh"
# shellcheck source=kind/lib/images.sh
. "$KIND_DIR/lib/images.sh"

cd "$KIND_DIR/../.."
IMG=${IMG:-swarm-operator:dev}
MEMORY_IMG=${MEMORY_IMG:-swarm-memory:dev}
PROMETHEUS_IMG=${PROMETHEUS_IMG:-swarm-e2e-prometheus:dev}
GIT_IMG=${GIT_IMG:-swarm-e2e-git:dev}
PLATFORMS=${PLATFORMS:-linux/amd64,linux/arm64}

python_image() {
	local public
	public=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
	if [[ -n ${PYTHON_IMAGE:-} ]]; then
		printf '%s\n' "$PYTHON_IMAGE"
	elif have_image "$public"; then
		printf '%s\n' "$public"
	else
		debian_image trixie python3
	fi
}

debian_base() {
	if [[ -n ${DEBIAN_IMAGE:-} ]]; then
		printf '%s\n' "$DEBIAN_IMAGE"
	elif have_image debian:bookworm-slim; then
		printf '%s\n' debian:bookworm-slim
	else
		debian_image bookworm
	fi
}

# The host's CA bundle, for the builder stage, whose layers are in no final image.
provide_ca() {
	local bundle
	for bundle in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt; do
		[[ -r $bundle ]] || continue
		cmp -s "$bundle" .extra-ca.crt || cp "$bundle" .extra-ca.crt
		return
	done
}

# A builder of its own: that of the engine cannot build for several platforms. QEMU must be registered for those that the
# machine is not of (docker run --privileged tonistiigi/binfmt --install all).
buildx() {
	docker buildx inspect swarm-operator >/dev/null 2>&1 || docker buildx create --name swarm-operator >/dev/null
	PIP_INDEX_URL=$INDEX docker buildx build --builder swarm-operator --platform "$PLATFORMS" --push \
		--target "$1" -t "$2" --build-arg PIP_INDEX_URL ${PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"} .
}

provide_index() { INDEX=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}; }

build() {
	# The value is taken from the environment, so that no command line and no log shows it.
	PIP_INDEX_URL=$INDEX docker build --target "$1" -t "$2" --build-arg PIP_INDEX_URL --build-arg "PYTHON_IMAGE=$PYTHON" .
}

lock
engine_up
case ${1:-all} in
all)
	PYTHON=$(python_image)
	provide_ca
	provide_index
	step "docker build $IMG" build operator "$IMG"
	step "docker build $MEMORY_IMG" build memory "$MEMORY_IMG"
	;;
buildx)
	provide_ca
	provide_index
	step "docker buildx $IMG for $PLATFORMS" buildx operator "$IMG"
	step "docker buildx $MEMORY_IMG for $PLATFORMS" buildx memory "$MEMORY_IMG"
	;;
prometheus)
	DEBIAN=$(debian_base)
	step "docker build $PROMETHEUS_IMG" docker build -t "$PROMETHEUS_IMG" --build-arg "DEBIAN_IMAGE=$DEBIAN" test/e2e/prometheus
	;;
git)
	PYTHON=$(python_image)
	step "docker build $GIT_IMG" docker build -t "$GIT_IMG" --build-arg "PYTHON_IMAGE=$PYTHON" \
		--build-arg "MEMORY_IMAGE=$MEMORY_IMG" test/e2e/git
	;;
*) die "usage: docker-build.sh [all|buildx|prometheus|git]" ;;
esac
