"""The ends of a run that we see coming: nothing left, or all left as it is to go on later."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from snakemake_executor_plugin_osgpilot.errors import OsgpilotError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import INPUT_FOLDER, JOB_FILE
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.run.controller import RunController
from snakemake_executor_plugin_osgpilot.run.resume import AcquiredRun
from snakemake_executor_plugin_osgpilot.slurm.cluster import Cluster
from snakemake_executor_plugin_osgpilot.staging.commit_outputs import discard

Say = Callable[[str], None]

DETACH = "detach"

DETACHED_FOR_S = 7 * 24 * 3600.0
"""How long pilots of a detached run go on without a sign of life from it."""


def finish(folder: RunFolder, journal: Journal) -> None:
    """Remove the folders of jobs that came to no end, and keys; note that nothing is left.

    Those of failed jobs stay, to be looked at, but for files with secrets that a kill has left
    there. Raises `OutcomeUnknownError`, or `RunTakenOverError`: nothing is removed then.
    """
    journal.check_held()
    for entry in journal.entries():
        discard(folder.job(entry.key))
    shutil.rmtree(folder.keys, ignore_errors=True)
    for file in folder.path.glob(f"jobs/*/{INPUT_FOLDER}/{JOB_FILE}"):
        with suppress(OSError):
            file.unlink()
    journal.finish()


class Closable(Protocol):
    """What has a process or a file to close."""

    def close(self) -> None: ...


class Ending:
    """Ends one run. `on_exit` is what the user wishes for Ctrl-C: `cancel` or `detach`."""

    def __init__(
        self, controller: RunController, access_point: Closable, cluster: Cluster,
        taken: AcquiredRun, fleet: PilotManager, on_exit: str, heard: tuple[Say, Say],
    ) -> None:  # fmt: skip
        self._controller, self._access_point, self._taken = controller, access_point, taken
        self._cluster, self._fleet, self._on_exit = cluster, fleet, on_exit
        self._say, self._warn = heard

    @property
    def detaches(self) -> bool:
        """Whether Ctrl-C leaves jobs and pilots where they are."""
        return self._on_exit == DETACH

    def listen(self) -> None:
        """Have SIGTERM act as Ctrl-C if that detaches; Snakemake would wait for running jobs."""
        if self.detaches and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def end(self, *, interrupted: bool) -> None:
        """End jobs and pilots; where the user has `interrupted` the run, leave them if wished."""
        with suppress(OutcomeUnknownError):
            self._taken.journal.check_held()
        if interrupted and self.detaches:
            self._leave()
        elif self._controller.close(hurry=interrupted):
            with suppress(OsgpilotError):
                finish(self._taken.folder, self._taken.journal)
        else:
            # what Slurm starts yet is to leave at once
            with suppress(OsgpilotError):
                self._cluster.extend_lease(self._taken.folder, 0.0)
            self._let_go()
        if not self._fleet.live:
            self._clear_cluster()
        self._cluster.host.close()
        self._access_point.close()
        self._taken.journal.close()

    def _clear_cluster(self) -> None:
        try:
            self._cluster.clean_up(self._taken.folder)
        except OsgpilotError as error:
            there = self._cluster.folder(self._taken.folder).path
            self._warn(f"could not remove {there} from the cluster: {error}")

    def _leave(self) -> None:
        self._controller.stop(hurry=True)
        with suppress(OsgpilotError):
            self._cluster.extend_lease(self._taken.folder, time.time() + DETACHED_FOR_S)
        with suppress(OsgpilotError):
            self._taken.journal.pilots_are(self._fleet.pilots)
        self._let_go()
        self._say(
            f"jobs and {len(self._fleet.live)} pilot(s) of run {self._taken.seat.run} go on "
            "without Snakemake: the same command goes on with them, `osgpilot reap` ends them"
        )

    def _let_go(self) -> None:
        with suppress(OsgpilotError):
            self._taken.journal.hold(None)
