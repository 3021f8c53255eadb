"""The direct payload: the shell commands of a job as plain scripts, without Snakemake there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from snakemake_executor_plugin_osgpilot.errors import BadInput

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables that Snakemake sets to a job's threads before a shell command (snakemake.shell)."""


@dataclass(frozen=True)
class Payload:
    """A job as files: scripts run one after the other, and paths relative to the working folder.

    `touched` are outputs that exist by declaration (`touch()`) once the commands succeeded,
    `internal` ones that only members of the group use and that stay there.
    """

    scripts: tuple[str, ...]
    shell: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    logs: tuple[str, ...]
    touched: tuple[str, ...] = ()
    internal: tuple[str, ...] = ()


def unsupported(rule: Any) -> str | None:
    """Return why jobs of `rule` cannot run as plain scripts, None if they can."""
    for kind in ("script", "notebook", "wrapper", "cwl", "template_engine"):
        if getattr(rule, kind, None):
            return f"it has a `{kind}:`"
    if rule.shellcmd is None:
        return "it has a `run:`"
    if rule.benchmark:
        return "it has a `benchmark:`"
    if getattr(rule, "shadow_depth", None):
        return "it has a `shadow:`"
    if getattr(rule, "conda_env", None):
        return "it has a `conda:` environment"
    return None


def build(job: Any) -> Payload:
    """Return the payload of a Snakemake job or group job.

    Raises `BadInput` naming rule and path when a file lies outside the working folder.
    """
    parts = _parts(job)
    made = [f for part in parts for f in part.output]
    internal = _ordered(str(f) for f in made if _internal(f, job))
    outputs = tuple(f for f in _ordered(map(str, made)) if f not in internal)
    inputs = _ordered(str(f) for part in parts for f in part.input)
    payload = Payload(
        scripts=tuple(_script(part) for part in parts),
        shell=_shell(parts[0]),
        inputs=tuple(f for f in inputs if f not in outputs and f not in internal),
        outputs=outputs,
        logs=_ordered(str(f) for part in parts for f in part.log),
        touched=_ordered(str(f) for f in made if _flagged(f, "touch")),
        internal=internal,
    )
    for path in (*payload.inputs, *payload.outputs, *payload.internal, *payload.logs):
        _check_inside(path, job)
    return payload


def _parts(job: Any) -> list[Any]:
    """Return the single jobs of `job` in an order in which they can run one after the other."""
    return [part for level in job.toposorted for part in level] if job.is_group() else [job]


def _script(job: Any) -> str:
    from snakemake.shell import shell

    exports = [f"export {name}={int(job.threads)}" for name in THREAD_VARIABLES]
    prefix = shell._get_process_prefix(_shell(job))
    command = " ".join((prefix, job.shellcmd, shell._process_suffix)).strip()
    return "\n".join((*exports, command, ""))


def _shell(job: Any) -> str:
    from snakemake.shell import shell

    # the execution point has its own path to it
    return PurePosixPath(job.resources.get("shell_exec") or shell.get_executable() or "sh").name


def _internal(file: Any, job: Any) -> bool:
    """Whether only members of the group need `file`: temporary and made and used within it."""
    if not job.is_group() or not _flagged(file, "temp"):
        return False
    wanted_outside = {str(f) for f in job.output}
    return str(file) not in wanted_outside


def _flagged(file: Any, flag: str) -> bool:
    return bool((getattr(file, "flags", None) or {}).get(flag))


def _ordered(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _check_inside(path: str, job: Any) -> None:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise BadInput(
            f"{job.name}: {path} lies outside the working folder; "
            "copy or link it below the working folder and use the relative path"
        )
