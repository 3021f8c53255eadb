"""The meaning of Slurm's pending reasons, HTCondor's holds and the planner's refusals.

Slurm: https://slurm.schedmd.com/job_reason_codes.html and squeue(1), JOB REASON CODES. The codes of
holds are in `jobs.state.hold_codes`.
"""

from __future__ import annotations

import re

from ..jobs.state import hold_policy as holds
from ..jobs.state.hold_codes import HOLDS, UNKNOWN_HOLD, Meaning
from ..jobs.state.start_failures import START_FAILURE_LIMIT
from ..pilots.state.circuit_breaker import DOUBT

_PARTITION = "name another partition in the site file, or ask the cluster's administrators"
_SMALLER = "make pilots smaller or shorter in the site file"
_ADMIN = "ask the cluster's administrators"

SLURM: tuple[tuple[str, Meaning], ...] = (
    (r"None", Meaning("Slurm has not looked at it yet, in this round of its scheduler")),
    (r"Resources", Meaning("it is among the next to start, but its cores, memory or GPUs are in "
                           "use by other jobs")),
    (r"Priority", Meaning("jobs of higher priority come first", "wait; pilots that are smaller or "
                          "shorter may find a gap sooner, see `smallest_cores` and the walltimes "
                          "in the site file")),
    (r"(QOS|Assoc)Grp\w*Minutes\w*",
     Meaning("the core-hours (or the like) of your account or QOS are used up",
             "ask who runs your allocation for more, or use another account")),
    (r"(QOS|Assoc)GrpSubmitJobs\w*|\w*MaxSubmitJob\w*",
     Meaning("there may be no more jobs of your account, QOS or user in Slurm's queue",
             "lower --osgpilot-max-pending, or wait until other jobs have gone")),
    (r"QOSMin\w+", Meaning("it asks for less than the QOS demands of a job",
                           "make pilots larger in the site file, or name another QOS")),
    (r"(QOS|Assoc)Max\w*Per(Job|Node)\w*|AssociationTimeLimit|QOSTimeLimit|MaxMemPerLimit",
     Meaning("it asks for more than one job may have in your account or QOS; waiting does not "
             "help", _SMALLER)),
    (r"(QOS|Assoc)Grp\w+|QOSMax\w+|AssocMax\w+|Max\w+PerAccount|\w*(Job|Resource)Limit"
     r"|AccountingPolicy",
     Meaning("your account, QOS or user has as much running as it may; it starts when other jobs "
             "end", "wait, or set --osgpilot-max-pilots or --osgpilot-max-cores to what the limit "
             "allows")),
    (r"PartitionTimeLimit", Meaning("its walltime is longer than the partition allows",
                                    "lower the walltime of pilots in the site file")),
    (r"PartitionNodeLimit|PartitionConfig",
     Meaning("the partition does not allow it, or its nodes are down", _PARTITION)),
    (r"Partition(Down|Inactive)", Meaning("the partition starts no jobs now", _PARTITION)),
    (r"BadConstraints|Constraints",
     Meaning("no node has what it asks for (constraint, memory, cores, GPUs)",
             "correct the size of pilots or `constraint` in the site file")),
    (r"(InvalidAccount|AccountNotAllowed)",
     Meaning("Slurm does not accept the account here", "correct `account` in the site file")),
    (r"InvalidQOS|QOSNotAllowed",
     Meaning("Slurm does not accept the QOS here", "correct `qos` in the site file")),
    (r"QOSUsageThreshold", Meaning("you have used too much recently for this QOS",
                                   "name another QOS in the site file, or wait")),
    (r"JobHeldUser", Meaning("somebody with your rights holds it",
                             "run: scontrol release {allocation}")),
    (r"JobHeldAdmin", Meaning("an administrator holds it", _ADMIN)),
    (r"(JobHoldMaxRequeue|JobLaunchFailure|launch failed requeued held)",
     Meaning("Slurm could not start it on its node and holds it",
             "run: scancel {allocation}; another pilot is started then")),
    (r"ReqNodeNotAvail.*", Meaning("nodes that it could use are reserved, down or drained, often "
                                   "before a maintenance",
                                   "pilots shorter than the time until then start sooner: "
                                   "scontrol show reservation")),
    (r"Reservation", Meaning("its reservation has not begun")),
    (r"ReservationDeleted", Meaning("its reservation is gone",
                                    "correct `reservation` in the site file")),
    (r"NodeDown", Meaning("a node that it needs is down")),
    (r"Licenses", Meaning("it waits for a licence")),
    (r"BeginTime|Cleaning|Prolog", Meaning("Slurm started it before and is making ready for "
                                           "another try")),
    (r"SystemFailure", Meaning("Slurm or a file system is in trouble", _ADMIN)),
)  # fmt: skip
"""The first pattern that matches the whole reason wins."""

REFUSALS: dict[str, str] = {
    "budget": "raise --osgpilot-max-core-hours, or give rules a shorter `runtime` so that pilots "
    "ask for less",
    "cores_max": "raise --osgpilot-max-cores, or wait until pilots end",
    "pilots_max": "raise --osgpilot-max-pilots, or wait until pilots end",
    "pending_max": "wait until Slurm has started some, or raise --osgpilot-max-pending",
    "launches_max": "",
    "stale": "see whether squeue answers; planning resumes when it does",
    "breaker": "read why the last pilot ran no job; its log is in the run's folder, pilots/NAME",
    DOUBT: "",
    START_FAILURE_LIMIT: "see why starts fail (condor_q -hold, and the logs of pilots); jobs start "
    "again later",
}
"""The user's next step after a refusal of the planner, by its limit."""


def of_slurm(reason: str) -> Meaning | None:
    """Return the meaning of a pending reason, None if unknown."""
    code = reason.strip("() ")
    return next((meaning for pattern, meaning in SLURM if re.fullmatch(pattern, code)), None)


def of_hold(code: int, subcode: int = 0) -> Meaning:
    """Return the meaning of a hold, and what osgpilot does about it."""
    meaning = HOLDS.get(code, UNKNOWN_HOLD)
    if code in holds.OUT_OF_RESOURCES and subcode in (holds.MEMORY, holds.DISK):
        what, name = ("memory", "mem_mb") if subcode == holds.MEMORY else ("disk", "disk_mb")
        return Meaning(
            f"it took more {what} than it had asked for; it runs again by itself and gets more",
            f"give the rule more {name}, which saves failed starts",
        )
    if code in holds.TRANSFERS or code == holds.HOOK:
        return meaning._replace(words=f"{meaning.words}; it runs again by itself, a few times")
    return meaning
