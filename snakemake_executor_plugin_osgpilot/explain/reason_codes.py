"""The meaning of Slurm's pending reasons, HTCondor's hold codes and the planner's refusals.

Slurm: https://slurm.schedmd.com/job_reason_codes.html and squeue(1), JOB REASON CODES. HTCondor:
manual, Job ClassAd Attributes, HoldReasonCode.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..jobs.state import hold_policy as holds
from ..jobs.state.start_failures import BRAKE
from ..pilots.state.circuit_breaker import DOUBT


class Meaning(NamedTuple):
    """A reason in plain words, and what to do about it (empty: wait)."""

    words: str
    step: str = ""


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
             "correct the size of pilots or `slurm.constraint` in the site file")),
    (r"(InvalidAccount|AccountNotAllowed)",
     Meaning("Slurm does not accept the account here", "correct `slurm.account` in the site file")),
    (r"InvalidQOS|QOSNotAllowed",
     Meaning("Slurm does not accept the QOS here", "correct `slurm.qos` in the site file")),
    (r"QOSUsageThreshold", Meaning("you have used too much of late for this QOS",
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
                                    "correct `slurm.reservation` in the site file")),
    (r"NodeDown", Meaning("a node that it needs is down")),
    (r"Licenses", Meaning("it waits for a licence")),
    (r"BeginTime|Cleaning|Prolog", Meaning("Slurm started it before and is making ready for "
                                           "another try")),
    (r"SystemFailure", Meaning("Slurm or a file system is in trouble", _ADMIN)),
)  # fmt: skip
"""The first pattern that matches the whole reason wins."""

HOLDS: dict[int, Meaning] = {
    1: Meaning("it was put on hold by hand (condor_hold)", "run: condor_release {job}"),
    15: Meaning("it was submitted on hold", "run: condor_release {job}"),
    16: Meaning("its inputs are on their way to the access point"),
    3: Meaning(holds.PLAIN[3], "look at the policy in its htcondor_… resources"),
    6: Meaning(holds.PLAIN[6], "see that the image is there and starts: apptainer exec IMAGE true"),
    7: Meaning(holds.PLAIN[7], "make room on the access point"),
    11: Meaning("its files could not be moved, it is not known which way"),
    12: Meaning("its outputs could not be brought back", "see that the access point has room"),
    13: Meaning("its inputs could not be sent", "see that the inputs are there and can be read"),
    14: Meaning(holds.PLAIN[14], "see that the working folder is there"),
    18: Meaning("its inputs were larger than allowed, or could not be read"),
    19: Meaning("a check of the pilot before the job failed"),
    21: Meaning("the pilot stopped it: it took more memory or disk than it had asked for"),
    22: Meaning(holds.PLAIN[22], "make room on the access point"),
    26: Meaning(holds.PLAIN[26], "read why; the administrators of the access point know more"),
    32: Meaning(holds.PLAIN[32], "make inputs smaller, or have them fetched by URL"),
    33: Meaning(holds.PLAIN[33], "make outputs smaller, or keep some as temporary"),
    34: Meaning("it took more memory or disk than it had asked for"),
    35: Meaning(holds.PLAIN[35], "correct container_image"),
    45: Meaning(holds.PLAIN[45], "see that the image starts there: apptainer exec IMAGE true"),
    46: Meaning(holds.PLAIN[46], "split the rule's work into shorter jobs"),
    47: Meaning(holds.PLAIN[47], "split the rule's work into shorter jobs"),
}

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
    BRAKE: "see why starts fail (condor_q -hold, and the logs of pilots); jobs start again later",
}
"""What to do about a refusal of the planner, by its limit."""


def of_slurm(reason: str) -> Meaning | None:
    """Return the meaning of a pending reason, None if unknown."""
    code = reason.strip("() ")
    return next((meaning for pattern, meaning in SLURM if re.fullmatch(pattern, code)), None)


def of_hold(code: int, subcode: int = 0) -> Meaning:
    """Return the meaning of a hold, and what osgpilot does about it."""
    meaning = HOLDS.get(code, Meaning("HTCondor put it on hold"))
    if code in holds.OUT_OF_RESOURCES and subcode in (holds.MEMORY, holds.DISK):
        what, name = ("memory", "mem_mb") if subcode == holds.MEMORY else ("disk", "disk_mb")
        return Meaning(
            f"it took more {what} than it had asked for; it runs again by itself and gets more",
            f"give the rule more {name}, which saves failed starts",
        )
    if code in holds.TRANSFERS or code == holds.HOOK:
        return meaning._replace(words=f"{meaning.words}; it runs again by itself, a few times")
    return meaning
