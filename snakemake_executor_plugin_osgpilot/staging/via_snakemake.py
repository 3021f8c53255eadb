"""The snakemake payload: Snakemake runs the job on the execution point.

For rules that need it, with files in storage and so on.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from snakemake_interface_executor_plugins.utils import (
    encode_target_jobs_cli_args,
    format_cli_arg,
    join_cli_args,
)

from .early_values import threads_of
from .payload import (
    TMPDIR,
    TMPDIR_VARIABLES,
    Payload,
    exports,
    flagged,
    members,
    needed_from_outside,
)
from .steps import internal
from .transfer_policy import TransferMethod, TransferPolicy, ordered


def build(
    job: Any, command: str, environment: Mapping[str, str], traffic: TransferPolicy
) -> Payload:
    """Return the payload of a job that runs as `command`, shell lines that start Snakemake.

    The Snakemake there handles `touch()`, `protected()`, `ensure()`, temporary files within a
    group and files in storage. Raises `InputError`, see `Payload.placed`.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    benchmarks = [part.benchmark for part in parts if part.benchmark]
    inner = internal(job)
    kept = [*(file for file in made if str(file) not in inner), *benchmarks]
    used, back = needed_from_outside(job), traffic.outputs(kept)
    places = {**environment, **dict.fromkeys(TMPDIR_VARIABLES, TMPDIR)}
    return Payload(
        scripts=(f"{exports(places)}{_PLACES}{_CHECK}{command}\n",),
        interpreter="bash",
        # Snakemake there fetches files in storage
        inputs=traffic.inputs(used),
        outputs=back,
        logs=traffic.outputs(file for part in parts for file in part.log),
        protected=ordered(
            file
            for file in made
            if flagged(file, "protected") and traffic.out_of(file) is TransferMethod.TRAVELS
        ),
        folders=ordered(file for file in made if flagged(file, "directory")),
        shared=traffic.outputs(kept, TransferMethod.SHARED),
        shared_prefixes=traffic.shared_prefixes,
        with_snakefiles=True,
        kind="snakemake",
        by_name=any(str(file).startswith("/") for file in (*traffic.inputs(used), *back)),
    ).placed(job)


def without_containers(command: str, workflow: Any) -> str:
    """Return `command` so that the Snakemake there starts no container.

    HTCondor has already started the job in its image.
    """
    settings = workflow.deployment_settings
    methods = {str(method) for method in settings.deployment_method}
    if "apptainer" not in methods:
        return command
    factory = workflow.spawned_job_args_factory
    argument = factory.workflow_property_to_arg("deployment_settings.deployment_method")
    rest = " ".join(sorted(methods - {"apptainer"}))
    return command.replace(argument, f"{argument.split()[0]} {rest}" if rest else "")


def without_cache(command: str, workflow: Any) -> str:
    """Return `command` so that the Snakemake there uses no cache between workflows.

    The folder of `SNAKEMAKE_OUTPUT_CACHE` is on this machine.
    """
    if workflow.workflow_settings.cache is None:
        return command
    argument = workflow.spawned_job_args_factory.workflow_property_to_arg("workflow_settings.cache")
    return command.replace(f" {argument} ", " ", 1)


def via_entry(command: str, job: Any, workflow: Any, found: str = "") -> str:
    """Return Snakemake's `command` for a job as shell lines that run `snakemake_entry.py`.

    `found` is the file with results for `glob_wildcards()` (`config.snakefile_globs`).

    Snakemake quotes as Python does: wildcards and temporary files go into a file instead, and the
    user's configuration is quoted again.
    """
    specs = job.get_target_spec()
    unneeded = list(workflow.dag.get_unneeded_temp_files(job))
    config = list(workflow.config_settings.config_args or ())
    content = {
        # jobs of a group come in any order
        "jobs": sorted(([spec.rulename, dict(spec.wildcards_dict)] for spec in specs), key=str),
        "unneeded_temp_files": sorted(map(str, unneeded)),
        "inputs": sorted((_inputs(part) for part in members(job)), key=str),
        "found": found,
    }
    replaced = {
        # of the node's real cores there may be fewer than the job asked for
        format_cli_arg("--cores", "all"): format_cli_arg("--cores", max(1, threads_of(job))),
        format_cli_arg("--target-jobs", encode_target_jobs_cli_args(specs)): "",
        format_cli_arg("--unneeded-temp-files", unneeded): "",
        format_cli_arg("--config", config): join_cli_args(["--config", *map(shlex.quote, config)]),
        _MODULE: f"python -c {shlex.quote(_entry())} {_JOBS}",
    }
    for theirs, ours in replaced.items():
        command = command.replace(theirs, ours, 1) if theirs else command
    return f"printf %s {shlex.quote(json.dumps(content))} > {_JOBS} || exit\n{command}"


def _inputs(job: Any) -> list[Any]:
    """Return the inputs that `snakemake_entry.py` compares with those found there."""
    plain = (f for f in job.input if not (flagged(f, "storage_object") or flagged(f, _COPIED)))
    return [job.rule.name, dict(job.wildcards_dict), sorted(map(str, plain))]


_COPIED = "sourcecache_entry"

_MODULE, _JOBS = "python -m snakemake", "osgpilot-jobs.json"


@cache
def _entry() -> str:
    return files(__package__).joinpath("snakemake_entry.py").read_text()


_UNORDERED = re.compile(
    r"(?<= )(--(?:allowed-rules|rerun-triggers|deployment-method|shared-fs-usage"
    r"|default-resources)) (\w[\w/+=-]*(?: \w[\w/+=-]*)*)"
)
"""Options that Snakemake writes from sets, so in a different order in every process."""


def in_order(command: str) -> str:
    """Return `command` with sorted values, so that it is the same in every session."""
    return _UNORDERED.sub(
        lambda option: f"{option[1]} {' '.join(sorted(option[2].split()))}", command
    )


_PLACES = 'unset APPTAINER_CACHEDIR; export HOME="$PWD/osgpilot-home"; mkdir -p "$HOME"\n'
"""Snakemake keeps caches in the home folder, which need not be writable in a slot, and in
APPTAINER_CACHEDIR, which is the pilot's folder and not visible in the job's container."""


_CHECK = """\
python -c 'import sys, importlib.util as u; sys.exit(u.find_spec("snakemake") is None)' || {
    echo "osgpilot: this image has no Snakemake; name one with osgpilot_runtime_image" >&2
    exit 1
}
"""
