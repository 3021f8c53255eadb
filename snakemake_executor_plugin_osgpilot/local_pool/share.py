"""Mount a folder of this machine in a running pool; a script, standard library only.

`python -I -S share.py FOLDER UID GID SUPERVISOR_PID HOST_PID...` attaches the folder at the same
path in each host. UID and GID stand behind the pool's user alice. Run by root, the folder's owner
appears as alice there and what she makes belongs to that owner (an id-mapped mount,
mount_setattr(2)); run by an ordinary user, alice is that user anyway.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

# system calls that glibc of Debian 12 does not wrap; the numbers are the same everywhere
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
SYS_MOUNT_SETATTR = 442
OPEN_TREE_CLONE_RECURSIVE = 1 | 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_IDMAP = 0x00100000
AT_EMPTY_PATH_RECURSIVE = 0x1000 | 0x8000
AT_FDCWD = -100
CLONE_NEWUSER = 0x10000000

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return the `result` of a C call; exit with one line if it is -1."""
    if result == -1:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def copy_of(folder: str) -> int:
    """Return a detached copy of the mount at `folder`, as this process sees it."""
    path = folder.encode()
    return checked(libc.syscall(SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE_RECURSIVE), folder)


def namespace_of_owner(folder: str, uid: int, gid: int) -> int:
    """Return a user namespace in which the owner of `folder` is `uid`, and its group `gid`."""
    owner = Path(folder).stat()
    here, there = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        checked(libc.unshare(CLONE_NEWUSER), "user namespace")
        os.write(there[1], b"x")
        os.read(here[0], 1)
        os._exit(0)
    os.read(there[0], 1)
    Path(f"/proc/{child}/uid_map").write_text(f"{owner.st_uid} {uid} 1")
    Path(f"/proc/{child}/gid_map").write_text(f"{owner.st_gid} {gid} 1")
    namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return namespace


def map_owner(tree: int, namespace: int, folder: str) -> None:
    """Make the detached mount `tree` show its files through `namespace`."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_IDMAP, 0, 0, namespace)
    done = libc.syscall(
        SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    checked(done, f"{folder} is on a file system that cannot show files as another user's")


def main(folder: str, uid: int, gid: int, supervisor: int, hosts: list[int]) -> None:
    """Attach `folder` in the mount namespaces of the processes `hosts`."""
    user = os.open(f"/proc/{supervisor}/ns/user", os.O_RDONLY)
    outside = os.open(f"/proc/{supervisor}/ns/mnt", os.O_RDONLY)
    inside = [os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY) for pid in hosts]
    mapped: list[int] = []
    if os.geteuid() == 0:
        mapped = [copy_of(folder) for _ in hosts]
        namespace = namespace_of_owner(folder, uid, gid)
        for tree in mapped:
            map_owner(tree, namespace, folder)
    checked(libc.setns(user, 0), "enter the pool")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.umask(0o022)
    for target in inside:
        checked(libc.setns(outside, 0), "enter the pool")
        tree = mapped.pop() if mapped else copy_of(folder)
        checked(libc.setns(target, 0), "enter the host")
        path = folder.encode()
        Path(folder).mkdir(parents=True, exist_ok=True)
        moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
        checked(moved, folder)
        os.close(tree)


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[2:]]
    main(sys.argv[1], numbers[0], numbers[1], numbers[2], numbers[3:])
