#!/bin/sh
# The predecessor's path.
exec vaultwarden-stream healthcheck "$@"
