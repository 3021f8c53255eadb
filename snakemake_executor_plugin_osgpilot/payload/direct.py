"""The direct payload: the shell commands of a job as plain scripts, without Snakemake there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from snakemake_executor_plugin_osgpilot.payload.model import (
    Payload,
    exports,
    flagged,
    members,
    ordered,
)

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables that Snakemake sets to a job's threads before a shell command (snakemake.shell)."""

_NEEDS_SNAKEMAKE = {
    "script": "a `script:`",
    "notebook": "a `notebook:`",
    "wrapper": "a `wrapper:`",
    "cwl": "a `cwl:`",
    "template_engine": "a `template_engine:`",
    "benchmark": "a `benchmark:`",
    "shadow_depth": "a `shadow:`",
    "env_modules": "`envmodules:`",
}


def unsupported(rule: Any, *, conda: bool) -> str | None:
    """Return why jobs of `rule` cannot run as plain scripts, None if they can.

    `conda` says whether Snakemake was told to use the rules' conda environments.
    """
    for directive, name in _NEEDS_SNAKEMAKE.items():
        if getattr(rule, directive, None):
            return f"it has {name}"
    if rule.shellcmd is None:
        return "it has a `run:`"
    if conda and getattr(rule, "conda_env", None):
        return "it has a `conda:` environment"
    for flag in ("ensure", "pipe", "service", "update"):
        if any(flagged(file, flag) for file in rule.output):
            return f"it has an `{flag}()` output"
    return None


def build(job: Any, environment: Mapping[str, str]) -> Payload:
    """Return the payload of a Snakemake job or group job whose rules are all supported.

    `environment` has the workflow's `envvars:`. Raises `BadInput` naming rule and path when a
    file lies outside the working folder.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    internal = ordered(file for file in made if _internal(file, job))
    outputs = tuple(path for path in ordered(made) if path not in internal)
    inputs = ordered(file for part in parts for file in part.input)
    own = set(outputs) | set(internal)
    return Payload(
        scripts=tuple(_script(part, environment) for part in parts),
        interpreter=_shell(parts[0]),
        inputs=tuple(path for path in inputs if path not in own),
        outputs=outputs,
        logs=ordered(file for part in parts for file in part.log),
        touched=ordered(file for file in made if flagged(file, "touch")),
        internal=internal,
        protected=ordered(file for file in made if flagged(file, "protected")),
    ).checked(job.name)


def _script(job: Any, environment: Mapping[str, str]) -> str:
    from snakemake.shell import shell

    threads = dict.fromkeys(THREAD_VARIABLES, str(int(job.threads)))
    prefix = shell._get_process_prefix(_shell(job))
    command = " ".join((prefix, job.shellcmd, shell._process_suffix)).strip()
    return f"{exports({**environment, **threads})}{command}\n"


def _shell(job: Any) -> str:
    from snakemake.shell import shell

    # the execution point has its own path to it
    return PurePosixPath(job.resources.get("shell_exec") or shell.get_executable() or "sh").name


def _internal(file: Any, job: Any) -> bool:
    """Whether only members of the group need `file`: temporary and made and used within it."""
    if not job.is_group() or not flagged(file, "temp"):
        return False
    return str(file) not in {str(wanted) for wanted in job.output}
