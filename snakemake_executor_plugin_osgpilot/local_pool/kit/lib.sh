# shellcheck shell=bash
# Mounts that the build and the running pool share.

umask 022

# The invoking user is the pool's alice: if that is the host's root, a set-uid program of the
# host would turn the pool's root into alice. mount and umount are such programs.
mount() { setpriv --no-new-privs mount "$@"; }
umount() { setpriv --no-new-privs umount "$@"; }

die() { echo "osgpilot pool: $*" >&2; exit 1; }

# overlay TARGET LOWER UPPER WORK: LOWER may name several folders, the topmost first
overlay() {
  mount -t overlay -o "lowerdir=$2,upperdir=$3,workdir=$4,userxattr" overlay "$1" ||
    die "no overlay file system at $3: set OSGPILOT_CACHE to a folder on a local disk"
}

# host_mounts ROOT: /dev /proc /sys /run /tmp of its own
host_mounts() {
  local root=$1 node
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for node in null zero full random urandom tty fuse; do
    : > "$root/dev/$node"
    mount --bind "${OSGPILOT_DEV:-/dev}/$node" "$root/dev/$node"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for node in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${node%:*}" "$root/dev/${node#*:}"; done
  mount -t proc proc "$root/proc"      # unmasked: apptainer inside a pilot mounts one more
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys" 2>/dev/null ||
    mount --rbind -o ro /sys "$root/sys"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
}

# read_only MOUNT: the flags the mount already has must be repeated, a user namespace may not drop them
read_only() {
  local flags
  flags=$(findmnt -n -o VFS-OPTIONS --mountpoint "$1" | tail -n 1 | sed 's/^rw/ro/')
  mount -o "remount,bind,$flags" "$1"
}

# enter_root ROOT: make ROOT the root of this mount namespace; the former one is at /.old
enter_root() {
  cd "$1" || die "no folder $1"
  mkdir -p .old
  pivot_root . .old
  cd /
}
