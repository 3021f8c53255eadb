"""Renew the lease of a run, and write its record and the state of its pilots."""

from __future__ import annotations

from ..jobs.manager import JobManager
from ..journal import run_folder as runs
from ..journal.run_folder import LEASE, RunFolder
from ..model.clock import Clock
from ..model.identity import RunIdentity
from ..pilots.fleet import Fleet
from ..pilots.manager import PilotJournal

HELD_BACK = "held-back"
"""Pilot types, one per line, whose pilots exit at once when they start (see pilot.sh)."""


class LeaseKeeper:
    """Implements `run.ports.LeaseWriter` in the folder of a run."""

    def __init__(
        self, folder: RunFolder, seat: RunIdentity, queue: JobManager, fleet: Fleet,
        clock: Clock, journal: PilotJournal | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._seat = folder, seat
        self._queue, self._fleet = queue, fleet
        self._clock, self._journal = clock, journal

    def keep_alive(self) -> None:
        """Renew the lease, and write the list of pilot types that are held back."""
        held_back = self._fleet.held_back()
        text = "".join(f"{offer}\n" for offer in held_back)
        # for other sessions in this folder, in case pilots see another one
        (self._folder.path / LEASE).touch()
        # the content of the lease does not matter, its age does
        self._fleet.write({HELD_BACK: text, LEASE: f"{self._clock.now_s():.0f}\n"})

    def write(self) -> None:
        """Write the record, and changes of pilots to the journal."""
        if self._journal:
            self._journal.record_pilots(self._fleet.pilots)
        content = runs.record(
            self._seat,
            self._queue.rules(),
            self._fleet.pilots,
            self._clock.now_s(),
            self._queue.samples(),
        )
        runs.write(self._folder, content)
