"""Build payloads: commands and scripts of a job as plain shell text."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from snakemake.shell import shell
from snakemake_interface_common.exceptions import WorkflowError

from ..common.snakemake_compat import (
    evaluated_tmpdir,
    settle_params,
    shell_command,
    with_shell_affixes,
)
from ..common.snakemake_types import AnyJob, EnvironmentModules, Resources, SingleJob
from ..errors import InputError
from .cwl import cwl_lines, is_cwl
from .early_values import late_value, made_in_group, params_of, values_of
from .ensured_outputs import ensured_of
from .environment_modules import find_module
from .path_rewriting import PathRewriter, rewriter_of
from .payload import (
    TMPDIR,
    TMPDIR_VARIABLES,
    Payload,
    exports,
    flagged,
    members,
    needed_from_outside,
    unknown,
)
from .places import leads_out, working_folder
from .run_body import has_body
from .scripts import ScriptLines, has_script, script_lines
from .steps import Schedule, Step, crews_of, internal, room_of, waits_for
from .storage import problem_in_storage
from .templates import is_template, template_lines
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

BodyLines = Callable[[SingleJob, Resources, PathRewriter], tuple[str, tuple[str, ...]]]
"""Returns shell lines for a job with a `run:` and its resources, and files that these name."""

Activation = Callable[[SingleJob], str]
"""Returns shell lines that activate the conda environment of a job, none without one."""


def check_values(job: SingleJob, traffic: TransferPolicy) -> None:
    """Raise `InputError` if a value of a single job can be known only where it runs."""
    if problem := _problem_of(job, traffic):
        raise InputError(f"rule {job.rule}: {problem}")


def _problem_of(job: SingleJob, traffic: TransferPolicy) -> str | None:
    if (inner := made_in_group(job)) and (problem := late_value(job, inner)):
        # else the group would have been split (`group_stages`)
        return f"{problem}: take the rule out of group {job.group}"
    if problem := problem_in_storage(job, traffic):
        return problem
    if is_template(job.rule) and any(
        traffic.for_input(file) in (TransferMethod.URL, TransferMethod.STORAGE)
        for file in job.input
    ):
        return (
            "its template is rendered on this machine and an input of it is in storage: have "
            "Snakemake fetch it (--shared-fs-usage storage-local-copies input-output)"
        )
    return None


def without_clashes(job: AnyJob, traffic: TransferPolicy) -> TransferPolicy:
    """Return the rules for the files of a job or group job: without URLs if HTCondor cannot fetch
    all of them for it, as they have the same name or need different keys of S3.
    """
    used = needed_from_outside(job)
    if not (urls := traffic.urls(used)):
        return traffic
    made = [file for part in members(job) for file in _made(part)]
    if _clash(urls, (*used, *made)) or len(traffic.keys(used)) > 1:
        return replace(traffic, url_schemes=frozenset())
    return traffic


def _made(job: SingleJob) -> tuple[str, ...]:
    return (*job.output, *job.log, *filter(None, [job.benchmark]))


def _clash(urls: Iterable[tuple[str, str]], files: Iterable[str]) -> bool:
    """Return True if two files would get the same name; HTCondor puts URLs in the top folder."""
    names = [PurePosixPath(url).name for url, _ in urls]
    return len(set(names)) < len(names) or not set(names).isdisjoint(map(str, files))


def build(
    job: AnyJob,
    environment: Mapping[str, str],
    traffic: TransferPolicy,
    bodies: BodyLines,
    image: str = "",
    storage: str = "",
    activation: Activation = lambda job: "",
) -> Payload:
    """Return the payload of a Snakemake job or group job whose members are all supported.

    `environment` has the workflow's `envvars:`; `bodies` makes the lines of a `run:`; `image` is
    named in messages, `storage` is the script of `storage.py`; `activation` is for its members.
    Raises `InputError`, see `Payload.placed`.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    made += [part.benchmark for part in parts if part.benchmark and not _is_measured(part)]
    used = needed_from_outside(job)
    stored = {str(file) for file in made if traffic.for_output(file) is TransferMethod.STORAGE}
    # of files in storage, they are checked before these are stored
    ensured = tuple(each for each in ensured_of(job) if each.path not in stored)
    inner = internal(job) - {each.path for each in ensured}
    back = traffic.outputs(made)
    paths = rewriter_of(job, traffic)
    run = _Run(environment, traffic, bodies, image, paths, activation)
    scripts = [_scripts(part, n, run) for n, part in enumerate(parts)]
    texts = [tuple(script.write + script.command for script in each) for each in scripts]
    every = [script for each in scripts for script in each]
    measured = [(n, part.benchmark) for n, part in enumerate(parts) if _is_measured(part)]
    schedule = None
    if len(parts) > 1 or measured:
        schedule = Schedule(room_of(job), _steps(parts, texts, inner, traffic))
    bodies_there = [part for part in parts if has_body(part.rule)]
    return Payload(
        scripts=() if schedule else texts[0],
        interpreter="bash" if schedule else shell_of(parts[0]),
        inputs=ordered((*traffic.inputs(used), *(path for each in every for path in each.files))),
        outputs=tuple(path for path in back if path not in inner),
        logs=traffic.outputs(file for part in parts for file in part.log),
        with_snakefiles=bool(bodies_there),
        touched=() if schedule else _touched(made),
        internal=tuple(path for path in back if path in inner),
        protected=ordered(file for file in made if flagged(file, "protected")),
        folders=ordered(file for file in made if flagged(file, "directory")),
        shared=tuple(p for p in traffic.outputs(made, TransferMethod.SHARED) if p not in inner),
        shared_prefixes=traffic.shared_prefixes,
        urls=traffic.urls(used),
        modules=_snakemake_modules(every),
        schedule=schedule,
        storage=storage,
        benchmarks=tuple((number, str(file)) for number, file in measured),
        ensured=ensured,
        unknown=_unknown(parts, scripts, paths),
    ).placed(job)


def _unknown(
    parts: Sequence[SingleJob], scripts: Sequence[Sequence[ScriptLines]], paths: PathRewriter
) -> tuple[str, ...]:
    """Return the absolute paths that shell commands name and that do not travel."""
    commands = [each for part, each in zip(parts, scripts, strict=True) if part.rule.shellcmd]
    return ordered(
        path for each in commands for text in each for path in paths.unknown(text.command)
    )


def _snakemake_modules(scripts: Iterable[ScriptLines]) -> tuple[str, ...] | None:
    """Return the modules of Snakemake that scripts name, None if no script needs any."""
    given = [script.modules for script in scripts if script.modules is not None]
    return tuple(sorted({name for names in given for name in names})) if given else None


def _steps(
    parts: Sequence[SingleJob],
    scripts: Sequence[tuple[str, ...]],
    inner: Collection[str],
    traffic: TransferPolicy,
) -> tuple[Step, ...]:
    """Return the steps of a group job, or of a job with a benchmark."""
    alone = len(parts) == 1
    served = {str(file) for part in parts for file in part.output if flagged(file, "service")}
    ranks = zip(parts, scripts, crews_of(parts), waits_for(parts), strict=True)
    return tuple(
        Step(
            label=f"rule {part.rule.name}{_wildcards(part)}",
            interpreter=shell_of(part),
            scripts=texts,
            crew=crew,
            after=after,
            needs=room_of(part),
            shadow="" if alone or has_body(part.rule) else part.rule.shadow_depth or "",
            service=any(flagged(file, "service") for file in part.output),
            measured=_is_measured(part),
            pipes=ordered(file for file in part.output if flagged(file, "pipe")),
            uses=tuple(p for p in ordered((*part.input, *part.output)) if p in inner),
            touched=_touched(part.output),
            given=tuple(p for p in ordered(part.input) if not leads_out(p, working_folder())),
            made=traffic.outputs((*part.output, *part.log, *filter(None, [part.benchmark]))),
            wanted=() if alone else ordered(filter(_stays, part.output)),
            awaited=tuple(p for p in ordered(part.input) if p in served),
        )
        for part, texts, crew, after in ranks
    )


def _stays(file: str) -> bool:
    return not flagged(file, "pipe") and not flagged(file, "service")


def _wildcards(job: SingleJob) -> str:
    text = ", ".join(f"{name}={value}" for name, value in job.wildcards_dict.items())
    return f" ({text})" if text else ""


@dataclass(frozen=True)
class _Run:
    """The settings that the scripts of all members share, see `build`."""

    environment: Mapping[str, str]
    traffic: TransferPolicy
    bodies: BodyLines
    image: str
    paths: PathRewriter
    activation: Activation


def _is_measured(job: SingleJob) -> bool:
    """Return True if a benchmark is taken from outside; Snakemake's own code measures a body."""
    return bool(job.benchmark) and not has_body(job.rule)


def _scripts(job: SingleJob, number: int, run: _Run) -> tuple[ScriptLines, ...]:
    """Return the script of one job, or one for each repeat of its benchmark.

    `number` is that of the job in its group.
    """
    repeats = range(job.benchmark_repeats or 1) if _is_measured(job) else (None,)
    return tuple(_script(job, number, each, run) for each in repeats)


def _script(job: SingleJob, number: int, repeat: int | None, run: _Run) -> ScriptLines:
    """Return the shell text of one job: what prepares it, and its command."""
    resources = resources_there(job)
    settle(job, resources)
    before = prologue(job, run.environment, run.traffic, resources)
    if has_body(job.rule):
        return ScriptLines(before, *run.bodies(job, resources, run.paths))
    if has_script(job.rule):
        lines = script_lines(job, resources, run.paths, run.image, number=number, repeat=repeat)
    elif is_cwl(job.rule):
        lines = cwl_lines(job, resources, run.paths, run.image, number)
    elif is_template(job.rule):
        lines = ScriptLines("", template_lines(job))
    else:
        lines = ScriptLines("", *run.paths.rewritten(command_of(job, resources, repeat)))
    before = f"{before}{lines.write}"
    whole = with_shell_affixes(lines.command, shell_of(job))
    if modules := _modules(job):
        before += find_module(job.rule.name)
        whole = modules.shellcmd(whole)
    # like Snakemake before the command with its prefix, and so before `set -u`
    whole = f"{run.activation(job)}{whole}"
    return replace(lines, write=before, command=f"{whole}\n")


def settle(job: SingleJob, resources: Resources) -> None:
    """Have the params of a job evaluated that depend on the `tmpdir` of the execution point."""
    if any("<TBD>" in str(value) for value in params_of(job)):
        settle_params(job, resources)


def prologue(
    job: SingleJob, environment: Mapping[str, str], traffic: TransferPolicy, resources: Resources
) -> str:
    """Return the shell lines before all else in the script of a job: variables, shared folders."""
    tmpdir = resources.get("tmpdir", TMPDIR)
    variables = {**environment, **dict.fromkeys(TMPDIR_VARIABLES, tmpdir)}
    if not has_body(job.rule):
        variables |= dict.fromkeys(THREAD_VARIABLES, str(int(job.threads)))
    return f"{exports(variables)}{_shared_places(job, traffic, resources)}"


def command_of(job: SingleJob, resources: Resources, repeat: int | None = None) -> str:
    """Return the rule's shell command as it runs locally. Raises `InputError` for a mistake."""
    try:
        return shell_command(job, resources, repeat)
    except WorkflowError:
        # of a function of the rule, as Snakemake says it
        raise
    except Exception as error:
        raise InputError(
            f"rule {job.rule.name}: its command cannot be formatted: {error}"
        ) from error


def _modules(job: SingleJob) -> EnvironmentModules | None:
    """Return the environment modules of a job, None if there are none or they are not enabled."""
    methods = job.rule.workflow.deployment_settings.deployment_method
    return job.env_modules if "env-modules" in map(str, methods) else None


def resources_there(job: SingleJob) -> Resources:
    """Return the job's resources with the `tmpdir` of the execution point, sorted by name.

    Snakemake has them in another order in every process, and a resumed run compares jobs.
    What nobody knows yet is left out of a script's: as a value of Snakemake's own formulas, it is
    not there locally either (`early_values.late_value`).
    """
    tmpdir = tmpdir_there(job)
    resources = dict(sorted(job.resources.items()))
    if job.rule.shellcmd is None:
        resources = {name: value for name, value in resources.items() if not unknown(value)}
    if tmpdir:
        resources["tmpdir"] = tmpdir
    kind: Any = type(job.resources)
    try:
        return _resource_list(kind, values_of(resources))
    except TypeError:
        # a value that cannot be hashed, such as a list
        made: Resources = kind(fromdict=resources)
        return made


def tmpdir_there(job: SingleJob) -> object:
    """Return the value of `resources.tmpdir` on the execution point; None if the rule wants none.

    An expression (every value of `--default-resources` is one) or a function is evaluated here.
    What it has below this machine's folder for temporary files is below that of the job there.
    """
    wanted = job.rule.resources.get("tmpdir")
    if not wanted.is_evaluable():
        return wanted.value
    if wanted.raw == "system_tmpdir":
        return TMPDIR
    given = evaluated_tmpdir(job)
    if given is None or unknown(given):
        return TMPDIR
    path, own = Path(given), Path(tempfile.gettempdir())
    return str(Path(TMPDIR) / path.relative_to(own)) if path.is_relative_to(own) else str(given)


@lru_cache(maxsize=100)
def _resource_list(kind: Any, values: tuple[tuple[str, type, object], ...]) -> Resources:
    """Return Snakemake's object for these resources, one for all jobs that have the same."""
    made: Resources = kind(fromdict={name: value for name, _, value in values})
    return made


def _shared_places(job: SingleJob, traffic: TransferPolicy, resources: Resources) -> str:
    """Return shell lines that prepare shared folders as Snakemake does before a job.

    They remove old outputs and create folders; files that travel back need neither.
    """
    lines = []
    for file in (*job.output, *job.log):
        if traffic.for_output(file) is TransferMethod.SHARED:
            path = shlex.quote(str(file))
            old = "-rf" if flagged(file, "directory") else "-f"
            folder = shlex.quote(os.path.dirname(str(file)))  # noqa: PTH120
            kept = flagged(file, "update")
            removed = "" if kept else f"rm {old} -- {path} && "
            lines.append(f"{removed}mkdir -p -- {folder} || exit\n")
    if (tmpdir := resources.get("tmpdir", TMPDIR)) != TMPDIR:
        lines.append(f"mkdir -p -- {shlex.quote(str(tmpdir))} || exit\n")
    return "".join(lines)


def shell_of(job: SingleJob) -> str:
    """Return the name of the program that runs a job's shell command."""
    # its path on the execution point may differ
    return os.path.basename(job.resources.get("shell_exec") or shell.get_executable() or "sh")  # noqa: PTH119


def _touched(files: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs that are to be touched, and the timestamp files of folders."""
    folders = (f"{file}/.snakemake_timestamp" for file in files if flagged(file, "directory"))
    return (*ordered(file for file in files if flagged(file, "touch")), *folders)
