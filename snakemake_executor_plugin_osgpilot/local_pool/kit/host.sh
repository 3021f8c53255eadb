#!/bin/bash
# First process of one host (ap or login): its mounts and services; then tini stays as its PID 1.
set -euo pipefail
host=$1 root=$RUN/$1/root
KIT=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$KIT/lib.sh"

mount --make-rprivate /
mount --rbind "$root" "$root"
host_mounts "$root"
mkdir -p "$root/run/pool"
mount --bind "$RUN/ctl" "$root/run/pool"
while read -r mode source target; do
  [ -n "$mode" ] || continue
  mkdir -p "$root$target"
  mount --rbind "$source" "$root$target"
  [ "$mode" = rw ] || read_only "$root$target"
done <<< "$BINDS"
hostname "$host"
enter_root "$root"
setpriv --no-new-privs /usr/bin/umount -l /.old
rmdir /.old

exec 0</dev/null
export -n RUN LOWER BINDS SIFS OSGPILOT_DEV
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
case $host in
  ap) services="condor" ;;
  login) services="condor munge slurmctld slurmd sshd" ;;
esac
(
  for service in $services; do
    echo "the start of $service" >> "/run/pool/$host.waits"
    pool-svc "$service" start
  done
  pool-svc ready >> "/run/pool/$host.waits"
  : > "/run/pool/$host.ready"
) &
exec tini -s -- sleep infinity
