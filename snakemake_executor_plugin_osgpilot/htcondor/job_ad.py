"""Convert job ads to snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..jobs.state.events import NO_USAGE, Usage
from ..jobs.state.hold_policy import SPOOLING
from .event_log import exit_status
from .polling import JobSnapshot, Status
from .submit_description import PILOT_ATTRIBUTES

PILOT, ALLOCATION, NODE = (f"MachineAttr{name}0" for name in PILOT_ATTRIBUTES)
"""Attributes of a job for its latest start (submit command `job_machine_attrs`)."""

ATTRIBUTES = (
    *("JobStatus", "ServerTime", "QDate", "EnteredCurrentStatus", "NumShadowStarts", "NumHolds"),
    *("JobCurrentStartDate", "JobCurrentStartExecutingDate", "RemoteHost"),
    *(PILOT, ALLOCATION, NODE),
    *("ExitCode", "ExitBySignal", "ExitSignal", "ResidentSetSize"),
    *("RemoteUserCpu", "RemoteSysCpu", "DiskUsage", "BytesRecvd", "BytesSent"),
    *("HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RemoveReason"),
    *("VacateReasonCode", "VacateReason", "CompletionDate"),
)
"""HTCondor manual, Job ClassAd Attributes. ServerTime comes with every answer of a schedd."""

FETCHED = "osgpilot: its outputs were fetched"
"""Why a job is removed that had ended: at an access point on another host it stays until then."""

JOB_KEY = "OSGPilotJobKey"
"""The attribute with the run and the key of a job, or those of the members of a bundle."""

_REASON = {
    Status.IDLE: "VacateReason",
    Status.HELD: "HoldReason",
    Status.REMOVED: "RemoveReason",
}


def job_snapshot(ad: Mapping[str, Any]) -> JobSnapshot:
    """Return the snapshot of a job; undefined attributes are missing in `ad`.

    A job whose inputs have not arrived yet (held with SPOOLING), or whose image is on its way to
    the pilot (BLOCKED), counts as idle; one that was removed after its end, as completed.
    """
    status = Status(ad["JobStatus"])
    code = int(ad.get("HoldReasonCode", 0))
    if status is Status.BLOCKED or (status is Status.HELD and code == SPOOLING):
        status = Status.IDLE
    if status is Status.IDLE:
        code = int(ad.get("VacateReasonCode", 0))
    since_s = float(ad.get("EnteredCurrentStatus", 0))
    if status is Status.REMOVED and str(ad.get("RemoveReason", "")).startswith(FETCHED):
        status, since_s = Status.COMPLETED, float(ad.get("CompletionDate", since_s))
    claimed_s, began_s = (
        ad.get(name) for name in ("JobCurrentStartDate", "JobCurrentStartExecutingDate")
    )
    ran = began_s is not None and began_s >= (claimed_s or 0)
    # until the shadow of a start runs, the ad has the pilot of an earlier one
    pilot, allocation_id, node = (
        str(ad.get(name, "")) if ran or "RemoteHost" in ad else ""
        for name in (PILOT, ALLOCATION, NODE)
    )
    return JobSnapshot(
        status,
        seen_s=float(ad.get("ServerTime", since_s)),
        queued_s=float(ad.get("QDate", since_s)),
        since_s=since_s,
        starts=int(ad.get("NumShadowStarts", 0)),
        holds=int(ad.get("NumHolds", 0)),
        started_s=float(began_s) if ran and began_s is not None else None,
        pilot=pilot,
        allocation_id=allocation_id,
        node=node,
        exit_status=_exit_status(ad) if status is Status.COMPLETED else None,
        code=code,
        subcode=int(ad.get("HoldReasonSubCode", 0)),
        memory_mb=-(-int(ad.get("ResidentSetSize", 0)) // 1024),
        usage=_usage(ad) if status is Status.COMPLETED else NO_USAGE,
        text=" ".join(str(ad.get(_REASON.get(status, ""), "")).split()),
    )


def _usage(ad: Mapping[str, Any]) -> Usage:
    cpu_s = float(ad.get("RemoteUserCpu", 0)) + float(ad.get("RemoteSysCpu", 0))
    memory_mb, disk_mb = (
        -(-int(ad.get(name, 0)) // 1024) for name in ("ResidentSetSize", "DiskUsage")
    )
    moved_kb = (float(ad.get(name, 0)) / 1024 for name in ("BytesRecvd", "BytesSent"))
    return Usage(cpu_s, memory_mb, disk_mb, *moved_kb)


def _exit_status(ad: Mapping[str, Any]) -> int:
    signal = ad.get("ExitSignal", 0) if ad.get("ExitBySignal") else None
    return exit_status(ad.get("ExitCode", 0), signal)
