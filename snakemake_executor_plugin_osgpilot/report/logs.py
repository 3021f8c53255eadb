"""Find the files with the output of a job or a pilot. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from ..common.failure_text import summary
from ..htcondor.submit_description import JOB_OUTPUT
from ..jobs.state.job_ids import htcondor_id
from ..slurm.commands import LOG
from .entities import Job
from .replay import ReplayedRun

WORKING_FOLDER = "../../.."
"""The working folder from the folder of a run, which is `.snakemake/osgpilot/RUN`."""


@dataclass(frozen=True)
class Log:
    """A file, absolute or relative to the run's folder, and whose output it has."""

    title: str
    path: PurePath


def logs_of(name: str, replayed: ReplayedRun) -> list[Log]:
    """Return the logs of a rule, a pilot or a job, in this order; nothing if `name` is unknown."""
    of_rule = [job for job in replayed.jobs.values() if job.rule == name]
    if of_rule:
        return [log for job in of_rule for log in _of_job(job, replayed)]
    pilots = [p for p in replayed.pilots.values() if name in p.names]
    if pilots:
        several = len({pilot.site for pilot in replayed.pilots.values()}) > 1
        return [
            Log(
                f"pilot {p.allocation or p.name}{f' at {p.site}' * several}: {p.state}",
                PurePath("pilots", PurePath(p.name).name, LOG),
            )
            for p in pilots
        ]
    jobs = [
        job
        for job in replayed.jobs.values()
        if name in (job.job_id, htcondor_id(job.job_id), job.key, *job.names)
    ]
    return [log for job in jobs[-1:] for log in _of_job(job, replayed)]


def _of_job(job: Job, replayed: ReplayedRun) -> list[Log]:
    """Return the files of the `log:` of a failed job's rule, and the output of a job."""
    ids = f" (HTCondor job {job.job_id})" if job.job_id else ""
    why = f", {summary(job.text)}" if job.state == "failed" and job.text else ""
    state = replayed.state_of(job)
    paths = (
        *(PurePath(WORKING_FOLDER, log) for log in job.logs),
        PurePath("jobs", PurePath(job.key).name, JOB_OUTPUT),
    )
    return [Log(f"{job.title}{ids}: {state}{why}", path) for path in paths]
