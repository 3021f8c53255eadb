"""The sign of life of a run, and whether its holder is still there."""

from __future__ import annotations

import os
import tempfile

from snakemake_executor_plugin_osgpilot.journal.holder import RunOwner, is_alive
from snakemake_executor_plugin_osgpilot.journal.process import started, this_process
from snakemake_executor_plugin_osgpilot.journal.run_folder import LEASE, RunFolder


def is_alive_in(folder: RunFolder, holder: RunOwner) -> bool:
    """Whether the holder of a run is still there, or may be."""
    return is_alive(holder, this_process(), started(holder.pid), lease_age_s(folder))


def lease_age_s(folder: RunFolder) -> float | None:
    """Return how long ago the run gave a sign of life; infinity if it never did, None if that
    cannot be told.

    A new file tells the time, as the file server's clock may differ from ours; each look has one of
    its own, as there may be several looks at a time.
    """
    try:
        seen_s = (folder.path / LEASE).stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    except OSError:
        return None
    try:
        with tempfile.NamedTemporaryFile(prefix=f"{LEASE}.", dir=folder.path) as probe:
            return os.fstat(probe.fileno()).st_mtime - seen_s
    except OSError:
        return None


def heard_of(folder: RunFolder) -> str:
    """Return when the run last gave a sign of life, to a user."""
    age_s = lease_age_s(folder)
    if age_s is None:
        return f"of whose last sign of life ({folder.path / LEASE}) the age cannot be read"
    return f"last heard of {age_s:.0f} s ago" if age_s < float("inf") else "never heard of"
