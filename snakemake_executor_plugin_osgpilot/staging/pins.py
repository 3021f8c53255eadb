"""The kinds of pilots that a rule wants its jobs to run on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.model.resources import PilotType
from snakemake_executor_plugin_osgpilot.staging.payload import unknown
from snakemake_executor_plugin_osgpilot.staging.rule_resources import PARTITION, SHAPE


def pinned(who: str, parts: Iterable[Any], offers: tuple[PilotType, ...]) -> tuple[str, ...]:
    """Return the names of the offers that a job (`parts`: its members) wants, none if any will do.

    Partition and shape are the two halves of an offer's name; all members of a group that say one
    say the same (Snakemake sees to that for text). Raises `InputError` naming job and resource,
    with what there is instead.
    """
    names = [offer.name for offer in offers]
    wanted = False
    told = [part.resources for part in parts]
    for resource, half in ((PARTITION, 0), (SHAPE, 2)):
        for value in (resources.get(resource) for resources in told):
            if value in (None, "") or unknown(value):
                continue
            left = [name for name in names if name.rpartition("/")[half] == value]
            if not left:
                known = ", ".join(dict.fromkeys(name.rpartition("/")[half] for name in names))
                raise InputError(
                    f"{who}: the resource {resource} is {value!r}; {_kind(resource)} {known}"
                )
            names, wanted = left, True
    return tuple(names) if wanted else ()


def _kind(resource: str) -> str:
    if resource == PARTITION:
        return "the partitions of the site file are"
    return "pilots that it could run on come in the shapes"
