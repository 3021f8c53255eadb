"""The set-up that checks look at; facts that several of them need are found once."""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from ..common.system_clock import SystemClock
from ..config.project import choose
from ..config.site import Site, load
from ..config.slurm_facts import ClusterFacts
from ..errors import OsgpilotError
from ..htcondor.factory import AnyAccessPoint, access_point_of, chosen_schedd
from ..journal.run_folder import RunFolder
from ..model.identity import RunIdentity
from ..slurm.cluster import Cluster, Look, connect, look
from ..slurm.host import Host
from ..slurm.inventory import survey
from ..slurm.ssh import Logins

T = TypeVar("T")

PROBE_WAIT_S = 180.0
"""Default limit of the probe job's wait in Slurm's queue."""


class Skipped(Exception):  # noqa: N818  # as `unittest.SkipTest`: nothing went wrong
    """A check cannot run because of a finding of the check of that name."""


class Once(Generic[T]):
    """A question asked once; its answer or error is kept. `owner` is the check that reports it."""

    def __init__(self, owner: str, ask: Callable[[], T]) -> None:
        self._owner = owner
        self._ask = ask
        self._lock = threading.Lock()
        self._answer: list[T] = []
        self._error: OsgpilotError | Skipped | None = None

    def reported(self) -> T:
        """Return the answer, or raise the error itself: for the check that reports it."""
        with self._lock:
            if not self._answer and self._error is None:
                try:
                    self._answer.append(self._ask())
                except (OsgpilotError, Skipped) as error:
                    self._error = error
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def peek(self) -> T | None:
        """Return the answer if there is one already."""
        return next(iter(self._answer), None)

    def __call__(self) -> T:
        """Return the answer. Raises `Skipped` where there is none."""
        try:
            return self.reported()
        except OsgpilotError as error:
            raise Skipped(self._owner) from error


@dataclass
class CheckContext:
    """The set-up under test. `state_folder` is where a run here would keep its files; set-ups of
    several sites may share their `logins`.

    `stop` is set when the user interrupts: whatever waits then cleans up and ends.
    """

    site_file: Path
    project_said: str | None = None
    access_point_said: str | None = None
    state_folder: Path = Path(".snakemake")
    probe_wait_s: float = PROBE_WAIT_S
    stop: threading.Event = field(default_factory=threading.Event)
    logins: Logins = field(default_factory=Logins)

    def __post_init__(self) -> None:
        self.state_folder = self.state_folder.absolute()
        self._is_new = not self.state_folder.exists()

    @cached_property
    def site(self) -> Once[Site]:
        return Once("site-file", lambda: load(self.site_file))

    @cached_property
    def host(self) -> Once[Host]:
        return Once("slurm", lambda: connect(
            self.site().slurm.ssh, self.site().slurm.cluster, self.logins
        ))  # fmt: skip

    @cached_property
    def look(self) -> Once[Look]:
        return Once("slurm", lambda: look(self.host.reported(), self.site()))

    @cached_property
    def facts(self) -> Once[ClusterFacts]:
        return Once("slurm", lambda: survey(self.host.reported()))

    @cached_property
    def project(self) -> Once[str]:
        return Once("project", self._project)

    @cached_property
    def access_point(self) -> Once[AnyAccessPoint]:
        return Once("access-point", self._access_point)

    @cached_property
    def manager(self) -> Once[AnyAccessPoint]:
        """The central manager, on a client of its own, so that one that hangs delays no other
        check.
        """
        return Once("access-point", self._access_point)

    @cached_property
    def gate(self) -> Once[tuple[str, str]]:
        return Once("access-point", self._gate)

    def cluster(self) -> Cluster:
        """Return the cluster as it is, even if parts of it are missing."""
        seen = self.look()
        return Cluster(self.host(), seen.site, seen.facts["user"], seen.home)

    def seat(self) -> RunIdentity:
        """Return names for what we start; an invalid project is reported by its own check."""
        try:
            project = self.project()
        except Skipped:
            project = "none"
        return RunIdentity(getpass.getuser(), project, "doctor")

    def interrupt(self) -> None:
        """Make everything that waits stop and clean up."""
        self.stop.set()
        for each in (self.access_point, self.manager):
            if access_point := each.peek():
                access_point.interrupt()

    def close(self) -> None:
        """Leave no process, no connection and no folder behind."""
        self.interrupt()
        for each in (self.access_point, self.manager):
            if access_point := each.peek():
                access_point.close()
        if host := self.host.peek():
            host.close()
        if self._is_new:
            with suppress(OSError):
                self.state_folder.rmdir()

    def _project(self) -> str:
        return choose(self.project_said, os.environ, self.site().project)

    def _access_point(self) -> AnyAccessPoint:
        site = self.site()
        there = chosen_schedd(self.access_point_said, site)
        folder = RunFolder(self.state_folder / "osgpilot" / "doctor")
        return access_point_of(self.seat(), folder, site, there, SystemClock())

    def _gate(self) -> tuple[str, str]:
        access_point = self.access_point.reported()
        access_point.ping()
        return access_point.gate()
