"""The interface to the batch system that pilots need, which `slurm` implements, and the requests
to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from ..model.resources import Pilot, PilotType
from .state.lifecycle import Row


@dataclass(frozen=True)
class Allocation:
    """A request to Slurm. `folder` is for the pilot's log and its `files`, text by name.

    `memory_mb` includes the pilot's own share; `exclude` names faulty nodes, `queue` has options of
    `sbatch` by name (`config.site.QUEUE`).
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
    queue: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class Expectation(NamedTuple):
    """Slurm's expectation of an allocation: its wait, and the cores that it would get (0: it
    does not say).
    """

    wait_s: float
    cores: int = 0


class PilotRequests(Protocol):
    """The requests of one run's pilots to the batch system."""

    @property
    def offers(self) -> Mapping[str, PilotType]:
        """The pilot types by name."""

    @property
    def shared(self) -> bool:
        """True if jobs of others may run on these pilots."""

    def last_number(self) -> int:
        """Return the highest number of a pilot that already has a folder, 0 if none has."""

    def name(self, number: int) -> str:
        """Return the name of a pilot."""

    def allocation(self, pilot: Pilot) -> Allocation:
        """Return the request for a pilot."""

    def pilot_folder(self, name: str) -> Path:
        """Return the folder of a pilot on the cluster."""

    def file(self, name: str) -> Path:
        """Return the path of a file that all pilots read."""


class Slurm(Protocol):
    """The batch system. Every method raises `OutcomeUnknownError` or `RejectedError`.

    Allocations are identified by id and name: Slurm may have reused an id.
    """

    def submit(self, allocation: Allocation) -> str:
        """Write the pilot's files and submit it; return its allocation id.

        Raises `NotSentError` if certainly nothing was submitted, `TryLaterError` if Slurm does not
        accept it now.
        """

    def interrupt(self) -> None:
        """Make the command that another thread waits for raise `AbandonedError` at once."""

    def look(self) -> dict[str, Row]:
        """Return the user's pilots by name, in one query; ended ones while Slurm shows them."""

    def cancel_pending(self, pilots: Mapping[str, str]) -> None:
        """Cancel pending allocations; running ones are not affected."""

    def expectation(self, allocation: Allocation) -> Expectation | None:
        """Return what Slurm expects of this allocation, None if unknown."""

    def drain_running(self, pilots: Mapping[str, str]) -> None:
        """Signal running pilots to finish their jobs, accept no new ones, and end."""

    def end_running(self, pilots: Mapping[str, str]) -> None:
        """Signal running pilots to end cleanly: jobs are evicted, the pilot leaves the pool."""

    def kill(self, pilots: Mapping[str, str]) -> None:
        """Cancel allocations at once; the last resort."""

    def write(self, files: Mapping[Path, str]) -> None:
        """Write files (text by path) on the cluster."""

    def log_tail(self, folder: Path) -> str:
        """Return the end of the log in a pilot's folder."""
