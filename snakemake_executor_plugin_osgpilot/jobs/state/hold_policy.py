"""Policy for held jobs and repeated failed attempts.

Codes are HoldReasonCode and HoldReasonSubCode (HTCondor manual, Hold Reason Codes).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from ...model.resources import MEMORY_QUANTUM_MB, Shape
from .events import Event, EventKind
from .hold_codes import HOLDS, UNKNOWN_HOLD
from .job import NODE_AT_FAULT, FailedAttempt, Job

FAILED_ATTEMPTS_MAX = 10
"""Failed attempts after which a job fails. The OSPool stops serving a user who has more than
20 shadow exceptions in 20 minutes (the negotiator's submitter constraint) and holds jobs after 30
starts: one job must not bring its owner near either limit."""

TRANSFERS_MAX = 5
"""Failed file transfers after which a job fails: each may have cost a whole execution."""

REASON_MAX = 200
"""A longer reason of a failed attempt is cut in the error of its job, whose history has all."""

BACK_OFF_S, BACK_OFF_FACTOR = 10.0, 4
"""A job waits 10 s after its first failed transfer, then 40 s, 160 s and 640 s."""

FULL_DISKS_MAX = 4
"""Full disks of nodes after which the job itself is presumed to fill them."""

GROWTH = 2
USED_MARGIN = 1.25
"""A job that exceeded its request gets twice as much, and no less than its measured use with a
margin: it was stopped while it was still growing."""

BY_HAND, SPOOLING = (1, 15), 16
REMATCHING = 7980
"""HoldReasonSubCode of a temporary hold that triggers rematching (`stuck_jobs`)."""
OUT_OF_RESOURCES = (21, 34)
"""34 comes from the starter (cgroup), 21 from a policy of the pilot (Hold_If_Memory_Exceeded)."""
MEMORY, DISK = 102, 104
OUTPUT_TRANSFER, INPUT_TRANSFER = 12, 13
FOLDER_GONE = 14
TRANSFERS = (11, OUTPUT_TRANSFER, INPUT_TRANSFER, FOLDER_GONE, 18)
HOOK, NOT_STARTED = 19, 6

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNREADABLE = (errno.ENOENT, errno.EACCES)
_NODE_AT_FAULT = (errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.ENODEV, errno.EMFILE)
"""Errors at the start of a command that the node causes. ENOTCONN occurs when the pilot's own file
system has just gone, as after a plain scancel of a running pilot."""


@dataclass(frozen=True)
class Wait:
    """Leave the job on hold: its owner has to release it."""

    why: str


@dataclass(frozen=True)
class Release:
    """Release the job as it is, after `after_s` seconds."""

    after_s: float
    why: str


@dataclass(frozen=True)
class Resize:
    """Release the job with a request for `shape`."""

    shape: Shape
    why: str


@dataclass(frozen=True)
class Fail:
    """Remove the job from the queue and report `why` as its error."""

    why: str


HoldAction = Wait | Release | Resize | Fail


def decide(job: Job, largest: Shape) -> HoldAction:
    """Decide about a held job; `largest` is the shape of the biggest pilot.

    A hold by hand stays: the user wants to look or to wait, and HTCondor's `periodic_release`
    leaves it alone as well. The job runs after `condor_release`, and fails after `condor_rm`.
    """
    hold = job.failed_attempts[-1]
    if hold.code in BY_HAND:
        return Wait(f"was put on hold by hand ({hold.text}); it waits for condor_release")
    if hold.code == SPOOLING:
        return Wait("")
    if len(job.failed_attempts) >= FAILED_ATTEMPTS_MAX:
        return _too_many_attempts(job)
    if hold.code in OUT_OF_RESOURCES and hold.subcode == MEMORY:
        return _more_memory(job, largest)
    if hold.code in OUT_OF_RESOURCES and hold.subcode == DISK:
        return _more_disk(job, largest)
    if hold.code in TRANSFERS or hold.code == HOOK:
        return _transfer(job, hold)
    if hold.code == NOT_STARTED and hold.subcode in _NODE_AT_FAULT:
        return Release(BACK_OFF_S, "hit a faulty node; retrying")
    return Fail(HOLDS.get(hold.code, UNKNOWN_HOLD).words)


def is_temporary(event: Event) -> bool:
    """Return True for a temporary hold, to be released at once."""
    return event.kind is EventKind.HELD and event.code in BY_HAND and event.subcode == REMATCHING


def exhausted(job: Job) -> Fail | None:
    """Return the failure of a job with too many failed attempts; None while it may run again.

    HTCondor runs such a job again by itself, and no retry of Snakemake is used up.
    """
    return _too_many_attempts(job) if len(job.failed_attempts) >= FAILED_ATTEMPTS_MAX else None


def fills_disks(job: Job, why: str) -> bool:
    """Return True if a job found the disk of too many nodes full, so that it is probably the
    cause.
    """
    before = sum(attempt.text == why for attempt in job.failed_attempts)
    return job.exit_status == NODE_AT_FAULT and before + 1 >= FULL_DISKS_MAX


def history(failed_attempts: tuple[FailedAttempt, ...]) -> str:
    """Return one line with the reasons and places of failed attempts, grouped by reason."""
    places: dict[str, list[str]] = {}
    for attempt in failed_attempts:
        places.setdefault(attempt.text, []).append(attempt.place)
    return "; ".join(f"{text} ({', '.join(dict.fromkeys(at))})" for text, at in places.items())


def _too_many_attempts(job: Job) -> Fail:
    last = job.failed_attempts[-1].text
    shown = f", the last time: {last[:REASON_MAX]}" if last else ""
    return Fail(f"it was started {len(job.failed_attempts)} times without success{shown}")


def _more_memory(job: Job, largest: Shape) -> Resize | Fail:
    requested = job.job_class.shape
    most_mb = largest.memory_mb // MEMORY_QUANTUM_MB * MEMORY_QUANTUM_MB
    if requested.memory_mb >= most_mb:
        return Fail(
            f"it needs more than {requested.memory_mb} MB of memory, the most a pilot has for one "
            "job; give pilots more memory in the site file"
        )
    new_mb = max(GROWTH * requested.memory_mb, round(USED_MARGIN * job.used_mb))
    new_mb = -(-new_mb // MEMORY_QUANTUM_MB) * MEMORY_QUANTUM_MB
    shape = requested._replace(memory_mb=min(new_mb, most_mb))
    return Resize(
        shape, f"exceeded {requested.memory_mb} MB of memory; requesting {shape.memory_mb} MB"
    )


def _more_disk(job: Job, largest: Shape) -> Resize | Fail:
    requested = job.job_class.shape
    if requested.disk_mb >= largest.disk_mb:
        return Fail(f"it needs more than {requested.disk_mb} MB of disk, the most a pilot has")
    shape = requested._replace(disk_mb=min(GROWTH * requested.disk_mb, largest.disk_mb))
    return Resize(shape, f"exceeded {requested.disk_mb} MB of disk; requesting {shape.disk_mb} MB")


def _transfer(job: Job, hold: FailedAttempt) -> Release | Fail:
    if hold.code == OUTPUT_TRANSFER and hold.subcode in _DISK_FULL:
        return Fail("the disk of the access point is full or over quota")
    if hold.code == INPUT_TRANSFER and hold.subcode in _UNREADABLE:
        return Fail("an input could not be read on the access point")
    failed = sum(s.code in TRANSFERS or s.code == HOOK for s in job.failed_attempts)
    if failed >= TRANSFERS_MAX:
        return Fail(f"its {_phase(hold)} failed {failed} times")
    after_s = BACK_OFF_S * BACK_OFF_FACTOR ** (failed - 1)
    return Release(after_s, f"{_phase(hold)} failed; retrying in {after_s:.0f} s: {hold.text}")


def _phase(hold: FailedAttempt) -> str:
    return "preparation on the pilot" if hold.code == HOOK else "file transfer"
