"""Mask secrets in a text before others may read it.

A secret is found literally, line by line, percent-encoded, escaped as in JSON or Python, and inside
any base64. Encrypted, compressed, split or otherwise transformed secrets are not found.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "[secret]"

LENGTH_MIN = 6
"""Shorter values are too likely to be ordinary words or numbers: `1`, `true`, `debug`."""

BASE64_RUN = 12
"""Minimum number of consecutive base64 characters of an encoded secret that are masked."""

_SPACE = re.compile(r"\s+")
_URLSAFE = str.maketrans("-_", "+/")

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
        r"(?i)(?<![a-z])(?P<name>[\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)"
        r"[\w-]{0,40}[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"',;]{4,})"
    ),
)


class Redactor:
    """Masks `secrets` and texts in the form of one; created once for the values of a run.

    Values shorter than `LENGTH_MIN` are left alone. `longest` is how long a masked form can be.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= LENGTH_MIN}
        plain = {form for secret in known for form in _forms(secret)}
        # the longest first: one may be part of another
        ordered = sorted(plain, key=len, reverse=True)
        self._plain = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        encoded = {core for secret in known for core in _base64_cores(secret)}
        self._runs = {run for core in encoded for run in _runs(core)}
        self._lengths = sorted({len(run) for run in self._runs})
        self.longest = max(map(len, plain | encoded), default=0)

    def __call__(self, text: str) -> str:
        """Return `text` with secrets masked."""
        if self._plain:
            text = self._plain.sub(MASK, text)
        text = self._without_base64(text)
        for look in _LOOKS:
            text = look.sub(_masked, text)
        return text

    def tail(self, text: str) -> str:
        """Return `text`, the end of a longer one, with secrets masked.

        It may begin within a secret: its first line is dropped, or the length of the longest secret
        from a single line.
        """
        masked = self(text)
        _, line_break, rest = masked.partition("\n")
        return rest if line_break else masked[self.longest :]

    def _without_base64(self, text: str) -> str:
        """Mask runs of an encoded secret, independent of line breaks."""
        places = [index for index, character in enumerate(text) if not character.isspace()]
        dense = _SPACE.sub("", text).translate(_URLSAFE)
        spans: list[tuple[int, int]] = []
        for start in range(len(dense)):
            length = next((n for n in self._lengths if dense[start : start + n] in self._runs), 0)
            if not length:
                continue
            if spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], start + length
            else:
                spans.append((start, start + length))
        for first, last in reversed(spans):
            begin, end = places[first], places[last - 1] + 1
            # the adjacent characters contain some bits of it as well
            begin -= text[begin - 1 : begin].isalnum()
            end += text[end : end + 1].isalnum()
            text = text[:begin] + MASK + text[end:]
        return text


def _forms(secret: str) -> Iterator[str]:
    """Return the forms of a secret except base64; its lines may appear separately."""
    parts = {secret, secret.strip(), *(line.strip() for line in secret.splitlines())}
    for part in (part for part in parts if len(part) >= LENGTH_MIN):
        yield part
        yield json.dumps(part)[1:-1]
        yield repr(part)[1:-1]
        encoded = part.encode("utf-8", "surrogateescape")
        for percent in (quote(encoded, safe=""), quote(encoded), quote_plus(encoded)):
            yield percent
            yield re.sub("%..", lambda found: found[0].lower(), percent)


def _base64_cores(secret: str) -> Iterator[str]:
    """Return the parts that are common to all base64 texts that contain the secret.

    Three bytes become four characters, so there are three alignments of a secret; the characters at
    both ends depend on the adjacent bytes.
    """
    content = secret.encode("utf-8", "surrogateescape")
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + content).decode("ascii")
        yield encoded[-(-offset * 8 // 6) : (offset + len(content)) * 8 // 6]


def _runs(core: str) -> Iterator[str]:
    length = min(BASE64_RUN, len(core))
    return (core[start : start + length] for start in range(len(core) - length + 1))


def _masked(found: re.Match[str]) -> str:
    return found.groupdict().get("name", "") + MASK
