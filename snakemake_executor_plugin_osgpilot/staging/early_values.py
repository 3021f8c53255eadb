"""Values of jobs before their inputs exist, when functions of the workflow may fail.

Snakemake evaluates resources, threads and params when a job is ready. Whoever asks earlier gets
what is known; a function that fails then is no mistake of the workflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ..common.snakemake_compat import is_default_expression, shell_command, takes_input
from ..common.snakemake_types import AnyJob, DeclaredResource, SingleJob
from .payload import unknown
from .templates import is_template


def resources_of(job: AnyJob) -> Mapping[str, Any]:
    """Return the job's resources; if a function of it fails, those that are constants."""
    found: Mapping[str, Any]
    try:
        found = cast("Mapping[str, Any]", job.resources)
    except Exception:
        found = {
            name: resource.value
            for name, resource in cast("SingleJob", job).rule.resources.items()
            if not resource.is_evaluable() and resource.value is not None
        }
    return found


def values_of(resources: Mapping[str, object]) -> tuple[tuple[str, type, object], ...]:
    """Return the resources as a key for what depends on them alone: 1, 1.0 and True differ."""
    return tuple((name, type(value), value) for name, value in resources.items())


def threads_of(job: AnyJob) -> int:
    """Return the job's threads, 1 if its function fails."""
    try:
        return int(job.threads)
    except Exception:
        return 1


def params_of(job: SingleJob) -> list[object]:
    """Return the values of the job's params, none if a function of it fails."""
    try:
        return list(job.params)
    except Exception:
        return []


def made_in_group(job: SingleJob) -> list[str]:
    """Return the inputs of `job` that other members of its group make."""
    group = job.dag.get_job_group(job)
    if group is None:
        return []
    by_job = job.dag.dependencies[job]
    return [str(file) for member, files in by_job.items() if member in group.jobs for file in files]


def late_value(job: SingleJob, inner: list[str]) -> str | None:
    """Return why a value is known only once the group has made the inputs `inner`, or None."""
    if _has_late_params(job, inner):
        return f"a parameter depends on {inner[0]}, which its group makes"
    late = list(_late_resources(job, inner))
    if _is_late_thread_count(job, inner):
        named = "threads"
    elif is_template(job.rule):
        return f"its template has to be rendered when its group has made {inner[0]}"
    elif job.rule.shellcmd is None:
        # locally there are none of Snakemake's own formulas; so direct leaves them out
        own = (name for name in late if not is_default_expression(_declared(job, name)))
        named = next(own, "")
    else:
        named = _named_in_command(job, late)
    return f"its {named} depends on {inner[0]}, which its group makes" if named else None


class _LateValueError(Exception):
    """A command names a value that is not known yet."""


class _LateValue:
    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        raise _LateValueError(self._name)

    def __format__(self, _: str) -> str:
        raise _LateValueError(self._name)


def _named_in_command(job: SingleJob, late: list[str]) -> str:
    """Return the first of the resources that the job's command names, empty if none."""
    if not late:
        return ""
    given = {**dict(job.resources.items()), **{name: _LateValue(name) for name in late}}
    try:
        made: Any = type(job.resources)
        shell_command(job, made(fromdict=given))
    except _LateValueError as error:
        return str(error)
    except Exception:
        # it is reported when the job is ready
        return ""
    return ""


def _late_resources(job: SingleJob, inner: list[str]) -> Iterator[str]:
    """Yield the resources that Snakemake knows only once its group has made the files `inner`.

    If one of them is there from an earlier run, a function of the inputs gives an old value.
    """
    old = any(Path(path).exists() for path in inner)
    for name, value in resources_of(job).items():
        late = unknown(value) or (old and takes_input(_declared(job, name)))
        if late and name not in ("tmpdir", "_cores"):
            yield name


def _declared(job: SingleJob, name: str) -> DeclaredResource:
    """Return what a job's rule says of a resource; `mem` and `mem_mib` follow from `mem_mb`."""
    resources = job.rule.resources
    return resources.get(name if name in resources else f"{name.removesuffix('_mib')}_mb")


def _is_late_thread_count(job: SingleJob, inner: list[str]) -> bool:
    """Return True if the threads are a function of inputs of which `inner` may be old."""
    old = any(Path(path).exists() for path in inner)
    return old and takes_input(job.rule.resources.get("_cores"))


def _has_late_params(job: SingleJob, inner: list[str]) -> bool:
    """Return True if Snakemake knows a parameter only once its group has made the files `inner`."""
    if any("<TBD>" in str(value) for value in params_of(job)):
        return True
    given = (*job.rule.params, *dict(job.rule.params.items()).values())
    return any(Path(path).exists() for path in inner) and any(map(takes_input, given))
