"""Files that only a storage plugin can transfer: fetched and stored where the job runs.

The plugin runs there, by `storage_entry.py`, with the settings that it has here.
"""

from __future__ import annotations

import base64
import json
import pickle
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, astuple, fields, is_dataclass
from functools import cache
from importlib.resources import files

from ..common.snakemake_compat import storage_plugin_of
from ..common.snakemake_types import AnyJob, SingleJob, StorageProvider, storage_object
from .ensured_outputs import ensured_of
from .payload import exports, flagged, label, members, needed_from_outside
from .run_body import CHECK, has_body, with_environment
from .steps import internal
from .transfer_policy import TransferMethod, TransferPolicy, ordered

_FILE = "osgpilot-storage"


def needs_plugin(job: SingleJob, traffic: TransferPolicy) -> bool:
    """Return True if a file of a single job can only be transferred by a storage plugin."""
    return any(True for _ in _stored(job, traffic))


def problem_in_storage(job: SingleJob, traffic: TransferPolicy) -> str | None:
    """Return why the plugin alone is not enough for a file of a single job, or None."""
    for file in _stored(job, traffic):
        if str(file).startswith("/") and (stored := storage_object(file)):
            return (
                f"the local copy of {stored.print_query} has an absolute path "
                f"({file}), which is one of this machine only: give a relative "
                "--local-storage-prefix, or leave it out"
            )
    return None


def store_benchmarks(job: AnyJob, traffic: TransferPolicy) -> None:
    """Store the benchmarks of a job or group job that were made here, from what came back."""
    for part in members(job):
        if part.benchmark and not has_body(part.rule):
            made, stored = traffic.for_output(part.benchmark), storage_object(part.benchmark)
            if made is TransferMethod.STORAGE and stored:
                stored.store_object()


def _stored(job: SingleJob, traffic: TransferPolicy) -> Iterator[str]:
    yield from (file for file in job.input if traffic.for_input(file) is TransferMethod.STORAGE)
    made = (*job.output, *job.log, *filter(None, [job.benchmark]))
    yield from (file for file in made if traffic.for_output(file) is TransferMethod.STORAGE)


def storage_script(
    job: AnyJob, environment: Mapping[str, str], traffic: TransferPolicy, *, packed: bool
) -> str:
    """Return the shell text that fetches and stores the files of a job or group job.

    It is empty if HTCondor transfers all. It takes the arguments of `storage_entry.py`.
    `environment` has what storage plugins need; `packed` is true in the packed Python environment.
    """
    parts, inner = members(job), internal(job)
    if not any(needs_plugin(part, traffic) for part in parts):
        return ""
    providers: dict[int, tuple[int, StorageProvider]] = {}

    def listed(
        chosen: Iterable[str], method: Callable[[str], TransferMethod]
    ) -> list[tuple[int, str, str]]:
        found = {}
        for file in chosen:
            if method(file) is not TransferMethod.STORAGE or str(file) in inner:
                continue
            if stored := storage_object(file):
                provider = stored.provider
                number, _ = providers.setdefault(id(provider), (len(providers), provider))
                found[str(file)] = (number, str(stored.query), str(file))
        return list(found.values())

    outputs = [file for part in parts for file in part.output]
    # that of a `run:` is written by Snakemake's code there, others are made here
    outputs += [part.benchmark for part in parts if part.benchmark and has_body(part.rule)]
    logs = [file for part in parts for file in part.log]
    stored = listed(outputs, traffic.for_output)
    paths = {path for _, _, path in stored}
    content = {
        "rule": label(job).removeprefix("rule "),
        "fetched": listed(needed_from_outside(job), traffic.for_input),
        "updated": listed(
            (file for file in outputs if flagged(file, "update")), traffic.for_output
        ),
        "stored": stored,
        "logs": listed(logs, traffic.for_output),
        "made": ordered(
            file for file in (*outputs, *logs) if traffic.for_output(file) is TransferMethod.STORAGE
        ),
        "ensured": [astuple(each) for each in ensured_of(job) if each.path in paths],
    }
    described = [_described(provider) for _, provider in providers.values()]
    content["providers"] = base64.b64encode(pickle.dumps(described, protocol=4)).decode()
    text = shlex.quote(json.dumps(content))
    start = f"(umask 077; printf %s {text} > {_FILE}) || exit\n"
    run = f'python -c {shlex.quote(_entry())} {_FILE} "$@"\n'
    check = "" if packed else CHECK
    return f"{exports(environment)}{with_environment()}{check}{start}{run}"


def _described(provider: StorageProvider) -> dict[str, object]:
    """Return what makes the same provider there."""
    return {
        "plugin": storage_plugin_of(provider),
        "local_prefix": str(provider.local_prefix),
        "settings": provider.settings,
        "own": _defaults_of_this_machine(provider.settings),
        "wait_for_free_local_storage": provider.wait_for_free_local_storage,
    }


def _defaults_of_this_machine(settings: object) -> list[str]:
    """Return the names of the settings that have the default which a function made, as a folder for
    caches below the home folder: there, the function makes another.
    """
    if not is_dataclass(settings):
        return []
    return [
        each.name
        for each in fields(settings)
        if each.init
        and each.default_factory is not MISSING
        and getattr(settings, each.name) == each.default_factory()
    ]


@cache
def _entry() -> str:
    return files(__package__).joinpath("storage_entry.py").read_text()
