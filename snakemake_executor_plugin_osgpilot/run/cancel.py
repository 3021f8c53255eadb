"""End a live run from another process, as Ctrl-C in its terminal does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError, OutcomeUnknownError
from ..journal.holder import RunOwner
from ..journal.process import started, this_process

PAUSE_S = 0.5


def interrupt(run: str, holder: RunOwner) -> bool:
    """Send the Snakemake that holds a run the signal of Ctrl-C; return True if it acts on that.

    One that a script started in the background ignores it, and gets SIGTERM: it ends when its
    running jobs have. Raises `InputError` if it runs where its process cannot be seen, or belongs
    to another user.
    """
    if not this_process().sees(holder):
        raise InputError(
            f"run {run} is driven by process {holder.pid} on {holder.host}: cancel it there, or "
            f"with: ssh {holder.host} kill -INT {holder.pid}"
        )
    if started(holder.pid) != holder.started:
        raise InputError(f"run {run} is not driven by any process; see: osgpilot cleanup")
    heard = not _ignores(holder.pid, signal.SIGINT)
    try:
        os.kill(holder.pid, signal.SIGINT if heard else signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise InputError(f"process {holder.pid} of run {run} belongs to another user") from error
    return heard


def _ignores(pid: int, number: int) -> bool:
    """Return True if a process ignores a signal (`SigIgn` in /proc/PID/status, proc(5))."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    mask = next(
        (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), "0"
    )
    return bool(int(mask, 16) >> (number - 1) & 1)


def wait_for_end(
    run: str,
    is_over: Callable[[], bool],
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until a run that was interrupted has removed its jobs and pilots.

    Raises `OutcomeUnknownError` if that takes longer.
    """
    for _ in range(max(1, int(wait_s / PAUSE_S))):
        if is_over():
            return
        sleep(PAUSE_S)
    raise OutcomeUnknownError(
        f"run {run} was interrupted, but has not ended after {wait_s:.0f} s; "
        "see: osgpilot status --watch"
    )
