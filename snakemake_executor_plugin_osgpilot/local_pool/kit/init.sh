#!/bin/bash
# PID 1 of a running pool: two file trees, two networks, fresh secrets, the two hosts; then it reaps.
#   RUN      folder of this pool         LOWER  layers of the tree, the topmost first
#   SIFS     paths of the images for /opt/sif   BINDS  lines "MODE SOURCE TARGET" (MODE rw or ro)
set -euo pipefail
KIT=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$KIT/lib.sh"
export RUN LOWER BINDS SIFS

mount --make-rprivate /
mount -t proc proc /proc                  # of our own pid namespace
mount -t tmpfs -o mode=755 tmpfs /run     # 'ip netns' names exist in here only
mkdir -p /run/netns
ip netns add ap
ip netns add login
ip link add eth0 netns ap type veth peer name eth0 netns login

number=0
for host in ap login; do
  number=$((number + 1))
  ip -n "$host" link set lo up
  ip -n "$host" addr add "10.99.0.$number/24" dev eth0
  ip -n "$host" link set eth0 up
  mkdir -p "$RUN/$host"/{upper,work,root}
  overlay "$RUN/$host/root" "$LOWER" "$RUN/$host/upper" "$RUN/$host/work"
  for image in $SIFS; do
    : > "$RUN/$host/root/opt/sif/${image##*/}"
    mount --bind "$image" "$RUN/$host/root/opt/sif/${image##*/}"
  done
done

# shellcheck source=secrets.sh
. "$KIT/secrets.sh"

for host in ap login; do
  nsenter --net="/run/netns/$host" unshare --mount --pid --fork --kill-child=KILL --uts --ipc \
    bash "$KIT/host.sh" "$host" &
done
trap 'exit 0' TERM
sleep infinity & wait "$!"                # bash also reaps orphans
