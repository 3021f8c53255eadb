"""What becomes of a job that HTCondor holds, or that was started in vain again and again.

Codes are HoldReasonCode and HoldReasonSubCode (HTCondor manual, Hold Reason Codes).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import NODE_AT_FAULT, FailedAttempt, Job
from snakemake_executor_plugin_osgpilot.model.resources import MEMORY_QUANTUM_MB, Shape

SETBACKS_MAX = 10
"""Starts in vain after which a job is given up. The OSPool stops serving a user who has more than
20 shadow exceptions in 20 minutes (the negotiator's submitter constraint) and holds jobs after 30
starts: one job must not bring its owner near either."""

TRANSFERS_MAX = 5
"""File transfers that may fail before a job is given up: each may have cost a whole execution."""

BACK_OFF_S, BACK_OFF_FACTOR = 10.0, 4
"""A job waits 10 s after its first failed transfer, then 40 s, 160 s and 640 s."""

FULL_DISKS_MAX = 4
"""Nodes whose disk may be full when a job fails, before it is the job that fills them."""

GROWTH = 2
USED_MARGIN = 1.25
"""A job that took more than it asked for gets twice as much, and no less than it was seen using
with a margin: it was caught in the middle of its growth."""

BY_HAND, SPOOLING = (1, 15), 16
WAKING = 7980
"""HoldReasonSubCode of a hold of our own, for a moment (`core.forgotten`)."""
OUT_OF_RESOURCES = (21, 34)
"""34 comes from the starter (cgroup), 21 from a policy of the pilot (Hold_If_Memory_Exceeded)."""
MEMORY, DISK = 102, 104
OUTPUT_TRANSFER, INPUT_TRANSFER = 12, 13
FOLDER_GONE = 14
TRANSFERS = (11, OUTPUT_TRANSFER, INPUT_TRANSFER, FOLDER_GONE, 18)
HOOK, NOT_STARTED = 19, 6

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNREADABLE = (errno.ENOENT, errno.EACCES)
_NODE_IN_TROUBLE = (errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.ENODEV, errno.EMFILE)
"""Errors at the start of a command that say something of the node. ENOTCONN comes when the pilot's
own file system has just gone, as with a plain scancel of a running pilot."""

PLAIN = {
    3: "a policy of the job stopped it",
    6: "its command could not be started; has the container image a /bin/bash, and is it made for "
    "this kind of machine?",
    7: "the access point could not write what it printed; is its disk full?",
    FOLDER_GONE: "its folder on the access point is gone or cannot be entered",
    22: "the access point could not write the run's event log; is its disk full?",
    26: "a policy of the access point's administrators stopped it",
    32: "its inputs are larger than the access point allows",
    33: "its outputs are larger than the access point allows",
    35: "its container image is not valid",
    45: "Apptainer could not start its container image on the node",
    46: "it took longer than the access point allows",
    47: "it ran longer than the access point allows",
}


@dataclass(frozen=True)
class Wait:
    """Leave the job on hold: it is not ours to release."""

    why: str


@dataclass(frozen=True)
class Release:
    """Let the job run again as it is, in `after_s` seconds."""

    after_s: float
    why: str


@dataclass(frozen=True)
class Resize:
    """Let the job run again, asking for `shape`."""

    shape: Shape
    why: str


@dataclass(frozen=True)
class Fail:
    """Take the job out of the queue and report `why` as its error."""

    why: str


Verdict = Wait | Release | Resize | Fail


def judge(job: Job, largest: Shape) -> Verdict:
    """Return what to do about a job that is held; `largest` is what the biggest pilot offers.

    A hold by hand stays: who gave it wants to look or to wait, and HTCondor's `periodic_release`
    leaves it alone as well. The job runs after `condor_release`, and fails after `condor_rm`.
    """
    hold = job.failed_attempts[-1]
    if hold.code in BY_HAND:
        return Wait(f"was put on hold by hand ({hold.text}); it waits for condor_release")
    if hold.code == SPOOLING:
        return Wait("")
    if len(job.failed_attempts) >= SETBACKS_MAX:
        return _too_often(job)
    if hold.code in OUT_OF_RESOURCES and hold.subcode == MEMORY:
        return _more_memory(job, largest)
    if hold.code in OUT_OF_RESOURCES and hold.subcode == DISK:
        return _more_disk(job, largest)
    if hold.code in TRANSFERS or hold.code == HOOK:
        return _transfer(job, hold)
    if hold.code == NOT_STARTED and hold.subcode in _NODE_IN_TROUBLE:
        return Release(BACK_OFF_S, "met a node in trouble; trying again")
    plain = PLAIN.get(hold.code, "HTCondor put it on hold")
    return Fail(plain)


def is_ours(event: Event) -> bool:
    """Whether it tells that we hold a job to wake it, which is to be released at once."""
    return event.kind is EventKind.HELD and event.code in BY_HAND and event.subcode == WAKING


def interrupted(job: Job) -> Fail | None:
    """Return the end of a job that lost its pilot too often; None as long as it may go on.

    HTCondor runs such a job again by itself, and no retry of Snakemake is used up.
    """
    return _too_often(job) if len(job.failed_attempts) >= SETBACKS_MAX else None


def fills_disks(job: Job, why: str) -> bool:
    """Whether a job that failed for want of disk on its node did so on too many, so that it is
    likely to blame itself.
    """
    before = sum(setback.text == why for setback in job.failed_attempts)
    return job.exit_status == NODE_AT_FAULT and before + 1 >= FULL_DISKS_MAX


def history(failed_attempts: tuple[FailedAttempt, ...]) -> str:
    """Return in one line what happened where, alike things together, in order."""
    places: dict[str, list[str]] = {}
    for setback in failed_attempts:
        places.setdefault(setback.text, []).append(setback.place)
    return "; ".join(f"{text} ({', '.join(dict.fromkeys(at))})" for text, at in places.items())


def _too_often(job: Job) -> Fail:
    return Fail(f"it was started {len(job.failed_attempts)} times in vain")


def _more_memory(job: Job, largest: Shape) -> Resize | Fail:
    asked = job.job_class.shape
    most_mb = largest.memory_mb // MEMORY_QUANTUM_MB * MEMORY_QUANTUM_MB
    if asked.memory_mb >= most_mb:
        return Fail(
            f"it needs more than {asked.memory_mb} MB of memory, the most a pilot has for one job; "
            "give pilots more memory in the site file"
        )
    wanted_mb = max(GROWTH * asked.memory_mb, round(USED_MARGIN * job.used_mb))
    wanted_mb = -(-wanted_mb // MEMORY_QUANTUM_MB) * MEMORY_QUANTUM_MB
    shape = asked._replace(memory_mb=min(wanted_mb, most_mb))
    return Resize(
        shape, f"took more than {asked.memory_mb} MB of memory; asking for {shape.memory_mb} MB"
    )


def _more_disk(job: Job, largest: Shape) -> Resize | Fail:
    asked = job.job_class.shape
    if asked.disk_mb >= largest.disk_mb:
        return Fail(f"it needs more than {asked.disk_mb} MB of disk, the most a pilot has")
    shape = asked._replace(disk_mb=min(GROWTH * asked.disk_mb, largest.disk_mb))
    return Resize(
        shape, f"took more than {asked.disk_mb} MB of disk; asking for {shape.disk_mb} MB"
    )


def _transfer(job: Job, hold: FailedAttempt) -> Release | Fail:
    if hold.code == OUTPUT_TRANSFER and hold.subcode in _DISK_FULL:
        return Fail("the disk of the access point is full or over quota")
    if hold.code == INPUT_TRANSFER and hold.subcode in _UNREADABLE:
        return Fail("an input could not be read on the access point")
    failed = sum(s.code in TRANSFERS or s.code == HOOK for s in job.failed_attempts)
    if failed >= TRANSFERS_MAX:
        return Fail(f"its files could not be moved, {failed} times")
    after_s = BACK_OFF_S * BACK_OFF_FACTOR ** (failed - 1)
    return Release(after_s, f"had trouble with files; trying again in {after_s:.0f} s: {hold.text}")
