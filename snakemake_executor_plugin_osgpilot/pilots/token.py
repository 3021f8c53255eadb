"""Check the token with which pilots join the pool, before any pilot is launched."""

from __future__ import annotations

import logging

from ..common.idtokens import JOIN_POOL, examine
from ..errors import InputError

logger = logging.getLogger(__name__)

RENEW = (
    "ask support@osg-htc.org for a new one; for a pool of your own: `condor_token_fetch "
    "-lifetime SECONDS -authz ADVERTISE_STARTD -authz ADVERTISE_MASTER -authz READ`"
)
"""The OSG issues the tokens of its pool by email (OSG site documentation, containers for
execution points)."""


def check_token(text: str, where: str, now_s: float, life_s: float) -> None:
    """Log the pilots' token, and warn if it expires before a pilot that lives for `life_s` ends.

    `where` names the file. Raises `InputError` if no pilot could join with it.
    """
    found = examine(text, JOIN_POOL, now_s, life_s)
    if found.error:
        raise InputError(f"the token in {where} {found.error}; {RENEW}")
    logger.info(f"token of the pilots: {found.summary}")
    if found.warning:
        logger.warning(f"the token in {where} {found.warning}: later pilots may not join; {RENEW}")
