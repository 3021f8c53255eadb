"""The snakemake payload: Snakemake itself runs the job on the execution point.

For rules that need it there: `run:`, Python scripts, notebooks, wrappers, benchmarks and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_osgpilot.payload.model import (
    TMPDIR,
    TMPDIR_VARIABLES,
    Payload,
    exports,
    flagged,
    members,
)
from snakemake_executor_plugin_osgpilot.payload.traffic import Traffic, Way, ordered


def build(job: Any, command: str, environment: Mapping[str, str], traffic: Traffic) -> Payload:
    """Return the payload of a job that runs as `command`, a call of `python -m snakemake`.

    `touch()`, `protected()`, `ensure()`, temporary files within a group and files in storage are
    seen to by the Snakemake there. Raises `BadInput` when a file lies outside the working folder.
    """
    parts = members(job)
    made = [file for part in parts for file in part.output]
    benchmarks = [part.benchmark for part in parts if part.benchmark]
    kept = [*(file for file in made if not _goes_away(file, job)), *benchmarks]
    # Snakemake there fetches by itself whatever is in storage
    produced = set(ordered(made))
    used = [file for part in parts for file in part.input if str(file) not in produced]
    places = {**environment, **dict.fromkeys(TMPDIR_VARIABLES, TMPDIR)}
    return Payload(
        scripts=(f"{exports(places)}{_PLACES}{command}\n",),
        interpreter="bash",
        inputs=traffic.inputs(used),
        outputs=traffic.outputs(kept),
        logs=traffic.outputs(file for part in parts for file in part.log),
        protected=ordered(
            file
            for file in made
            if flagged(file, "protected") and traffic.out_of(file) is Way.TRAVELS
        ),
        folders=ordered(file for file in made if flagged(file, "directory")),
        shared=traffic.outputs(kept, Way.SHARED),
        with_snakefiles=True,
    ).checked(job.name)


_PLACES = 'unset APPTAINER_CACHEDIR; export HOME="$PWD/osgpilot-home"; mkdir -p "$HOME"\n'
"""Snakemake keeps caches in the home folder, and a slot has none that is surely writable; and where
APPTAINER_CACHEDIR points, which is the pilot's folder and not visible in the job's container."""


def _goes_away(file: Any, job: Any) -> bool:
    """Whether the Snakemake there removes `file` itself, because only the group needs it."""
    if not job.is_group() or not (flagged(file, "temp") or flagged(file, "pipe")):
        return False
    return str(file) not in {str(wanted) for wanted in job.output}
