"""Tokens for an access point on another host: which one it accepted, and why it rejected others.

The worker process reads them; the signature of a token never leaves this module.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from ..common.idtokens import SUBMIT_JOBS, Claims, claims, examine

logger = logging.getLogger(__name__)

RENEW = "`condor_token_fetch -authz READ -authz WRITE`"


def folder(htcondor: ModuleType) -> Path:
    """Return the folder of the user's tokens."""
    named = htcondor.param.get("SEC_TOKEN_DIRECTORY", "~/.condor/tokens.d")
    return Path(named).expanduser()


def accepted(htcondor: ModuleType, answer: Mapping[str, object]) -> dict[str, str]:
    """Return the `file` and the `claims` (a token without its signature) of the token that a ping
    accepted; nothing if it accepted something else or that file is gone.
    """
    identity = answer.get("AuthTokenId")
    for file, token in _tokens(folder(htcondor)) if identity else []:
        if (own := _claims(token)) and own.identity == identity:
            return {"file": str(file), "claims": f"{token.rpartition('.')[0]}."}
    return {}


def complaint(htcondor: ModuleType, domain: str) -> str:
    """Return the reason why an access point of the trust `domain` (empty: unknown) accepted none of
    the tokens.
    """
    place = folder(htcondor)
    known = [(file, token, own) for file, token in _tokens(place) if (own := _claims(token))]
    if not known:
        return "there is no token"
    ours = [(file, token) for file, token, own in known if domain in ("", own.issuer)]
    if not ours:
        return f"none of the tokens in {place} is from {domain}"
    errors = [(file, examine(token, SUBMIT_JOBS, time.time(), 0).error) for file, token in ours]
    if all(error for _, error in errors):
        return " and ".join(f"the token in {file} {error}" for file, error in errors)
    return f"none of the tokens in {place} is accepted there for WRITE"


def check_token(token: Mapping[str, str], now_s: float, life_s: float) -> None:
    """Report the token that the access point accepted; warn if it expires within `life_s`."""
    if not token:
        return
    found = examine(token["claims"], SUBMIT_JOBS, now_s, life_s)
    logger.info(f"token for the access point: {found.summary}")
    if problem := found.error or found.warning:
        logger.warning(
            f"the token in {token['file']} {problem}: jobs that run longer may not come back; get "
            f"a new one on the access point with {RENEW} and put it into that file"
        )


def _tokens(place: Path) -> list[tuple[Path, str]]:
    found = []
    for file in sorted(place.iterdir()) if place.is_dir() else []:
        try:
            lines = file.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        found += [(file, line.strip()) for line in lines if line.count(".") == 2]
    return found


def _claims(token: str) -> Claims | None:
    try:
        return claims(token)
    except ValueError:
        return None
