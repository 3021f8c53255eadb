"""The lease of a run, and whether its holder is still alive."""

from __future__ import annotations

import os
import tempfile

from .holder import RunOwner, is_alive
from .process import started, this_process
from .run_folder import LEASE, RunFolder


def is_alive_in(folder: RunFolder, holder: RunOwner) -> bool:
    """Return True if the holder of a run is, or may be, alive."""
    return is_alive(holder, this_process(), started(holder.pid), lease_age_s(folder))


def lease_age_s(folder: RunFolder) -> float | None:
    """Return the age of the lease; infinity if it was never written, None if it cannot be read.

    The time is that of a new file, as the clock of the file server may differ from ours; each call
    has its own file, as there may be several at a time.
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


def lease_age_text(folder: RunFolder) -> str:
    """Return the age of the lease as text for a user."""
    age_s = lease_age_s(folder)
    if age_s is None:
        return f"the age of its lease ({folder.path / LEASE}) cannot be read"
    return f"lease renewed {age_s:.0f} s ago" if age_s < float("inf") else "lease never renewed"
