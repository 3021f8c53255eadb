"""Polling intervals for Slurm and the pool."""

from __future__ import annotations

LOOK_EVERY_S = 20.0
LOOK_SOONEST_S = 3.0
"""Slurm is polled every LOOK_EVERY_S; sooner on demand, but not within LOOK_SOONEST_S. With
`Policy.launches_max` of 10, that is at most about three sbatch per second: slurmctld is a shared
service. Snakemake's default for jobs is 100 (`--max-jobs-per-timespan`, 9.27)."""

ASK_POOL_EVERY_S = 60.0
"""The collector is shared by all users; HTCondor recommends at most one query per minute
(Scalable Job Tracking, Access Point policy configuration)."""


def poll_delay_s(*, soon: bool, live: bool) -> float:
    """Return the time between two polls of Slurm.

    `soon` requests an early poll; `live` is True if there are pilots: without any there is nothing
    to query, and the first jobs need some at once.
    """
    if not soon:
        return LOOK_EVERY_S
    return LOOK_SOONEST_S if live else 0.0
