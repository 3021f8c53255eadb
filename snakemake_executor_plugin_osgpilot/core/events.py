"""What the access point's log may tell of a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

VACATE_CODES = 1000
"""Reason codes below this are HoldReasonCodes (HTCondor manual, Vacate Reason Codes)."""


_START_FAILED = (1003, 1006, 1007)
"""Vacate codes JobNotStarted, FailedToActivateClaim and StarterError (condor_holdcodes.h, 25.14). A
pilot's own check before a job (PREPARE_JOB) ends with the last one."""


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
    ADRIFT = "adrift"


class Usage(NamedTuple):
    """What a job took: CPU time, the most memory, disk. 0 where that was not measured."""

    cpu_s: float = 0.0
    memory_mb: int = 0
    disk_mb: int = 0


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `key` is the job's key and comes with SUBMIT, `pilot`, `allocation_id`, `node` and
    `slot` come with EXECUTE, `exit_status` and `usage` with TERMINATED, `memory_mb` with USAGE.
    `code` and `subcode` are HoldReasonCode and HoldReasonSubCode, and with EVICTED those or the
    codes of a vacate (VACATE_CODES and above). `excused` says that nothing is known to have failed
    where an attempt ended: the access point itself may have been away.
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
    slot: str = ""
    usage: Usage = NO_USAGE
    excused: bool = False

    @property
    def failed_start(self) -> bool:
        """Whether something on the way, not the job, ended an attempt: a shadow exception or alike.

        The vacate code ShadowException comes with an event of its own and is not counted twice.
        """
        evicted = self.kind is EventKind.EVICTED and self.code in _START_FAILED
        return (self.kind is EventKind.NOT_STARTED and not self.excused) or evicted

    @property
    def before_hold(self) -> bool:
        """Whether it is an eviction after which the job is held."""
        return self.kind is EventKind.EVICTED and 0 < self.code < VACATE_CODES
