"""Identify processes, so that the holder of a run can be recognized."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .holder import RunOwner

_START_FIELD = 22
"""Field of /proc/PID/stat, in clock ticks since boot (proc_pid_stat(5)); the process name before it
may contain blanks and brackets."""


def this_process() -> RunOwner:
    """Return the unique identity of this process."""
    return RunOwner(
        os.uname().nodename,
        _boot_id(),
        _pid_space(),
        os.getpid(),
        started(os.getpid()),
        time.time(),
    )


def started(pid: int) -> str:
    """Return the start time of a process, empty if there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[_START_FIELD - 3]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
