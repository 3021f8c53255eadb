"""Show a folder of this machine in a pool that is up; a script, standard library only.

`python -I -S share.py FOLDER SUPERVISOR_PID HOST_PID...`: takes a copy of the mount from the view
that the pool's supervisor has of this machine, and attaches it at the same path in each host.
"""

import ctypes
import os
import sys
from pathlib import Path

# numbers of system calls that glibc of Debian 12 does not wrap; the same on all architectures
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
OPEN_TREE_CLONE_RECURSIVE = 1 | 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """`result` of a C call; ends with one line if it is -1."""
    if result == -1:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def main(folder: str, supervisor: int, hosts: list[int]) -> None:
    """Attach `folder` in the mount namespaces of the processes `hosts`."""
    user = os.open(f"/proc/{supervisor}/ns/user", os.O_RDONLY)
    outside = os.open(f"/proc/{supervisor}/ns/mnt", os.O_RDONLY)
    inside = [os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY) for pid in hosts]
    checked(libc.setns(user, 0), "enter the pool")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.umask(0o022)
    for target in inside:
        checked(libc.setns(outside, 0), "enter the pool")
        path = folder.encode()
        tree = checked(
            libc.syscall(SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE_RECURSIVE), folder
        )
        checked(libc.setns(target, 0), "enter the host")
        Path(folder).mkdir(parents=True, exist_ok=True)
        moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)
        checked(moved, folder)
        os.close(tree)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(pid) for pid in sys.argv[3:]])
