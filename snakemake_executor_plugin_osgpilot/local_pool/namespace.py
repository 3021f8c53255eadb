"""Run commands in the pool's kind of user namespace."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import userns
from .idmap import id_maps
from .paths import devices

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def environment(**extra: str) -> dict[str, str]:
    """Return the host's environment with the system programs in PATH, and `extra`."""
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**os.environ, "PATH": f"{path}:{SBIN}", "LC_ALL": "C.UTF-8", **extra}


def rooted(command: Sequence[str], *, follow: bool, nodes: bool = True) -> list[str]:
    """Return the command line that runs `command` as root of a new user and mount namespace.

    follow: die with the process that starts it
    nodes: whether it needs device nodes
    """
    spec = {"maps": id_maps(), "devices": str(devices()) if nodes else None, "follow": follow}
    return [sys.executable, "-I", "-S", userns.__file__, json.dumps(spec), *command]


def contained(command: Sequence[str]) -> list[str]:
    """Return `command` with processes and mounts of its own, all of which end with it."""
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", *command]


def run(command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """Run `command` as root of its own namespaces, log output to `log`; return its exit status."""
    line = rooted(["setpriv", "--no-new-privs", *contained(command)], follow=True)
    with log.open("wb") as output:
        return subprocess.run(
            line, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ).returncode


def remove(*paths: Path) -> None:
    """Remove folders that hold files of subordinate ids; missing ones are fine."""
    present = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if present:
        line = rooted(["rm", "-rf", "--", *present], follow=True, nodes=False)
        subprocess.run(line, env=environment(), check=True)
