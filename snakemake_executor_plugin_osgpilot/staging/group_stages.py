"""Split groups at members with a value that depends on a file which the group makes.

Snakemake would evaluate such a value where the group runs. In a group of its own, after what makes
the file, the member is evaluated here, as any job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ..common.snakemake_compat import regroup
from ..common.snakemake_types import Dag, SingleJob
from .early_values import late_value, made_in_group
from .payload import flagged, members

logger = logging.getLogger(__name__)

Dependencies = Mapping[SingleJob, Mapping[SingleJob, Iterable[str]]]


def split_groups(dag: Dag, serves: Callable[[SingleJob], bool]) -> None:
    """Split the groups of jobs that `serves` is true of where a member's value needs it.

    Call it before the first job is handed over. A group that has to stay together (`pipe()`,
    `service()`, `nodelocal()`) is left: its members are refused when they are prepared.
    """
    jobs = [job for job in dag.needrun_jobs() if job.group is not None and serves(job)]
    groups = {id(group): group for group in map(dag.get_job_group, jobs) if group is not None}
    moved: dict[SingleJob, str] = {}
    for group in groups.values():
        parts = members(group)
        late = {part: why for part in parts if (why := _late(part))}
        if not late:
            continue
        stage_of = stages(parts, dag.dependencies, late)
        if not _is_joined(parts, dag.dependencies, stage_of):
            moved |= {part: f"{part.group}.{stage_of[part]}" for part in parts}
            for rule, why in {str(part.rule): why for part, why in late.items()}.items():
                logger.info("rule %s: %s; so group %s ends before it", rule, why, group.groupid)
    if moved:
        regroup(dag, moved)


def stages(
    parts: Sequence[SingleJob], dependencies: Dependencies, late: Collection[SingleJob]
) -> dict[SingleJob, int]:
    """Return for each member of a group the number of late ones on the longest way to it.

    `parts` are in an order in which they can run. No member depends on one of a later stage.
    """
    found: dict[SingleJob, int] = {}
    for part in parts:
        before = [found[dep] for dep in dependencies[part] if dep in found]
        found[part] = max(before, default=0) + (part in late)
    return found


def _late(job: SingleJob) -> str | None:
    inner = made_in_group(job)
    return late_value(job, inner) if inner else None


def _is_joined(
    parts: Sequence[SingleJob],
    dependencies: Dependencies,
    stage_of: Mapping[SingleJob, int],
) -> bool:
    """Return True if members of different stages have to run in one job."""
    for part in parts:
        for dep in dependencies[part]:
            apart = dep in stage_of and stage_of[dep] != stage_of[part]
            if apart and any(flagged(f, flag) for f in dep.output for flag in _JOINING):
                return True
    return False


_JOINING = ("pipe", "service", "nodelocal")
