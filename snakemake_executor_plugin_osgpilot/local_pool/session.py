"""Commands inside a running pool, for the command line and the tests."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from . import enter
from .idmap import ALICE, BOB
from .state import HOSTS, flag, require

USERS = {"alice": (ALICE, "/home/alice"), "bob": (BOB, "/home/bob"), "root": (0, "/root")}
PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def exec_argv(
    name: str,
    host: str,
    user: str,
    folder: Path | str | None,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command line for this machine that runs `argv` inside the pool `name`.

    host: "login" or "ap"; user: "alice", "bob" or "root"
    folder: where to run, by default the user's home
    env: variables to set besides the usual ones

    Raises InputError for an unknown host or user, MissingPrerequisiteError if the pool is not up.
    """
    if host not in HOSTS:
        raise InputError(f"--host {host}: choose login or ap")
    if user not in USERS:
        raise InputError(f"--user {user}: choose alice, bob or root")
    running = require(name)
    uid, home = USERS[user]
    spec = {
        "pid": running.hosts[host],
        "uid": uid,
        "gid": uid,
        "user": f"{user} on {host}",
        "dir": str(folder or home),
        "argv": list(argv),
        "env": {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
            "PATH": PATH,
            **(env or {}),
        },
        "remedy": f"osgpilot pool down{flag(name)}, then up{flag(name)} --work DIR shows it",
    }
    return [sys.executable, "-I", "-S", enter.__file__, json.dumps(spec)]
