"""Read new events of the run's event log."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from ..errors import OutcomeUnknownError
from ..jobs.state.events import NO_USAGE, Event, EventKind, Usage
from .submit_description import NOTE

_KINDS = {
    0: EventKind.SUBMIT,
    1: EventKind.EXECUTE,
    4: EventKind.EVICTED,
    5: EventKind.TERMINATED,
    6: EventKind.USAGE,
    7: EventKind.NOT_STARTED,
    9: EventKind.ABORTED,
    12: EventKind.HELD,
    13: EventKind.RELEASED,
    22: EventKind.DISCONNECTED,
    23: EventKind.RECONNECTED,
    24: EventKind.EVICTED,
    47: EventKind.IMAGE_SENT,
}
"""Event numbers of the job event log (HTCondor manual, Job Event Log Codes) that change a job:
a shadow exception (007, often before the job started) and a failed reconnection (024) put it back
in the queue; 022 says that its pilot cannot be reached, 023 that it can again."""

_CPU_TIME = re.compile(r"(\d+) (\d\d):(\d\d):(\d\d)")
"""Days, hours, minutes and seconds; an event has user and system time, such as
"Usr 0 00:01:02, Sys 0 00:00:01"."""

SIGNALLED = 128
"""Exit status of a job that a signal ended is this plus the number of the signal, as in a shell."""


COMMON_STARTED = "TransferStarted"
"""The type of the first of two events 047 (CommonFiles) of an image; the second is its arrival."""

SILENCE_S = 60.0
"""Time without an event after which the queue is queried for its jobs. A schedd may be queried once
a minute (Scalable Job Tracking, Access Point policy configuration)."""

LONG_AGO_S = -86400
"""The time to stop waiting for events: with 0, a clock that steps back within a call would make it
wait."""


class EventLog:
    """Reads one log file incrementally; the file is created if it does not exist.

    If the disk is full, HTCondor leaves events out, and nothing in the file shows that.
    """

    def __init__(self, path: Path) -> None:
        import htcondor2

        path.touch(mode=0o600)
        self._path = path
        self._seen = path.stat()
        self._log = htcondor2.JobEventLog(str(path))
        self._missed = False
        self._heard_s = time.monotonic()
        self._arrivals: Counter[tuple[int, float]] = Counter()

    def take_missed(self) -> bool:
        """Return True if events may be missing, as after a long silence; reset that."""
        now_s = time.monotonic()
        missed = self._missed or now_s - self._heard_s >= SILENCE_S
        if missed:
            self._missed, self._heard_s = False, now_s
        return missed

    def read(self) -> list[tuple[str, Event]]:
        """Return new events as (`cluster.proc`, event), oldest first, without waiting.

        Raises `OutcomeUnknownError` if the log cannot be read; events read before are not lost.
        """
        import htcondor2

        self._reopen_if_replaced()
        found: list[tuple[str, Event]] = []
        try:
            while not self._read_some(found):
                pass
        except htcondor2.HTCondorException as error:
            # the reader continues after the next separator of events: those before it are lost
            self._missed = True
            if not found:
                raise OutcomeUnknownError(f"the event log cannot be read: {error}") from error
        if found:
            self._heard_s = time.monotonic()
        return found

    def _read_some(self, found: list[tuple[str, Event]]) -> bool:
        """Add events to `found`; return False after an event of a kind unknown to the bindings, or
        with a text that is not UTF-8.
        """
        try:
            for raw in self._log.events(stop_after=LONG_AGO_S):
                if int(raw.type) in _KINDS and raw.get("Type") != COMMON_STARTED:
                    found.append((self._id_of(raw), event(raw)))
        except UnicodeDecodeError:
            # it quotes a file name of a job; the queue has the state of the job
            self._missed = True
            return False
        except ValueError:
            return False
        return True

    def _id_of(self, raw: JobEvent) -> str:
        """Return `cluster.proc`; a transfer of an image gets a number below 0, the same each time
        that the log is read.

        The log has one, but the bindings (25.14) make -1 of each, and two pilots may get an image
        within a second.
        """
        if _KINDS[int(raw.type)] is not EventKind.IMAGE_SENT:
            return f"{raw.cluster}.{raw.proc}"
        second = (raw.cluster, raw.timestamp)
        self._arrivals[second] += 1
        return f"{raw.cluster}.-{self._arrivals[second]}"

    def _reopen_if_replaced(self) -> None:
        """Read from the start a file that was truncated or replaced."""
        import htcondor2

        before, now = self._seen, self._path.stat()
        self._seen = now
        if now.st_size < before.st_size or now.st_ino != before.st_ino:
            self._log.close()
            self._log = htcondor2.JobEventLog(str(self._path))
            self._arrivals.clear()
            self._missed = True

    def close(self) -> None:
        self._log.close()


def _written_s(read_s: int) -> float:
    """Return when an event was written, in seconds since the epoch.

    An event log has the local time of the daemon that writes it, without a zone; the bindings take
    it for that of this process, which may have another TZ.
    """
    if "TZ" not in os.environ:
        return float(read_s)
    return datetime.fromtimestamp(read_s).replace(tzinfo=_system_zone()).timestamp()


@cache
def _system_zone() -> tzinfo:
    """Return the time zone of this machine's daemons."""
    try:
        with Path("/etc/localtime").open("rb") as zone:
            return ZoneInfo.from_file(zone)
    except (OSError, ValueError):
        return UTC


class JobEvent(Protocol):
    """An event of the bindings; `get` returns its further values by name."""

    @property
    def type(self) -> int: ...
    @property
    def cluster(self) -> int: ...
    @property
    def proc(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    def get(self, name: str, default: object = None, /) -> Any: ...


def event(raw: JobEvent) -> Event:
    """Convert an event of the bindings."""
    kind = _KINDS[int(raw.type)]
    properties = raw.get("ExecuteProps") or {}
    # without the name of a batch, readers confuse the two notes
    note = str(raw.get("UserNotes") or raw.get("LogNotes") or "").strip()
    slot, _, machine = str(raw.get("SlotName") or raw.get("StartdName") or "").partition("@")
    return Event(
        kind,
        _written_s(raw.timestamp),
        pilot=str(properties.get("OSGPILOT_PILOT_ID", "")),
        allocation_id=str(properties.get("OSGPILOT_SLURM_JOB_ID", "")),
        node=str(properties.get("OSGPILOT_NODE", "")),
        exit_status=_exit_status(raw) if kind is EventKind.TERMINATED else None,
        code=int(raw.get("HoldReasonCode") or raw.get("ReasonCode") or 0),
        subcode=int(raw.get("HoldReasonSubCode") or raw.get("ReasonSubCode") or 0),
        memory_mb=int(raw.get("MemoryUsage") or 0),
        text=" ".join(
            str(raw.get("HoldReason") or raw.get("Reason") or raw.get("Message") or "").split()
        ),
        key=note.removeprefix(NOTE) if note.startswith(NOTE) else "",
        slot=slot,
        machine=machine,
        usage=_usage(raw) if kind is EventKind.TERMINATED else NO_USAGE,
    )


def _usage(raw: JobEvent) -> Usage:
    # except for transfers of the latest start: failed ones do not show the needs of the job
    cpu_s = sum(
        int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
        for days, hours, minutes, seconds in _CPU_TIME.findall(str(raw.get("RunRemoteUsage", "")))
    )
    disk_kb = int(raw.get("DiskUsage") or 0)
    moved_kb = (
        float(raw.get(name) or 0) / 1024 for name in ("TotalReceivedBytes", "TotalSentBytes")
    )
    return Usage(float(cpu_s), int(raw.get("MemoryUsage") or 0), -(-disk_kb // 1024), *moved_kb)


def exit_status(code: int, signal: int | None = None) -> int:
    """Return the exit status as in a shell; `signal` is None if the job exited by itself."""
    return int(code) if signal is None else SIGNALLED + int(signal)


def _exit_status(raw: JobEvent) -> int:
    by_itself = raw.get("TerminatedNormally", True)
    return exit_status(
        raw.get("ReturnValue", 0), None if by_itself else raw.get("TerminatedBySignal", 0)
    )
