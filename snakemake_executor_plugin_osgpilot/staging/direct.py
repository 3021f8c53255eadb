"""The direct payload: shell commands of a job as plain scripts, without Snakemake."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from snakemake.shell import shell
from snakemake.utils import format as formatted

from ..common.snakemake_compat import with_shell_affixes
from ..errors import InputError
from .path_rewriting import PathRewriter, rewriter_of
from .payload import (
    TMPDIR,
    TMPDIR_VARIABLES,
    Payload,
    exports,
    flagged,
    label,
    members,
    needed_from_outside,
    stays_within,
)
from .scripts import runs_alone, script_lines
from .transfer_policy import TransferMethod, TransferPolicy, ordered

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
    "notebook": "a `notebook:`",
    "wrapper": "a `wrapper:`",
    "cwl": "a `cwl:`",
    "template_engine": "a `template_engine:`",
    "benchmark": "a `benchmark:`",
    "shadow_depth": "a `shadow:`",
}

_DEPLOYED = {
    "conda": ("conda_env", "a `conda:` environment"),
    "env-modules": ("env_modules", "`envmodules:`"),
}
"""Directives that apply only if the user enables them (`--sdm`)."""


def unsupported(job: Any, traffic: TransferPolicy, deployment: Collection[str]) -> str | None:
    """Return why `job` cannot run as plain scripts, None if it can.

    `deployment` are the enabled software deployment methods (`--sdm`).
    """
    rule = job.rule
    for directive, name in _NEEDS_SNAKEMAKE.items():
        if getattr(rule, directive, None):
            return f"it has {name}"
    if rule.script and not runs_alone(rule):
        return "it has a `script:` that is neither bash nor R"
    if rule.shellcmd is None and not rule.script:
        return "it has a `run:`"
    for method, (directive, name) in _DEPLOYED.items():
        if method in deployment and getattr(rule, directive, None):
            return f"it has {name}"
    for flag in ("ensure", "pipe", "service", "update"):
        if any(flagged(file, flag) for file in rule.output):
            return f"it has an `{flag}()` output"
    return _needs_evaluation_there(job) or _storage(job, traffic)


def _needs_evaluation_there(job: Any) -> str | None:
    """Return why a value can only be computed by Snakemake on the execution point, or None."""
    tmpdir = job.rule.resources.get("tmpdir")
    if tmpdir.is_evaluable() and tmpdir.raw != "system_tmpdir":
        return "its `tmpdir` has to be computed there"
    if any("<TBD>" in str(value) for value in job.params):
        return "a parameter depends on its `tmpdir`"
    return None


def _storage(job: Any, traffic: TransferPolicy) -> str | None:
    """Return why HTCondor cannot transfer the job's files in storage, or None."""
    stored = [file for file in job.input if traffic.into(file) is TransferMethod.STORAGE]
    made = [*job.output, *job.log]
    stored += [file for file in made if traffic.out_of(file) is TransferMethod.STORAGE]
    if stored:
        return f"Snakemake has to transfer {stored[0].storage_object.print_query}"
    if _clash(traffic.urls(job.input), (*job.input, *made)):
        return "files in storage have the same name"
    if len(traffic.keys(job.input)) > 1:
        return "its files in S3 need different keys"
    return None


def _clash(urls: Iterable[tuple[str, str]], files: Iterable[Any]) -> bool:
    """Return True if two files would get the same name; HTCondor puts URLs in the top folder."""
    names = [PurePosixPath(url).name for url, _ in urls]
    return len(set(names)) < len(names) or not set(names).isdisjoint(map(str, files))


def build(job: Any, environment: Mapping[str, str], traffic: TransferPolicy) -> Payload:
    """Return the payload of a Snakemake job or group job whose members are all supported.

    `environment` has the workflow's `envvars:`. Raises `InputError`, see `Payload.placed`.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    used = needed_from_outside(job)
    clash = _clash(traffic.urls(used), (*used, *made)) or len(traffic.keys(used)) > 1
    _check_group(job, parts, clash=clash)
    internal = ordered(file for file in made if stays_within(job, file))
    back = traffic.outputs(made)
    paths = rewriter_of(job, traffic)
    built = [_script(part, environment, traffic, paths) for part in parts]
    scripts, named = zip(*built, strict=True)
    return Payload(
        scripts=scripts,
        interpreter=_shell(parts[0]),
        inputs=ordered((*traffic.inputs(used), *(file for files in named for file in files))),
        outputs=tuple(path for path in back if path not in internal),
        logs=traffic.outputs(file for part in parts for file in part.log),
        touched=(*ordered(file for file in made if flagged(file, "touch")), *_timestamps(made)),
        internal=tuple(path for path in internal if path in back),
        protected=ordered(file for file in made if flagged(file, "protected")),
        folders=ordered(file for file in made if flagged(file, "directory")),
        shared=tuple(p for p in traffic.outputs(made, TransferMethod.SHARED) if p not in internal),
        shared_prefixes=traffic.shared_prefixes,
        urls=traffic.urls(used),
        unknown=ordered(path for script in scripts for path in paths.unknown(script)),
    ).placed(job)


def _check_group(job: Any, parts: Sequence[Any], *, clash: bool) -> None:
    """Raise `InputError` if members of a group conflict that could each run alone."""
    shells = {_shell(part) for part in parts}
    if clash or len(shells) > 1:
        both = "files in storage have the same name or need different keys"
        what = both if clash else "its rules use different shells"
        raise InputError(
            f"{label(job)}: {what}; take a rule out of the group or set its resource "
            "osgpilot_payload to snakemake"
        )


def _script(
    job: Any, environment: Mapping[str, str], traffic: TransferPolicy, paths: PathRewriter
) -> tuple[str, tuple[str, ...]]:
    """Return the script of one job, and undeclared files that it names."""
    resources = _resources(job)
    variables = {
        **environment,
        **dict.fromkeys(THREAD_VARIABLES, str(int(job.threads))),
        **dict.fromkeys(TMPDIR_VARIABLES, resources.get("tmpdir", TMPDIR)),
    }
    prepared = ""
    if job.rule.script:
        prepared, command = script_lines(job, resources)
        prepared, named = paths.rewritten(prepared)
    else:
        command, named = paths.rewritten(_command(job, resources))
    whole = with_shell_affixes(command, _shell(job))
    text = f"{exports(variables)}{_shared_places(job, traffic, resources)}{prepared}{whole}\n"
    return text, named


def _command(job: Any, resources: Any) -> str:
    """Return the rule's shell command, formatted as Snakemake's `shell` does it.

    Names are those of the Snakefile with the rule, which in a module are not the workflow's.
    Raises `InputError` for an unknown name.
    """
    theirs = {name: value for name, value in job.rule.module_globals.items() if name not in _TAKEN}
    own = {name: getattr(job, name) for name in _OF_A_JOB}
    try:
        text = formatted(
            job.rule.shellcmd,
            **theirs, **own, resources=resources, rule=job.rule.name, bench_iteration=None,
        )  # fmt: skip
    except Exception as error:
        raise InputError(
            f"rule {job.rule.name}: its command cannot be formatted: {error}"
        ) from error
    return str(text)


_OF_A_JOB = ("input", "output", "params", "wildcards", "threads", "log", "jobid")

_TAKEN = {
    *_OF_A_JOB,
    *("resources", "rule", "bench_iteration"),
    *("_pattern", "stepout", "_quote_all", "quote_func"),
}
"""Names that a job defines for its command, and parameters of `snakemake.utils.format`."""


def _resources(job: Any) -> Any:
    """Return the job's resources with the `tmpdir` of the execution point."""
    wanted = job.rule.resources.get("tmpdir")
    tmpdir = TMPDIR if wanted.is_evaluable() else wanted.value
    resources = dict(job.resources.items())
    return type(job.resources)(fromdict={**resources, **({"tmpdir": tmpdir} if tmpdir else {})})


def _shared_places(job: Any, traffic: TransferPolicy, resources: Any) -> str:
    """Return shell lines that prepare shared folders as Snakemake does before a job.

    They remove old outputs and create folders; files that travel back need neither.
    """
    lines = []
    for file in (*job.output, *job.log):
        if traffic.out_of(file) is TransferMethod.SHARED:
            path = shlex.quote(str(file))
            old = "-rf" if flagged(file, "directory") else "-f"
            folder = shlex.quote(os.path.dirname(str(file)))  # noqa: PTH120
            lines.append(f"rm {old} -- {path} && mkdir -p -- {folder} || exit\n")
    if resources.get("tmpdir", TMPDIR) != TMPDIR:
        lines.append(f"mkdir -p -- {shlex.quote(str(resources.tmpdir))} || exit\n")
    return "".join(lines)


def _shell(job: Any) -> str:
    # its path on the execution point may differ
    return PurePosixPath(job.resources.get("shell_exec") or shell.get_executable() or "sh").name


def _timestamps(files: Iterable[Any]) -> list[str]:
    """Return the timestamp files of folders."""
    return [f"{file}/.snakemake_timestamp" for file in files if flagged(file, "directory")]
