"""Findings of checks as values: a verdict, and a fix for what is wrong. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from ..errors import OsgpilotError, OutcomeUnknownError


class Verdict(StrEnum):
    """The result of a check. What could not be tested is neither right nor wrong."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Finding:
    """One line: the check's `name`, the verdict, `what` was found, and the `fix`."""

    name: str
    verdict: Verdict
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.what}{f'; {self.fix}' if self.fix else ''}"


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def warning(name: str, what: str, fix: str) -> Finding:
    return Finding(name, Verdict.WARNING, what, fix)


def failed(name: str, what: str, fix: str) -> Finding:
    return Finding(name, Verdict.FAILED, what, fix)


def untested(name: str, what: str, fix: str = "") -> Finding:
    return Finding(name, Verdict.UNTESTED, what, fix)


def of_error(name: str, error: OsgpilotError, fix: str = "") -> Finding:
    """Return an error as a finding; our errors end with a fix, else `fix` is used.

    A query without an answer leaves open what it was about.
    """
    what, _, remedy = str(error).partition("; ")
    make = untested if isinstance(error, OutcomeUnknownError) else failed
    return make(name, what, remedy or fix)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 1 if something failed, else 0: warnings and untested things do not stop a run."""
    return int(bool(failures(findings)))


def failures(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop a run."""
    return [each for each in findings if each.verdict is Verdict.FAILED]


def summary(findings: Iterable[Finding]) -> str:
    """Return the number of findings by verdict, in one line."""
    counts = Counter(each.verdict for each in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])


def as_data(findings: Iterable[Finding]) -> dict[str, object]:
    """Return findings as plain data, for JSON."""
    listed = list(findings)
    counts = Counter(each.verdict for each in listed)
    return {
        "findings": [asdict(each) for each in listed],
        "counts": {verdict: counts[verdict] for verdict in Verdict},
    }
