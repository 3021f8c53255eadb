#!/bin/sh
# mmdebstrap hook: the few device nodes that maintainer scripts need, as bind mounts.
set -e
mkdir -p "$1/dev"
for node in null zero full random urandom tty; do
  : > "$1/dev/$node"
  mount --bind "${OSGPILOT_DEV:-/dev}/$node" "$1/dev/$node"
done
