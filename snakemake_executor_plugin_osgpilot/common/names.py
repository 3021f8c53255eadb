"""Validate names for ClassAd expressions and submit descriptions."""

from __future__ import annotations

import re

from ..errors import InputError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that become part of a ClassAd expression. The pilot container pastes OSG_PROJECT_NAME and
GLIDEIN_Start_Extra into its START expression unescaped (osgvo-docker-pilot,
10-setup-htcondor.sh)."""


def safe_name(value: str, what: str) -> str:
    """Return `value` if it is safe in a ClassAd expression; else raise `InputError` on `what`."""
    if not SAFE_NAME.fullmatch(value) or len(value) > 128:
        raise InputError(
            f"{what} {value!r} cannot be used: letters, digits, `.`, `_`, `-` only, "
            "beginning with a letter or digit, at most 128"
        )
    return value


_OFFER = re.compile(r"[A-Za-z0-9_.,/+:=@-]*")


def is_offer(name: str) -> bool:
    """Return True if a name can be part of that of a pilot type."""
    return bool(_OFFER.fullmatch(name))


def safe_offer(name: str) -> str:
    """Return the name of a pilot type if it is safe in a ClassAd; raise `InputError` otherwise.

    It may name several partitions, as in Slurm: `short,long/4c`.
    """
    if not is_offer(name):
        raise InputError(f"the kind of pilot {name!r} has characters that a ClassAd cannot have")
    return name
