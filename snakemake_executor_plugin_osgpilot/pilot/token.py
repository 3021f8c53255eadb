"""The token with which pilots join the pool: whether it can do so, said before it has to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from snakemake_executor_plugin_osgpilot.core.tokens import JOIN_POOL, examine
from snakemake_executor_plugin_osgpilot.errors import BadInput

RENEW = (
    "ask support@osg-htc.org for a new one; for a pool of your own: `condor_token_fetch "
    "-lifetime SECONDS -authz ADVERTISE_STARTD -authz ADVERTISE_MASTER -authz READ`"
)
"""The OSG gives out the tokens of its pool by mail (OSG site documentation, containers for
execution points)."""

Say = Callable[[str], None]


def read_token(path: Path) -> str:
    """Return the text of a token file that its owner alone can read. Raises `BadInput`."""
    try:
        status = path.stat()
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(
            f"token file {path}: {error.strerror}; see `token` in the site file"
        ) from error
    if status.st_mode & 0o077:
        raise BadInput(f"token file {path} can be read by others; run: chmod 600 {path}")
    if status.st_uid != os.geteuid():
        raise BadInput(f"token file {path} belongs to another user; make a copy of your own")
    return text


def check_token(text: str, where: str, now_s: float, life_s: float, say: Say, warn: Say) -> None:
    """Say what the pilots' token is, and warn if it ends before a pilot that lives for `life_s`.

    `where` names the file. Raises `BadInput` if no pilot could join with it.
    """
    found = examine(text, JOIN_POOL, now_s, life_s)
    if found.error:
        raise BadInput(f"the token in {where} {found.error}; {RENEW}")
    say(f"token of the pilots: {found.summary}")
    if found.warning:
        warn(f"the token in {where} {found.warning}: later pilots may not join; {RENEW}")
