"""Host ids behind the users of the pool."""

import getpass
import os
import pwd
from pathlib import Path

from ..errors import MissingPrerequisiteError

ALICE = 2001
BOB = 2002
HOST_ROOT = 65000  # nobody is that in the pool; files of the host's root stay within root's reach
COUNT = 65535  # up to and including nobody (65534)
ROOT_BASE = 1_900_000_000  # above what adduser, systemd and container tools give away
Maps = dict[str, list[list[int]]]


def id_maps() -> Maps:
    """Return the maps {"uid": [[inside, outside, count]...], "gid": ...} for the invoking user.

    alice is the invoking user, or a subordinate id where that is root: whoever is the host's root
    by number may write what belongs to root by mode bits alone, /proc/sys for one. All others are
    subordinate ids. Raises MissingPrerequisiteError if the user has no subordinate ids.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        base = _root_base()
        return {"uid": _around(HOST_ROOT, uid, base), "gid": _around(HOST_ROOT, gid, base)}
    return {
        "uid": _around(ALICE, uid, _subordinate(Path("/etc/subuid"), uid)),
        "gid": _around(ALICE, gid, _subordinate(Path("/etc/subgid"), uid)),
    }


def alice_outside() -> tuple[int, int]:
    """Return the user and group id behind alice on the host."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return _root_base() + ALICE, _root_base() + ALICE


def _around(inside: int, own: int, base: int) -> list[list[int]]:
    return [
        [0, base, inside],
        [inside, own, 1],
        [inside + 1, base + inside, COUNT - inside - 1],
    ]


def _root_base() -> int:
    """Return the first of 65535 ids that root may hand out, also if root is root of a container
    only.
    """
    ranges = [
        (int(first), int(count))
        for first, _, count in (
            line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()
        )
    ]
    if any(first <= ROOT_BASE and first + count >= ROOT_BASE + COUNT for first, count in ranges):
        return ROOT_BASE
    last, count = max(ranges)
    if count < 2 * COUNT:
        raise MissingPrerequisiteError(
            "root of this container has too few user ids for a pool: run as an ordinary user of"
            " the host, or start the container with at least 131072 ids"
        )
    return last + count - COUNT


def _subordinate(file: Path, uid: int) -> int:
    """Return the first id of a large enough range in /etc/subuid or /etc/subgid (subuid(5))."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = getpass.getuser()
    lines = file.read_text().splitlines() if file.exists() else []
    for line in lines:
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in (user, str(uid)) and count.isdigit() and int(count) >= COUNT - 1:
            return int(first)
    flag = "--add-subuids" if file.name == "subuid" else "--add-subgids"
    raise MissingPrerequisiteError(
        f"no 65536 subordinate ids for {user} in {file}:"
        f" sudo usermod {flag} 200000-265535 {user} (choose a free range)"
    )
