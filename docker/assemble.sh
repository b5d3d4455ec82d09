#!/bin/sh
# Lays out, below the directory given, all that the image adds to its base. Run in the Dockerfile's build stage, at the root of the checkout.
set -eu
image=$1
app=$image/app
bin=$image/usr/local/bin
mkdir -p "$bin" "$app/licences" "$app/node_modules/better-sqlite3"

cp /usr/local/bin/node /usr/bin/tini "$bin/"
ln -s /app/dist/main.mjs "$bin/vaultwarden-stream"
ln -s /app/dist/wal-replicator.mjs "$bin/wal-replicator"

cp docker/entrypoint.sh docker/healthcheck.sh apps/vaultwarden-stream/package.json "$app/"
cp -r apps/vaultwarden-stream/dist "$app/"

# Of the native modules what this platform runs: neither their sources nor the binaries of other platforms.
cp -r node_modules/lz4-napi node_modules/@antoniomuso "$app/node_modules/"
(
  cd node_modules/better-sqlite3
  cp -r --parents package.json LICENSE lib "prebuilds/linux-$(node -p process.arch).node" "$app/node_modules/better-sqlite3/"
)
find "$app/node_modules" \( -name '*.ts' -o -name '*.md' \) -delete

mv "$app/dist/third-party-licences.txt" "$app/licences/"
cp LICENSE docker/licences/* "$app/licences/"
cp /usr/share/doc/tini/copyright "$app/licences/tini.txt"
# The official Node image has it; not every image of that name does.
if [ -e /usr/local/LICENSE ]; then cp /usr/local/LICENSE "$app/licences/nodejs.txt"; fi

# Whatever umask the checkout was made with.
chmod -R u=rwX,go=rX "$image"
