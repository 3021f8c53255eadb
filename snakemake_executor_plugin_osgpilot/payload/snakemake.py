"""The snakemake payload: Snakemake itself runs the job on the execution point.

For rules that need it there: `run:`, Python scripts, notebooks, wrappers, benchmarks and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_osgpilot.payload.model import (
    Payload,
    exports,
    flagged,
    members,
    ordered,
)


def build(job: Any, command: str, environment: Mapping[str, str]) -> Payload:
    """Return the payload of a job that runs as `command`, a call of `python -m snakemake`.

    `touch()`, `protected()`, `ensure()` and temporary files within a group are seen to by the
    Snakemake there. Raises `BadInput` when a file lies outside the working folder.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    benchmarks = [part.benchmark for part in parts if part.benchmark]
    outputs = ordered([*(f for f in made if not _goes_away(f, job)), *benchmarks])
    inputs = ordered(file for part in parts for file in part.input)
    produced = set(ordered(made))
    return Payload(
        scripts=(f"{exports(environment)}{_PLACES}{_CHECK}{command}\n",),
        interpreter="bash",
        inputs=tuple(path for path in inputs if path not in produced),
        outputs=outputs,
        logs=ordered(file for part in parts for file in part.log),
        protected=ordered(file for file in made if flagged(file, "protected")),
        with_snakefiles=True,
    ).checked(job.name)


def without_containers(command: str, workflow: Any) -> str:
    """Return `command` such that the Snakemake there starts no container by itself.

    HTCondor put the job into its image already.
    """
    settings = workflow.deployment_settings
    methods = {str(method) for method in settings.deployment_method}
    if "apptainer" not in methods:
        return command
    factory = workflow.spawned_job_args_factory
    told = factory.workflow_property_to_arg("deployment_settings.deployment_method")
    rest = " ".join(sorted(methods - {"apptainer"}))
    return command.replace(told, f"{told.split()[0]} {rest}" if rest else "")


_PLACES = 'unset APPTAINER_CACHEDIR; export HOME="$PWD/osgpilot-home"; mkdir -p "$HOME"\n'
"""Snakemake keeps caches in the home folder, and a slot has none that is surely writable; and where
APPTAINER_CACHEDIR points, which is the pilot's folder and not visible in the job's container."""


_CHECK = """\
python -c 'import sys, importlib.util as u; sys.exit(u.find_spec("snakemake") is None)' || {
    echo "osgpilot: this image has no Snakemake; name one with osgpilot_runtime_image" >&2
    exit 1
}
"""


def _goes_away(file: Any, job: Any) -> bool:
    """Whether the Snakemake there removes `file` itself, because only the group needs it."""
    if not job.is_group() or not (flagged(file, "temp") or flagged(file, "pipe")):
        return False
    return str(file) not in {str(wanted) for wanted in job.output}
