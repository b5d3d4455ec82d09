#!/bin/sh
# The first process of the container, at the path that the predecessor had for it. A word that is no program is a command of
# vaultwarden-stream: `docker run … restore --dry-run`.
[ $# -gt 0 ] || set -- run
command -v -- "$1" >/dev/null || set -- vaultwarden-stream "$@"
# The predecessor's path of the status, for whoever reads it still. Not where nothing may be written.
ln -sf "${DATA_FOLDER:-/data}/.db.sqlite3-stream/status.json" /tmp/sync-status.json 2>/dev/null || true
# tini passes signals on and reaps what others leave behind, as a first process has to; Node can only wait for its own children.
exec tini -s -- "$@"
