"""Orderly end of a run: remove everything, or detach from it so that it can be resumed."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from contextlib import suppress
from typing import Protocol

from ..common.counting import count_of
from ..errors import OsgpilotError, OutcomeUnknownError
from ..htcondor.neutral_path import unlink
from ..htcondor.submit_description import BUNDLE, INPUT_FOLDER, JOB_FILE, SHARED_FOLDER
from ..journal.location import SiteLocation
from ..journal.run_folder import RunFolder
from ..journal.store import Journal
from ..pilots.fleet import Fleet
from ..staging.commit_outputs import discard
from .controller import RunController
from .resume import AcquiredRun
from .site_access import SiteAccess

logger = logging.getLogger(__name__)

DETACH = "detach"

DETACHED_FOR_S = 7 * 24 * 3600.0
"""Time that pilots of a detached run keep running without a renewed lease."""


def finish(folder: RunFolder, journal: Journal) -> None:
    """Remove keys, bundles, links to shared inputs and the folders of jobs that did not end, and
    record the run as finished.

    Folders of failed jobs are kept for inspection, without the files with secrets that a kill may
    have left. Raises `OutcomeUnknownError` or `RunTakenOverError`; nothing is removed then.
    """
    journal.check_held()
    for entry in journal.entries():
        discard(folder.job(entry.key))
    for path in (folder.keys, *folder.path.glob(f"jobs/{BUNDLE}*")):
        shutil.rmtree(path, ignore_errors=True)
    discard(folder.job(SHARED_FOLDER))
    for file in folder.path.glob(f"jobs/*/{INPUT_FOLDER}/{JOB_FILE}"):
        with suppress(OSError):
            file.unlink()
    journal.finish()
    unlink(folder.path)


def _folder(place: SiteLocation) -> tuple[str, str]:
    """Return host and folder: several sites may have the same."""
    return place.ssh, place.folder


class Closable(Protocol):
    """An object that holds a process or a file."""

    def close(self) -> None: ...


class Shutdown:
    """Ends one run. `on_exit` is the action on Ctrl-C: `cancel` or `detach`."""

    def __init__(
        self, controller: RunController, access_point: Closable, sites: tuple[SiteAccess, ...],
        taken: AcquiredRun, fleet: Fleet, on_exit: str,
    ) -> None:  # fmt: skip
        self._controller, self._access_point, self._taken = controller, access_point, taken
        self._sites, self._fleet, self._on_exit = sites, fleet, on_exit

    @property
    def detaches(self) -> bool:
        """True if Ctrl-C leaves jobs and pilots running."""
        return self._on_exit == DETACH

    def listen(self) -> None:
        """Make SIGTERM act like Ctrl-C if that detaches; Snakemake would wait for running jobs."""
        if self.detaches and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def end(self, *, interrupted: bool) -> None:
        """End jobs and pilots; keep them if the run was `interrupted` and detaches."""
        with suppress(OutcomeUnknownError):
            self._taken.journal.check_held()
        if interrupted and self.detaches:
            self._detach()
        elif self._controller.close(hurry=interrupted):
            with suppress(OsgpilotError):
                finish(self._taken.folder, self._taken.journal)
        else:
            # pilots that Slurm still starts exit at once
            self._extend_leases(0.0)
            self._release()
        self._clear_sites()
        for site in self._sites:
            site.host.close()
        self._access_point.close()
        self._taken.journal.close()

    def _extend_leases(self, until_s: float) -> None:
        for site in self._sites:
            with suppress(OsgpilotError):
                site.reach().extend_lease(self._taken.folder, until_s)

    def _clear_sites(self) -> None:
        """Remove the run's folders from clusters behind SSH, except those of pilots that live."""
        with suppress(OsgpilotError):
            places = {each.site: each for each in self._taken.journal.place.sites}
            first = next(iter(places))
            used = {_folder(places.get(p.site, places[first])) for p in self._fleet.live}
            for site in self._sites:
                place = places[site.site.resource]
                if place.folder and _folder(place) not in used:
                    self._clear(site, place)

    def _clear(self, site: SiteAccess, place: SiteLocation) -> None:
        try:
            site.reach().clean_up(self._taken.folder)
        except OsgpilotError as error:
            logger.warning(f"could not remove {place.folder} on {place.ssh}: {error}")

    def _detach(self) -> None:
        self._controller.stop(hurry=True)
        self._extend_leases(time.time() + DETACHED_FOR_S)
        with suppress(OsgpilotError):
            self._taken.journal.record_pilots(self._fleet.pilots)
        self._release()
        pilots = count_of(len(self._fleet.live), "pilot")
        logger.info(
            f"jobs and {pilots} of run {self._taken.seat.run} keep running "
            "without Snakemake: the same command resumes the run, `osgpilot cleanup` ends it"
        )

    def _release(self) -> None:
        with suppress(OsgpilotError):
            self._taken.journal.hold(None)
