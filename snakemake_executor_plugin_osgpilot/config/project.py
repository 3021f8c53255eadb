"""Which project a run is accounted to."""

from __future__ import annotations

from collections.abc import Mapping

from snakemake_executor_plugin_osgpilot.common.names import safe_name
from snakemake_executor_plugin_osgpilot.errors import InputError

VARIABLE = "OSG_PROJECT_NAME"


def choose(said: str | None, environment: Mapping[str, str], site_file: str) -> str:
    """Return the project: as said for this run, else by the environment, else by the site file.

    Raises `InputError` if there is none, or it could not be one.
    """
    sources = (
        ("--osgpilot-project", said),
        (f"the environment variable {VARIABLE}", environment.get(VARIABLE)),
        ("`project` in the site file", site_file),
    )
    for source, name in sources:
        if name:
            return safe_name(name, source)
    raise InputError(
        "no project to account to; say --osgpilot-project, or put it into the environment variable "
        f"{VARIABLE} or as `project` into the site file"
    )
