"""Read the claims of an HTCondor token, and check them against its use.

Tokens are JSON Web Tokens (RFC 7519). The server checks their signature; here they are only read.
The text of a token never becomes part of a message.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

from .durations import duration

SCOPE = "condor:/"
"""Prefix of HTCondor authorizations in the `scope` of a token (HTCondor manual,
condor_token_create)."""

JOIN_POOL = ("ADVERTISE_STARTD", "ADVERTISE_MASTER")
"""Authorizations that a pilot needs to join. No other one implies them, neither DAEMON nor WRITE
(25.14); the OSPool's collectors can be read without any."""

SUBMIT_JOBS = ("READ", "WRITE")
"""Authorizations that are needed to submit jobs to an access point and to follow them."""


_TIME_MAX_S = 1e15
"""Upper limit of times; it excludes values that are not numbers as well."""


@dataclass(frozen=True)
class Claims:
    """Issuer and subject of a token, its scopes (None: all), its expiry (None: never), and its id
    at the issuer.
    """

    issuer: str
    subject: str
    scopes: frozenset[str] | None
    expires_s: float | None
    identity: str = ""

    def describe(self, now_s: float) -> str:
        """Return a summary for users."""
        may = "anything" if self.scopes is None else " ".join(sorted(self.scopes)) or "nothing"
        end = (
            "does not expire"
            if self.expires_s is None
            else f"expires in {duration(self.expires_s - now_s)}"
        )
        return f"{self.subject or 'nobody'} at {self.issuer or 'nowhere'}, may {may}, {end}"


@dataclass(frozen=True)
class Finding:
    """Result of a check: summary, why the token cannot be used, what may go wrong.

    `error` and `warning` are empty if there is none.
    """

    summary: str = ""
    error: str = ""
    warning: str = ""


def examine(text: str, needs: tuple[str, ...], now_s: float, life_s: float) -> Finding:
    """Check the token file with this `text`.

    `needs` are the required authorizations, `life_s` is how long it should be valid. If a file has
    several tokens, one per line, HTCondor tries them all: the best one counts.
    """
    lines = [line.strip() for line in text.splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        return Finding(error="is empty")
    found = [_finding(token, needs, now_s, life_s) for token in tokens]
    return min(found, key=lambda each: (bool(each.error), bool(each.warning)))


def claims(token: str) -> Claims:
    """Return the claims of a token. Raises `ValueError` if it is not a token."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not three parts")
    content = _decoded(parts[1])
    if not all(isinstance(part, dict) for part in (content, _decoded(parts[0]))):
        raise ValueError("no claims")
    scope, expires_s = content.get("scope"), content.get("exp")
    if not isinstance(scope, str | None) or not _is_time(expires_s):
        raise ValueError("claims of another kind")
    words = None if scope is None else frozenset(map(_scope, scope.split()))
    issuer, subject, identity = (_plain(content.get(name)) for name in ("iss", "sub", "jti"))
    return Claims(issuer, subject, words, expires_s, identity)


def _finding(token: str, needs: tuple[str, ...], now_s: float, life_s: float) -> Finding:
    try:
        own = claims(token)
    except ValueError:
        return Finding(error="is not a token (a JSON Web Token)")
    summary = own.describe(now_s)
    lacking = [need for need in needs if own.scopes is not None and need not in own.scopes]
    if lacking:
        return Finding(summary, error=f"does not allow {' and '.join(lacking)}")
    left_s = math.inf if own.expires_s is None else own.expires_s - now_s
    if left_s <= 0:
        return Finding(summary, error=f"expired {duration(abs(left_s))} ago")
    if left_s < life_s:
        return Finding(
            summary, warning=f"expires in {duration(left_s)}, before {duration(life_s)} are over"
        )
    return Finding(summary)


def _decoded(part: str) -> Any:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars="-_", validate=True)
        return json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _scope(word: str) -> str:
    return _plain(word).removeprefix(SCOPE)


def _plain(value: object) -> str:
    """Return text that is safe in a line shown to a user."""
    return "".join(c for c in str(value or "") if c.isprintable())[:128]


def _is_time(value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) < _TIME_MAX_S
    return value is None
