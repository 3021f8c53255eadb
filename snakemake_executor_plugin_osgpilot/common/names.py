"""Names that may enter ClassAd expressions and submit descriptions."""

from __future__ import annotations

import re

from snakemake_executor_plugin_osgpilot.errors import InputError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that end in a ClassAd expression. The pilot container pastes OSG_PROJECT_NAME and
GLIDEIN_Start_Extra into its START expression unescaped (osgvo-docker-pilot,
10-setup-htcondor.sh)."""


def safe_name(value: str, what: str) -> str:
    """Return `value` if it may enter a ClassAd expression; raise `InputError` naming `what`."""
    if not SAFE_NAME.fullmatch(value) or len(value) > 128:
        raise InputError(
            f"{what} {value!r} cannot be used: letters, digits, `.`, `_`, `-` only, "
            "beginning with a letter or digit, at most 128"
        )
    return value


_OFFER = re.compile(r"[A-Za-z0-9_.,/-]*")


def safe_offer(name: str) -> str:
    """Return the name of an offer if it may enter a ClassAd; raise `InputError` otherwise.

    Partitions may be several, as Slurm takes them: `short,long/4c`.
    """
    if not _OFFER.fullmatch(name):
        raise InputError(f"the kind of pilot {name!r} has characters that a ClassAd cannot have")
    return name
