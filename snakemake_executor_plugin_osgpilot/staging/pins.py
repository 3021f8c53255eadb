"""The kinds of pilots that a rule wants its jobs to run on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.model.resources import PilotType
from snakemake_executor_plugin_osgpilot.staging.payload import unknown
from snakemake_executor_plugin_osgpilot.staging.rule_resources import PARTITION, PILOT_CORES


def pinned(who: str, parts: Iterable[Any], offers: tuple[PilotType, ...]) -> tuple[str, ...]:
    """Return the names of the offers that a job (`parts`: its members) wants, none if any will do.

    An offer's name is PARTITION/CORESc; all members of a group that name one name the same. Raises
    `InputError` naming job and resource, with what there is instead.
    """
    names = [offer.name for offer in offers]
    wanted = False
    told = [part.resources for part in parts]
    for resource, half in ((PARTITION, 0), (PILOT_CORES, 1)):
        for value in (resources.get(resource) for resources in told):
            if value in (None, "") or unknown(value):
                continue
            left = [name for name in names if _halves(name)[half] == str(value)]
            if not left:
                known = ", ".join(dict.fromkeys(_halves(name)[half] for name in names))
                raise InputError(
                    f"{who}: the resource {resource} is {value!r}; {_there_is(resource, known)}"
                )
            names, wanted = left, True
    return tuple(names) if wanted else ()


def _halves(name: str) -> tuple[str, str]:
    """Return partition and cores of the offer `name`."""
    partition, _, cores = name.rpartition("/")
    return partition, cores.removesuffix("c")


def _there_is(resource: str, known: str) -> str:
    if resource == PARTITION:
        return f"the partitions of the site file are {known}"
    return f"pilots that it could run on have {known} cores"
