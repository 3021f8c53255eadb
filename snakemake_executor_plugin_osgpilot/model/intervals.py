"""How often a run looks at Slurm, and how often it asks the pool."""

from __future__ import annotations

LOOK_EVERY_S = 20.0
LOOK_SOONEST_S = 3.0
"""Slurm is asked every LOOK_EVERY_S; sooner when there is reason, not within LOOK_SOONEST_S. With
`Policy.launches_max` of 3, that is one sbatch a second at most: slurmctld serves everybody."""

ASK_POOL_EVERY_S = 60.0
"""The collector serves everybody; HTCondor's advice is once a minute at most
(Scalable Job Tracking, Access Point policy configuration)."""


def look_after_s(*, soon: bool, live: bool) -> float:
    """Return how long after a look the next one is due.

    `soon` says that there is reason for one, `live` that there are pilots: without any there is
    nothing to ask Slurm about, and the first jobs need some at once.
    """
    if not soon:
        return LOOK_EVERY_S
    return LOOK_SOONEST_S if live else 0.0
