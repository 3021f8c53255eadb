"""What the access point's log may tell of a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

VACATE_CODES = 1000
"""Reason codes below this are HoldReasonCodes (HTCondor manual, Vacate Reason Codes)."""


class EventKind(Enum):
    """The events that change a job; all others are of no consequence to us."""

    SUBMIT = "submit"
    EXECUTE = "execute"
    USAGE = "usage"
    EVICTED = "evicted"
    NOT_STARTED = "not started"
    TERMINATED = "terminated"
    ABORTED = "aborted"
    HELD = "held"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `key` is the job's key and comes with SUBMIT, `pilot`, `allocation_id` and `node`
    come with EXECUTE, `exit_status` with TERMINATED, `memory_mb` with USAGE. `code` and `subcode`
    are HoldReasonCode and HoldReasonSubCode, and with EVICTED those or the codes of a vacate
    (VACATE_CODES and above).
    """

    kind: EventKind
    at_s: float
    pilot: str = ""
    allocation_id: str = ""
    node: str = ""
    exit_status: int | None = None
    code: int = 0
    subcode: int = 0
    memory_mb: int = 0
    text: str = ""
    key: str = ""

    @property
    def before_hold(self) -> bool:
        """Whether it is an eviction after which the job is held."""
        return self.kind is EventKind.EVICTED and 0 < self.code < VACATE_CODES
