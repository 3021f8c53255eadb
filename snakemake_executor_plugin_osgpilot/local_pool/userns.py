"""Run a command as root of a user namespace of its own; a script, standard library only.

The map (see idmap) makes everybody a subordinate id that owns nothing on the host, the pool's root
included; only alice is the invoking user where that is an ordinary one. The same map is used for
building and for running.

It is started as a script (`python -I -S userns.py SPEC_JSON COMMAND...`), because forking a
process that has threads, as a build with progress display has, is not safe.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
SIGKILL = 9
MS_REC_PRIVATE = 0x4000 | 0x40000
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
}

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """Raise OSError with errno's text when a C call returned -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def write_map(pid: int, kind: str, lines: Sequence[Sequence[int]]) -> None:
    """Write the `kind` ("uid" or "gid") map of process `pid`, as root or by newuidmap(1)."""
    if os.geteuid() == 0:
        with open(f"/proc/{pid}/{kind}_map", "w") as file:  # noqa: PTH123 (one write call)
            file.write("".join(" ".join(map(str, line)) + "\n" for line in lines))
        return
    numbers = [str(number) for line in lines for number in line]
    subprocess.run([f"new{kind}map", str(pid), *numbers], check=True)


def make_devices(folder: str) -> bool:
    """Put device nodes open to everybody on a tmpfs at `folder`; False where that is forbidden.

    Nodes made here, before the user namespace is entered, work inside it, whatever the modes
    of the host's nodes are (/dev/fuse is often 0600 on virtual machines).
    """
    checked(libc.unshare(CLONE_NEWNS), "unshare mount namespace")
    checked(libc.mount(None, b"/", None, MS_REC_PRIVATE, None), "make mounts private")
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    checked(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"mode=755"), "mount tmpfs")
    old_umask = os.umask(0)
    try:
        for name, (major, minor) in DEVICES.items():
            os.mknod(f"{folder}/{name}", 0o020666, os.makedev(major, minor))
    except PermissionError:
        return False
    finally:
        os.umask(old_umask)
    return True


def enter(maps: dict[str, list[list[int]]]) -> None:
    """Move this process into a new user namespace with `maps`, as its root."""
    here, pid = os.pipe(), os.getpid()
    writer = os.fork()
    if writer == 0:
        os.close(here[1])
        os.read(here[0], 1)
        try:
            for kind in ("uid", "gid"):
                write_map(pid, kind, maps[kind])
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"id map of the user namespace: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.close(here[0])
    checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare user namespace")
    os.write(here[1], b"x")
    os.close(here[1])
    if os.waitpid(writer, 0)[1] != 0:
        sys.exit(1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main(spec_json: str, command: Sequence[str]) -> None:
    """Enter as `spec_json` says and become `command`.

    Keys: maps {"uid": [[inside, outside, count]...], "gid": ...}; devices, a folder for device
    nodes or null; follow, whether to die with the starting process.
    """
    spec = json.loads(spec_json)
    parent = os.getppid()
    if os.geteuid() == 0 and spec["devices"] and make_devices(spec["devices"]):
        os.environ["OSGPILOT_DEV"] = spec["devices"]
    enter(spec["maps"])
    if spec["follow"]:  # after the change of ids, which would clear it
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() not in (parent, 0):
            sys.exit(1)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
