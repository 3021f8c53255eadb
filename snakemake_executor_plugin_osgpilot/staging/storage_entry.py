"""Fetch a job's files in storage before it runs, and store them afterwards, on the execution point,
which has only the text of this file of our package, and Snakemake with the storage plugins.

    python -c TEXT FILE fetch
    python -c TEXT FILE store STATUS

FILE holds, in JSON, what `staging/storage.py` wrote. If STATUS is not 0, the job failed, and only
its logs are stored. No Snakefile is read.
"""

import asyncio
import base64
import hashlib
import json
import logging
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

File = tuple[int, str, str]
"""Number of the provider, query, local path."""


def objects(providers: list[dict[str, Any]], files: list[File]) -> Iterator[Any]:
    """Yield the storage objects of `files`."""
    made: dict[int, Any] = {}
    for number, query, path in files:
        if number not in made:
            given = dict(providers[number])
            plugin = StoragePluginRegistry().get_plugin(given.pop("plugin"))
            given["local_prefix"] = Path(given["local_prefix"])
            if own := given.pop("own"):
                known: list[Any] = [x for x in fields(given["settings"]) if x.name in own]
                default = {each.name: each.default_factory() for each in known}
                given["settings"] = replace(given["settings"], **default)
            made[number] = plugin.storage_provider(logger=logger, **given)
        provider = made[number]
        kind = provider.get_storage_object_cls()
        # the query has been processed by the provider already
        each = kind(query=query, keep_local=True, retrieve=True, provider=provider)
        each.set_local_path(Path(path))
        yield each


def check(ensured: list[tuple[str, bool, str, str]]) -> None:
    """Raise `ValueError`, in Snakemake's words, unless outputs are as `ensure()` says."""
    for path, non_empty, algorithm, checksum in ensured:
        file = Path(path)
        if non_empty and not file.stat().st_size:
            raise ValueError(f"Detected unexpected empty output files: {path}")
        if algorithm:
            digest = hashlib.new(algorithm, file.read_bytes() if file.is_file() else b"")
            if not file.is_file() or digest.hexdigest() != checksum:
                raise ValueError(
                    f"Output files have checksums that differ from the expected: {path}"
                )


async def fetch(content: dict[str, Any], providers: list[dict[str, Any]]) -> None:
    """Fetch the inputs, and make the folders of the outputs."""
    for path in content["made"]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    for each in objects(providers, content["fetched"]):
        await each.managed_retrieve()
    for each in objects(providers, content["updated"]):
        if await each.managed_exists():
            await each.managed_retrieve()


async def store(
    content: dict[str, Any], providers: list[dict[str, Any]], *, logs_only: bool
) -> None:
    """Store the outputs, which have to be there, and the logs."""
    files = [] if logs_only else content["stored"]
    missing = [path for _, _, path in files if not os.path.lexists(path)]
    if missing:
        raise FileNotFoundError(f"the command succeeded but did not make {missing[0]}")
    if not logs_only:
        check(content["ensured"])
    files += [file for file in content["logs"] if os.path.lexists(file[2])]
    for each in objects(providers, files):
        await each.managed_store()


def main(file: str, step: str, status: str = "0") -> int:
    """Do one of the steps; return 1 if it failed, and print why."""
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.WARNING)
    try:
        content = json.loads(Path(file).read_text())
        providers = pickle.loads(base64.b64decode(content["providers"]))
        if step == "fetch":
            asyncio.run(fetch(content, providers))
        else:
            asyncio.run(store(content, providers, logs_only=status != "0"))
    except Exception as error:
        print(f"osgpilot: rule {content['rule']}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
