"""What a check found, as values: a verdict, and the cure where something is to be mended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from snakemake_executor_plugin_osgpilot.errors import OsgpilotError, OutcomeUnknownError


class Verdict(StrEnum):
    """How a check came out. What could not be tested is neither right nor wrong."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Finding:
    """One line: the check's `name`, the verdict, `what` was found, and the `cure`."""

    name: str
    verdict: Verdict
    what: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.what}{f'; {self.cure}' if self.cure else ''}"


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def warning(name: str, what: str, cure: str) -> Finding:
    return Finding(name, Verdict.WARNING, what, cure)


def failed(name: str, what: str, cure: str) -> Finding:
    return Finding(name, Verdict.FAILED, what, cure)


def untested(name: str, what: str, cure: str = "") -> Finding:
    return Finding(name, Verdict.UNTESTED, what, cure)


def of_error(name: str, error: OsgpilotError, cure: str = "") -> Finding:
    """Return an error as a finding; our errors end with what to do, else `cure` says it.

    A question that was not answered leaves open what it was about.
    """
    what, _, remedy = str(error).partition("; ")
    make = untested if isinstance(error, OutcomeUnknownError) else failed
    return make(name, what, remedy or cure)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 1 if something failed, else 0: warnings and untested things do not stop a run."""
    return int(any(each.verdict is Verdict.FAILED for each in findings))


def summary(findings: Iterable[Finding]) -> str:
    """Return how many came out in which way, in one line."""
    counts = Counter(each.verdict for each in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])


def as_data(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return findings as plain data, for programs."""
    listed = list(findings)
    counts = Counter(each.verdict for each in listed)
    return {
        "findings": [asdict(each) for each in listed],
        "counts": {verdict: counts[verdict] for verdict in Verdict},
    }
