# The image that people run: Vaultwarden's own, with the daemon in /app. Written for linux/amd64 and linux/arm64.
#
#   docker build -t vaultwarden-stream .
#   docker build -t vaultwarden-stream --build-arg VAULTWARDEN_VERSION=1.37.2 .
ARG VAULTWARDEN_VERSION=latest

FROM node:24-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# No install script is needed: the only package that has one brings a Node, and here is one. More connections stall behind some proxies.
RUN npx -y pnpm@12 install --frozen-lockfile --ignore-scripts --config.node-linker=hoisted --network-concurrency=16 \
      --filter vaultwarden-stream... \
 && cd apps/vaultwarden-stream && ../../node_modules/.bin/tsdown
RUN docker/assemble.sh /image

FROM vaultwarden/server:${VAULTWARDEN_VERSION}
ARG VAULTWARDEN_VERSION
# Of this build. Empty, they still hide the base image's own, which speak of another program.
ARG SOURCE=""
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="vaultwarden-stream" \
      org.opencontainers.image.description="Vaultwarden whose database and files cannot be lost: streamed to S3 within a second, restored anywhere" \
      org.opencontainers.image.licenses="MIT AND AGPL-3.0-only AND GPL-3.0-only" \
      org.opencontainers.image.base.name="docker.io/vaultwarden/server:${VAULTWARDEN_VERSION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
# Any user may start a vault on a new volume.
RUN chmod 1777 /data
# /start.sh is how the base image starts its server: it sets UMASK and runs the hooks in /etc/vaultwarden.d.
# The server would refuse a disk that may vanish. Here it may: everything is in the store.
ENV VAULTWARDEN_BIN=/start.sh \
    I_REALLY_WANT_VOLATILE_STORAGE=true
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 CMD ["vaultwarden-stream", "healthcheck"]
ENTRYPOINT ["/app/entrypoint.sh"]
CMD ["run"]
