"""The only module that patches Snakemake, or uses parts of it that are not public.

Seen with Snakemake 9.27.1, snakemake-interface-executor-plugins 9.4.0 and
snakemake-executor-plugin-slurm 2.8.0. Each function says what it relies on and what breaks when
that changes. `staging/run_entry.py` runs on the execution point, where it cannot import this
module, and marks its own patches.
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import logging
import pickle
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from types import FunctionType, SimpleNamespace
from typing import Any

from .snakemake_types import AnyJob, CondaEnv, Resources, SingleJob


def wrap_terminal_stream(logger: object, wrapper: type[Any]) -> Any:
    """Have Snakemake log to the terminal through `wrapper(stream)`; return that stream.

    Return None if Snakemake logs elsewhere. Several callers get the same stream. Finds the handler
    by the name of its class, `ColorizingTextHandler` (`snakemake.logging`, 9.27.1). If
    that changes, progress is logged as single lines, as into a file.
    """
    for handler in getattr(logger, "handlers", ()):
        if type(handler).__name__ == "ColorizingTextHandler" and handler.stream.isatty():
            if not isinstance(handler.stream, wrapper):
                handler.setStream(wrapper(handler.stream))
            return handler.stream
    return None


def hides_errors(workflow: object) -> bool:
    """Return True with `--quiet all`, which hides what is logged as an error, too.

    Uses `workflow.output_settings.quiet` (9.27.1); if that changes, such errors stay hidden.
    """
    return "ALL" in _quiet(workflow)


def hides_rules(workflow: object) -> bool:
    """Return True with `--quiet rules` or `all`, which hides the errors of jobs."""
    return bool({"ALL", "RULES"} & _quiet(workflow))


def _quiet(workflow: object) -> set[str]:
    settings = getattr(workflow, "output_settings", None)
    return {getattr(each, "name", "") for each in getattr(settings, "quiet", None) or ()}


@contextmanager
def executor_replaced(name: str, executor: type) -> Iterator[None]:
    """Have Snakemake use the class `executor` for plugin `name`, as for a dry run: it takes no
    lock, makes no environment or image, and touches no file of an earlier run.

    Replaces the entry in `ExecutorPluginRegistry().plugins`, a dataclass with `executor` and
    `common_settings` (snakemake-interface-common 1.23.0). If that changes, `osgpilot plan` fails
    with an AttributeError or TypeError before anything runs.
    """
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    plugins = ExecutorPluginRegistry().plugins
    own = plugins[name]
    dry = replace(own.common_settings, dryrun_exec=True)
    plugins[name] = replace(own, executor=executor, common_settings=dry)
    try:
        yield
    finally:
        plugins[name] = own


@contextmanager
def log_file_disabled() -> Iterator[None]:
    """Have Snakemake write no log file; its own option for that, --dry-run, changes more.

    Patches `snakemake.cli.create_output_settings`, which returns a dataclass with
    `enable_file_logging` (9.27.1). If that changes, `osgpilot plan` fails, or leaves a log file in
    `.snakemake/log`.
    """
    from snakemake import cli

    original = cli.create_output_settings
    cli.create_output_settings = lambda *given: replace(original(*given), enable_file_logging=False)
    try:
        yield
    finally:
        cli.create_output_settings = original


LOCKED = "Error: Directory cannot be locked."


@contextmanager
def lock_message_hidden() -> Iterator[None]:
    """Leave out what Snakemake says of a locked folder in a dry run: it reads like an error.

    Filters the message of `Persistence.lock_warn_only` (9.27.1). If its text changes, it is shown.
    """
    from snakemake.logging import logger

    def is_other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(LOCKED)

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


@dataclass(frozen=True)
class RenderedScript:
    """A script as Snakemake would write and run it: `command` starts the file.

    If Snakemake tries a command first, that is `tried`, and `otherwise` is what it starts if that
    fails. `environment` are variables beside those of every shell command.
    """

    text: str
    command: str
    tried: str = ""
    otherwise: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def rendered_script(
    script: Any,
    path: str,
    *,
    preamble: Callable[[str], str] = str,
    value: Callable[[str], str] = str,
) -> RenderedScript:
    """Return what `script`, one of the classes of `snakemake.script`, writes to `path` and starts.

    `preamble` and `value` change the text before the script and the values of its command.

    Replaces `_execute_cmd` of the instance, the only method that starts anything (9.27.1). If it is
    renamed, `execute_script` would start the script on this machine: this raises AttributeError
    first. Raises `ValueError` if a value of the rule has no counterpart in the script's language.
    """
    from snakemake.utils import format as formatted

    if not hasattr(script, "_execute_cmd"):
        raise AttributeError("snakemake.script has no _execute_cmd: unsupported Snakemake version")
    tried: list[str] = []
    started: list[str] = []
    environment: dict[str, str] = {}

    def note(command: str, read: bool = False, **values: Any) -> str:
        if read:
            tried.append(command)
            if len(tried) == _SECOND:
                raise subprocess.CalledProcessError(127, command)
            return ""
        texts = {name: value(v) if isinstance(v, str) else v for name, v in values.items()}
        own: Mapping[str, str] = values.get("additional_envvars", {})
        command = str(formatted(command, **texts))
        # these are in folders of this machine, which are removed at once
        for name, place in own.items():
            environment[name] = OWN_FOLDER
            command = command.replace(place, OWN_FOLDER)
        started.append(command)
        return ""

    script._execute_cmd = note
    text = io.BytesIO()
    script.write_script(preamble(script.get_preamble()), text)
    script.execute_script(path)
    if tried:
        script.execute_script(path)
    return RenderedScript(
        text.getvalue().decode(), started[0], "".join(tried[:1]), started[-1], environment
    )


_SECOND = 2

OWN_FOLDER = "/@osgpilot-own-folder@"
"""Placeholder for a temporary folder that Snakemake makes for a script, as a notebook has one."""


def relocated_preamble(
    preamble: str, searched: Sequence[str], unpickling: Callable[[object], str]
) -> str:
    """Return the preamble of a Python script with other folders for imports, and with the
    expression `unpickling(snakemake)` for its object.

    Expects one call each of `sys.path.extend([...])` and `pickle.loads(b...)` in
    `snakemake.script.PythonScript.generate_preamble` (9.27.1). If these are missing, it raises
    ValueError, and no Python script is submitted. Raises SyntaxError if the preamble is no Python:
    Snakemake does not quote the resource `shell_exec`.
    """
    calls = {
        ast.unparse(node.func): node
        for node in ast.walk(ast.parse(preamble))
        if isinstance(node, ast.Call)
    }
    if not {"sys.path.extend", "pickle.loads"} <= calls.keys():
        raise ValueError("unsupported Snakemake version: its preamble is unknown")
    folders, pickled = calls["sys.path.extend"].args[0], calls["pickle.loads"]
    value = pickle.loads(ast.literal_eval(pickled.args[0]))
    lines = preamble.encode().split(b"\n")
    # from right to left, if they are on one line
    for node, text in ((pickled, unpickling(value)), (folders, repr(list(searched)))):
        line = lines[node.lineno - 1]
        parts = line[: node.col_offset], text.encode(), line[node.end_col_offset :]
        lines[node.lineno - 1] = b"".join(parts)
    return b"\n".join(lines).decode()


def shell_command(job: SingleJob, resources: Resources, bench_iteration: int | None = None) -> str:
    """Return the shell command of a job, formatted where and when Snakemake does it.

    Calls `run_func` of the rule, the function that Snakemake makes of a `shell:`, with another
    `shell` (9.27.1): an f-string is evaluated in there, and names are those of the Snakefile with
    the rule. If its parameters change, preparing a direct job fails with a TypeError.
    """
    from snakemake.utils import format as formatted

    commands: list[str] = []

    def shell(command: str, *given: object, bench_record: object = None, **named: object) -> None:
        commands.append(str(formatted(command, *given, stepout=2, **named)))

    _call_rule(job, resources, {"shell": shell}, bench_iteration)
    return commands[0]


def settle_params(job: Any, resources: Resources) -> None:
    """Have the functions of a job's params called with these resources.

    Snakemake calls them with `<TBD>` for `resources.tmpdir` of jobs that run elsewhere, and does
    not call them again. Sets `_params` of `snakemake.jobs.Job`, which `params` returns, to what
    `Rule.expand_params` returns (9.27.1). If that changes, such a param stays `<TBD>`, or preparing
    the job fails with a TypeError.
    """
    given = SimpleNamespace(resources=resources)
    job._params, _ = job.rule.expand_params(job.wildcards_dict, job.input, job.output, given)


def evaluated_tmpdir(job: Any) -> Any:
    """Return what the expression or function for `tmpdir` of a job gives on this machine.

    Snakemake leaves it to where a job runs. Calls `Rule.expand_resources` (9.27.1), which needs the
    threads, too. If that changes, preparing such a job fails with a TypeError.
    """
    others = set(job.rule.resources) - {"tmpdir", "_cores"}
    found = job.rule.expand_resources(
        job.wildcards_dict, job.input, job.attempt, skip_evaluation=others
    )
    return found.get("tmpdir")


def regroup(dag: Any, groups: Mapping[Any, str]) -> None:
    """Put jobs of the DAG into other groups, before the first job is handed over.

    A job keeps the group that it is given, and `parent_groupids` of the workflow says which one
    counts for `--group-components` (9.27.1). If these change, starting a workflow with such a group
    fails with an AttributeError.
    """
    parents = dag.workflow.parent_groupids
    for job, group in groups.items():
        parents[group] = parents.get(job.group, job.group)
        job.group = group
    keep_groups_apart(dag)


def rendered_template(job: SingleJob, path: Path) -> str:
    """Return what the `template_engine:` of a job renders, on its way through the file `path`.

    Calls `run_func` of the rule with another `render_template` (9.27.1), as `shell_command` does.
    """
    from snakemake.template_rendering import render_template

    def render(engine: str, input: object, output: object, *rest: object) -> None:
        render_template(engine, input, [str(path)], *rest)

    _call_rule(job, job.resources, {"render_template": render}, None)
    return path.read_text()


def cwl_call(job: SingleJob, resources: Resources) -> tuple[str, str]:
    """Return the URL of a job's `cwl:`, and the inputs that cwltool gets with it, in JSON.

    Calls `snakemake.cwl.cwl` with another `shell` (9.27.1): its command ends in the URL and in a
    file with the inputs. If that changes, preparing such a job fails.
    """
    from snakemake import cwl

    calls: list[tuple[str, str]] = []

    def shell(command: str, **given: object) -> None:
        url, _, file = command.split(maxsplit=1)[1].partition(" ")
        calls.append((url, Path(file).read_text()))

    there = SimpleNamespace(which=str)
    names = {**vars(cwl), "shell": shell, "shutil": there}
    call = FunctionType(cwl.cwl.__code__, names, "cwl", cwl.cwl.__defaults__)
    _call_rule(job, resources, {"cwl": call}, None, job.rule.basedir)
    return calls[0]


def _call_rule(
    job: SingleJob,
    resources: Resources,
    replaced: Mapping[str, object],
    bench_iteration: int | None,
    basedir: object = None,
) -> None:
    """Call `run_func` of a job's rule with other values of some names."""
    run = job.rule.run_func
    names = {**run.__globals__, **replaced}
    capture = FunctionType(run.__code__, names, run.__name__, run.__defaults__, run.__closure__)
    capture(
        input=job.input, output=job.output, params=job.params, wildcards=job.wildcards,
        threads=job.threads, resources=resources, log=job.log, rule=job.rule.name, conda_env=None,
        container_img=None, singularity_args="", use_singularity=False, env_modules=None,
        bench_record=None, jobid=job.jobid, is_shell=True, bench_iteration=bench_iteration,
        cleanup_scripts=True, shadow_dir=None, edit_notebook=None, conda_base_path=None,
        basedir=basedir, sourcecache_path=None, runtime_sourcecache_path=None,
        runtime_paths=None,
    )  # fmt: skip


def storage_plugin_of(provider: object) -> str:
    """Return the name of the plugin of a storage provider.

    Searches `StoragePluginRegistry().plugins`, in which each plugin has its `storage_provider`
    (snakemake-interface-storage-plugins 4.4). If that changes, preparing a job whose files a plugin
    transfers fails.
    """
    from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

    plugins = StoragePluginRegistry().plugins
    names = (n for n, each in plugins.items() if type(provider) is each.storage_provider)
    return str(next(names))


def with_shell_affixes(command: str, interpreter: str) -> str:
    """Return `command` between the prefix and suffix that Snakemake's `shell()` adds.

    Uses `shell._get_process_prefix` and `shell._process_suffix` (9.27.1), which have no public
    getters. If these change, preparing a direct job fails with an AttributeError.
    """
    from snakemake.shell import shell

    prefix = shell._get_process_prefix(interpreter)
    return " ".join((prefix, command, shell._process_suffix)).strip()


def shell_settings() -> tuple[str, str | None, str]:
    """Return the name of the program that `shell()` starts, its prefix and its suffix.

    Uses `shell._process_prefix` and `shell._process_suffix` (9.27.1). If these change, preparing a
    job with a `run:` fails with an AttributeError.
    """
    from snakemake.shell import shell

    name = PurePath(shell.get_executable() or "").name
    return name, shell._process_prefix, shell._process_suffix


def plain_files(files: Any) -> object:
    """Return a rule's or job's files, or parameters, as plain strings with the same names.

    Uses `_plainstrings` of `snakemake.iocontainers.Namedlist` (9.27.1). If that changes, preparing
    a job with a `run:` fails with an AttributeError.
    """
    return files._plainstrings()


def rule_proxies(rules: Any) -> dict[str, object]:
    """Return what `rules` of a Snakefile gives for each name.

    Uses `_rules` of `snakemake.common.Rules` (9.27.1). If that changes, preparing a job whose
    `run:` uses `rules` fails with an AttributeError.
    """
    return dict(rules._rules)


def body_arguments(job: SingleJob, resources: Resources) -> dict[str, object]:
    """Return the arguments of `snakemake.executors.local.run_wrapper` for a job with a `run:`.

    These are its parameters, except `job_rule` and `linemaps` (9.27.1). If they change, such jobs
    fail with a TypeError. There is neither container nor shadow folder: the job runs in its image
    already, and in a folder of its own. The job's number differs from session to session, so that
    a job would differ after a restart: it is there only for a benchmark that has it as a column.
    """
    extended = bool(job.benchmark) and job.rule.workflow.output_settings.benchmark_extended
    nothing = dict.fromkeys(
        (
            *("conda_env", "container_img", "singularity_args", "env_modules", "edit_notebook"),
            *("shadow_dir", "conda_base_path", "sourcecache_path", "runtime_sourcecache_path"),
            "runtime_paths",
        )
    )
    return {
        **nothing,
        "input": plain_files(job.input),
        "output": plain_files(job.output),
        "params": job.params,
        "wildcards": job.wildcards,
        "threads": job.threads,
        "resources": resources,
        "log": plain_files(job.log),
        "benchmark": str(job.benchmark) if job.benchmark else None,
        "benchmark_repeats": job.benchmark_repeats or 1,
        "benchmark_extended": extended,
        "use_singularity": False,
        "debug": False,
        "cleanup_scripts": True,
        "jobid": job.jobid if extended else 0,
        "basedir": str(job.rule.basedir.get_path_or_uri(secret_free=True)),
    }


def is_default_expression(resource: object) -> bool:
    """Return True if `resource` of a rule is a formula of Snakemake's, not of the user's.

    Uses `_evaluator` of `snakemake.resources.Resource` and the name of the function that makes it
    (`from_cli_expression`); `raw` is set if the user gave `--default-resources` (9.27.1). If these
    change, Snakemake's formulas for memory and disk count as set by the user.
    """
    evaluator = getattr(resource, "_evaluator", None)
    by_expression = "from_cli_expression" in getattr(evaluator, "__qualname__", "")
    return by_expression and getattr(resource, "raw", None) is None


def takes_input(value: object) -> bool:
    """Return True if a resource or a parameter of a rule is a function of the job's inputs.

    Uses `_evaluator` of `snakemake.resources.Resource`, which keeps the signature of what the user
    wrote (9.27.1). If it is renamed, a value that depends on a file which its group makes may be
    that of an earlier run.
    """
    from snakemake.common import get_function_params

    function = getattr(value, "_evaluator", value)
    return callable(function) and "input" in get_function_params(function)


def stop_submitting(slurm_executor: object) -> None:
    """Wait for the submissions that the Slurm plugin's executor has started, and start no more.

    Uses its thread pool, `_job_submission_executor` (2.8.0). If that changes, a job may be
    submitted while the others are cancelled; `shutdown` of `executor/fallback.py` cancels by name
    once more.
    """
    submitting = getattr(slurm_executor, "_job_submission_executor", None)
    if submitting is not None:
        submitting.shutdown(wait=True, cancel_futures=True)


def chooses_partitions(slurm_executor: object) -> bool:
    """Return True if the Slurm plugin's executor chooses partitions by a file of the user's.

    Uses its `_partitions` (2.8.0). If that changes, the site file's partition goes before the file.
    """
    return bool(getattr(slurm_executor, "_partitions", None))


class Instead:
    """An object of which some attributes, or values by name, are replaced."""

    def __init__(self, original: Any, **own: object) -> None:
        vars(self).update(own)
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def get(self, name: str, default: object = None) -> object:
        own = vars(self)
        return own[name] if name in own else self._original.get(name, default)


def replace_resources(
    slurm_executor: type, replaced: Callable[[AnyJob], Mapping[str, object]]
) -> None:
    """Have the Slurm plugin request jobs with some resources `replaced`.

    Replaces `get_submit_command` in the plugin's module, which makes the call of `sbatch` from a
    job (2.8.0). If the plugin makes it otherwise, it requests the rule's own resources.
    """
    module: Any = sys.modules[slurm_executor.__module__]
    original = inspect.unwrap(module.get_submit_command)

    @functools.wraps(original)
    def get_submit_command(job: AnyJob, *arguments: object, **named: object) -> object:
        seen = Instead(job, resources=Instead(job.resources, **replaced(job)))
        return original(seen, *arguments, **named)

    module.get_submit_command = get_submit_command


def add_generic_resources(slurm_executor: type, given: str) -> None:
    """Have the Slurm plugin request `given` with the generic resources of a job that has some: of
    two options `--gres`, one would count.

    Replaces `set_gres_string` in the plugin's module (2.8.0). If the plugin makes the option
    otherwise, such jobs request their own alone.
    """
    module: Any = sys.modules[slurm_executor.__module__]
    original = inspect.unwrap(module.set_gres_string)

    @functools.wraps(original)
    def set_gres_string(job: object) -> str:
        return str(original(job)).replace(" --gres=", f" --gres={given},")

    module.set_gres_string = set_gres_string


def keep_groups_apart(dag: Any) -> None:
    """Have Snakemake leave groups alone once they are ready; call it before jobs are handed over.

    `DAG.update_groups`, called again after each checkpoint, takes groups from a cache, and merges
    them in place with others, those that are ready or running, too (9.27.1). The sets that hold
    these then look for another hash: a group was handed over in each round, its jobs once more with
    others, and its end raised `KeyError`. Replaces that method of the DAG: it no longer sees jobs
    whose groups are ready or running. If it is called otherwise, the faults are back.
    """
    if not hasattr(dag, "group_job_factory"):
        return
    whole = type(dag)

    def update_groups() -> None:
        fixed = {
            job: group
            for group in (*dag._running, *dag._ready_jobs)
            if group.is_group()
            for job in group
        }
        dag.group_job_factory.cache.clear()
        dag.needrun = lambda job: job not in fixed and whole.needrun(dag, job)
        dag.needrun_jobs = lambda: (job for job in whole.needrun_jobs(dag) if job not in fixed)
        try:
            whole.update_groups(dag)
        finally:
            del dag.needrun, dag.needrun_jobs
        dag._group |= fixed

    dag.update_groups = update_groups
    # groups that were merged before are made from scratch
    dag._ready_jobs = {job for job in dag._ready_jobs if not job.is_group()}
    dag.update_groups()
    dag.update_ready()


def forget_running(workflow: Any, jobs: Sequence[AnyJob]) -> None:
    """Have Snakemake forget groups that it counts as running, all of whose members have ended.

    Takes them out of `JobScheduler.running` and `DAG._running` and frees what they occupied, under
    the scheduler's lock (9.27.1). If that changes, a workflow that handed over a group twice does
    not end.
    """
    if not jobs:
        return
    scheduler = workflow.scheduler
    with scheduler._lock:
        for job in jobs:
            scheduler.running.discard(job)
            workflow.dag._running.discard(job)
            scheduler._free_resources(job)
        scheduler._open_jobs.release()


def settings_given(plugin: Any) -> Any:
    """Return the settings of another executor plugin as command line and profile give them.

    Snakemake registers the options of all plugins, but passes on the values of the chosen one. Uses
    the local variable `args` of `snakemake.cli.args_to_api`, which is on the stack of the main
    thread (9.27.1). If that changes, or a workflow is started through Snakemake's API, the plugin's
    defaults apply.
    """
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name == "args_to_api" and frame.f_globals.get("__name__") == "snakemake.cli":
            return plugin.get_settings(frame.f_locals["args"])
        frame = frame.f_back  # type: ignore[assignment]
    return plugin.settings_cls()


class WorkflowProxy:
    """A workflow in which an executor inside of ours sees other settings than Snakemake gave.

    Makes a `snakemake.spawn_jobs.SpawnedJobArgsFactory` of its own, so that the arguments of
    spawned jobs follow these settings (9.27.1). If its constructor changes, the fallback fails when
    Snakemake starts.
    """

    def __init__(self, workflow: object, **replaced: object) -> None:
        from snakemake.spawn_jobs import SpawnedJobArgsFactory

        self._workflow = workflow
        vars(self).update(replaced)
        self.spawned_job_args_factory = SpawnedJobArgsFactory(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workflow, name)


def has_conda(job: SingleJob) -> bool:
    """Return True if a single job has a conda environment that is enabled (`--sdm conda`).

    Uses `conda_env_spec` of `snakemake.jobs.Job` (9.27.1). If that changes, jobs with an
    environment fail with an AttributeError before anything is submitted.
    """
    methods = job.rule.workflow.deployment_settings.deployment_method if job.rule.conda_env else ()
    return "conda" in map(str, methods) and job.conda_env_spec is not None


def conda_environment(job: Any) -> CondaEnv:
    """Return Snakemake's object for the conda environment of a single job that has one.

    Calls `get_conda_env` of `snakemake.deployment.conda`, as `DAG.update_conda_envs` does, which
    leaves out jobs that run elsewhere (9.27.1). If that changes, such jobs fail with an
    AttributeError or TypeError before anything is submitted.
    """
    workflow, image = job.rule.workflow, None
    settings = workflow.deployment_settings
    if job.container_img_url and "apptainer" in map(str, settings.deployment_method):
        image = job.dag.container_imgs[job.container_img_url]
    found: CondaEnv = job.conda_env_spec.get_conda_env(
        workflow, container_img=image, cleanup=settings.conda_cleanup_pkgs
    )
    return found


def need_no_conda(environment: Any = None) -> None:
    """Let Snakemake do without the conda of this machine, or without that in the container of an
    environment, which it asks for its version and platform, also before local rules.

    Puts one of our own into `Conda.instances` of `snakemake.deployment.conda`, where it keeps what
    conda answered (9.27.1). If that changes, conda has to be here.
    """
    from snakemake.deployment.conda import Conda

    container = environment and environment._container_img
    if container in Conda.instances or (not container and shutil.which("conda")):
        return
    machine = platform.machine()
    kind = {"x86_64": "linux-64"}.get(machine, f"linux-{machine}")
    known = {"container_img": container, "info": {}, "platform": kind, "prefix_path": "/"}
    Conda.instances[container] = object.__new__(Conda)
    vars(Conda.instances[container]).update(known)


def create_conda_environment(environment: Any) -> str:
    """Make an environment unless it is there, in its container if it has one; return its folder.

    Pulls `_container_img` of `snakemake.deployment.conda.Env` first, as Snakemake does for all
    containers before it makes environments (9.27.1). If it is renamed, making any environment
    fails with an AttributeError.
    """
    if environment._container_img is not None:
        environment._container_img.pull()
    return str(environment.create())
