"""The events of the access point's log that change a job."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

VACATE_CODES = 1000
"""Reason codes below this are HoldReasonCodes (HTCondor manual, Vacate Reason Codes)."""


_START_FAILED = (1003, 1006, 1007)
"""Vacate codes JobNotStarted, FailedToActivateClaim and StarterError (condor_holdcodes.h, 25.14). A
pilot's own check before a job (PREPARE_JOB) ends with the last one."""


IMAGE_NOT_STARTED = 45
"""HoldReasonCode SingularityTestFailed. HTCondor 25.14 evicts such a job, and does not hold it."""


_FROM_STARTER = re.compile(r"Error from \S+: ")
_SLOT = re.compile(r"\bslot\w*@([A-Za-z0-9._-]+)")

_INPUT_TRANSFER, _NO_ROOM = 13, (errno.ENOSPC, errno.EDQUOT)
"""HoldReasonCode TransferInputError; its subcode is an errno."""


class EventKind(Enum):
    """The events that change a job; all others are ignored."""

    SUBMIT = "submit"
    MATCHED = "matched"
    EXECUTE = "execute"
    USAGE = "usage"
    EVICTED = "evicted"
    NOT_STARTED = "not started"
    TERMINATED = "terminated"
    ABORTED = "aborted"
    HELD = "held"
    RELEASED = "released"
    DISCONNECTED = "disconnected"
    RECONNECTED = "reconnected"
    IMAGE_SENT = "image sent"
    APART = "apart"


class Usage(NamedTuple):
    """Resources used by a job: CPU time, peak memory, disk, and what was transferred to it
    (including inputs by URL) and from it, in all its starts. 0 if not measured.
    """

    cpu_s: float = 0.0
    memory_mb: int = 0
    disk_mb: int = 0
    received_kb: float = 0.0
    sent_kb: float = 0.0


class ImageSent(NamedTuple):
    """One transfer of an image or an input that jobs share: numbered below 0 like a job of the
    cluster of such jobs, when it ended, and the image, or the size of the input.
    """

    process: str
    at_s: float
    image: str
    input_bytes: int = 0


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `key` is the job's key and comes with SUBMIT, `pilot`, `allocation_id`, `node` and
    `slot` come with EXECUTE, `exit_status` and `usage` with TERMINATED, `memory_mb` with USAGE.
    MATCHED means that a start is under way whose command has not begun, on `pilot` if known. `code`
    and `subcode` are HoldReasonCode and HoldReasonSubCode, and with EVICTED those or the codes of a
    vacate (VACATE_CODES and above). IMAGE_SENT is of a process that is no job, in the cluster of
    one. `machine` is the pilot's name in HTCondor and comes with EXECUTE and DISCONNECTED; failures
    have it in the text, see `place`. APART means that a job has to be resubmitted without the
    bundle that it was in, see `bundles`. `excused` is True if an attempt ended and nothing is known
    to have failed: the access point itself may have been down.
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
    machine: str = ""

    @property
    def place(self) -> str:
        """The machine of the slot it is about, empty if unknown."""
        named = _SLOT.search(self.text)
        return self.machine or (named[1] if named else "")

    @property
    def reason(self) -> str:
        """The text without the slot that it comes from, so that equal reasons are equal texts."""
        return _FROM_STARTER.sub("", self.text, count=1)

    @property
    def failed_there(self) -> bool:
        """True if the pilot may be at fault: a start failed, or files found no room there."""
        no_room = self.code == _INPUT_TRANSFER and self.subcode in _NO_ROOM
        return self.failed_start or (self.kind is EventKind.HELD and no_room)

    @property
    def failed_start(self) -> bool:
        """True if the system, not the job, ended an attempt: a shadow exception or the like.

        The vacate code ShadowException comes with an event of its own and is not counted twice.
        """
        evicted = self.kind is EventKind.EVICTED and self.code in _START_FAILED
        return (self.kind is EventKind.NOT_STARTED and not self.excused) or evicted

    @property
    def before_hold(self) -> bool:
        """True if it is an eviction before a hold."""
        of_hold = 0 < self.code < VACATE_CODES and self.code != IMAGE_NOT_STARTED
        return self.kind is EventKind.EVICTED and of_hold


class CommandUsage(NamedTuple):
    """CPU time and run time of the command of a job."""

    cpu_s: float
    time_s: float
