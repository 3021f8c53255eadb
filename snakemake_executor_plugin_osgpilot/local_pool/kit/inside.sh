#!/bin/bash
# inside.sh SCRIPT [ARGUMENT...]: run a build step of this kit inside the built host tree.
#   LOWER    folders of the tree, the topmost first, separated by colons
#   UPPER    folder that receives what the step changes
#   SCRATCH  empty folder on the same disk
#   OUT      folder of the step's products, seen as /out; IMAGES is seen as /images
#   BINDS    lines "SOURCE TARGET": files and folders of the host to show, read-only
set -euo pipefail
KIT=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$KIT/lib.sh"

root=$SCRATCH/root
mkdir -p "$root" "$UPPER" "$SCRATCH/work"
overlay "$root" "$LOWER" "$UPPER" "$SCRATCH/work"
host_mounts "$root"
# on /run, a tmpfs: nothing of these mounts stays in the layer
mkdir -p "$root/run/kit" "$root/run/out" "$root/run/images"
mount --bind "$KIT" "$root/run/kit"
mount --bind "$OUT" "$root/run/out"
mount --bind "$IMAGES" "$root/run/images"
while read -r source target; do
  [ -n "$source" ] || continue
  if [ -d "$source" ]; then mkdir -p "$root$target"
  else mkdir -p "$root$(dirname "$target")"; [ -e "$root$target" ] || : > "$root$target"; fi
  mount --bind "$source" "$root$target"
done <<< "${BINDS:-}"
enter_root "$root"
setpriv --no-new-privs /usr/bin/umount -l /.old 
rmdir /.old
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
exec bash -euo pipefail "/run/kit/$1" "${@:2}"
