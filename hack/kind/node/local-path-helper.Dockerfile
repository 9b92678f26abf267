# The shell in which the storage provisioner makes and removes directories.
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE} AS build
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends busybox-static \
    && mkdir -p /root-fs/bin && cp /bin/busybox /root-fs/bin/ \
    && for tool in sh mkdir rm; do ln -s busybox "/root-fs/bin/$tool"; done
FROM scratch
COPY --from=build /root-fs/ /
ENTRYPOINT ["sh"]
