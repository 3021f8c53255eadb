"""The project that a run is accounted to."""

from __future__ import annotations

from collections.abc import Mapping

from ..common.names import safe_name
from ..errors import InputError

VARIABLE = "OSG_PROJECT_NAME"


def choose(setting: str | None, environment: Mapping[str, str], site_file: str) -> str:
    """Return the project: of the setting, else of the environment, else of the site file.

    Raises `InputError` if there is none, or it is not a valid name.
    """
    sources = (
        ("--osgpilot-project", setting),
        (f"the environment variable {VARIABLE}", environment.get(VARIABLE)),
        ("`project` in the site file", site_file),
    )
    for source, name in sources:
        if name:
            return safe_name(name, source)
    raise InputError(
        "no project to account to; set --osgpilot-project, the environment variable "
        f"{VARIABLE}, or `project` in the site file"
    )
