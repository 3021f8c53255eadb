"""The interface to the batch system that pilots need; `slurm` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row


@dataclass(frozen=True)
class Allocation:
    """What to ask Slurm for. `folder` takes the pilot's log and its `files`, text by name.

    `memory_mb` has the pilot's own share in it; `exclude` names nodes that have proved bad.
    """

    name: str
    run: str
    cores: int
    memory_mb: int
    walltime_min: int
    folder: Path
    partition: str = ""
    gpus: int = 0
    gpu_type: str = ""
    exclude: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


class Slurm(Protocol):
    """The batch system. Every method raises `OutcomeUnknownError` or `RejectedError`.

    Allocations to act on are named by id and name: an id alone may be another job's by now.
    """

    def submit(self, allocation: Allocation) -> str:
        """Write the pilot's files and queue it; return its allocation id.

        Raises `NotSentError` when nothing was queued for certain, `TryLaterError` when Slurm said
        so.
        """

    def interrupt(self) -> None:
        """Have the command that another thread waits for end with `AbandonedError`, at once."""

    def look(self) -> dict[str, Row]:
        """Return the user's pilots by name, in one query; ended ones while Slurm has them."""

    def cancel_pending(self, pilots: Mapping[str, str]) -> None:
        """Take allocations back that still wait; running ones are left alone."""

    def expected_wait_s(self, allocation: Allocation) -> float | None:
        """Return the seconds until Slurm would start this allocation, None if it does not say."""

    def drain_running(self, pilots: Mapping[str, str]) -> None:
        """Ask running pilots to finish their jobs, take no new ones, and end."""

    def end_running(self, pilots: Mapping[str, str]) -> None:
        """Ask running pilots to end cleanly: jobs are evicted, the pilot leaves the pool."""

    def kill(self, pilots: Mapping[str, str]) -> None:
        """Remove allocations at once; the last resort."""

    def write(self, files: Mapping[Path, str]) -> None:
        """Write files (text by path) where pilots see them."""

    def log_tail(self, folder: Path) -> str:
        """Return the end of the log in a pilot's folder."""
