"""Which job of the workflow a job is, the same in every process and at every start."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Any

from snakemake_executor_plugin_osgpilot.staging.payload import members
from snakemake_executor_plugin_osgpilot.staging.preparer import Prepared


def identity(job: Any) -> str:
    """Return what is the same for the same rule, wildcards and outputs (of a group, all members').

    Snakemake's own number of a job is another one when other jobs have to run, and its marker of
    incomplete files is not there under `--rerun-incomplete`.
    """
    told = sorted(
        "\0".join(
            (
                str(part.rule),
                *(f"{name}={value}" for name, value in sorted(part.wildcards_dict.items())),
                *map(str, part.output),
            )
        )
        for part in members(job)
    )
    return _digest("\0\0".join(told))


def digest(prepared: Prepared) -> str:
    """Return what is the same for all that would be submitted and returned in the same way."""
    kept = prepared.payload.without_what_left()
    return _digest("\0".join((prepared.parcel.digest, repr(prepared.request), repr(kept))))


def _digest(text: str) -> str:
    return blake2b(os.fsencode(text), digest_size=16).hexdigest()
