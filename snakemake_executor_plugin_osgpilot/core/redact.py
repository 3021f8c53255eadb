"""Takes out of a text what looks like a secret, before others may read it."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "[secret]"

LENGTH_MIN = 6
"""Shorter values are too likely to be ordinary words or numbers."""

_LOOKS = (
    # JSON Web Tokens: three parts in base64url (RFC 7515, section 3.1)
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"),
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
    ),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)\w{16,}"),
    re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(
        r"(?i)(?<![a-z])(?P<name>[\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)"
        r"[\w-]*[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"',;]{4,})"
    ),
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without `secrets` and without what has the form of one."""
    for secret in sorted({s for s in secrets if len(s) >= LENGTH_MIN}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for look in _LOOKS:
        text = look.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    return found.groupdict().get("name", "") + MASK
