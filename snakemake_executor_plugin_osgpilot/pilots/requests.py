"""The requests of a run's pilots to Slurm."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..config.pilot_types import Kind, kinds
from ..config.site import Site
from ..journal.run_folder import RunFolder
from ..model.identity import RunIdentity
from ..model.resources import Pilot, PilotType
from . import parameters
from .batch_system import Allocation


class SiteRequests:
    """Implements `batch_system.PilotRequests` for a run at `site`; `folder` is its folder there."""

    def __init__(self, site: Site, seat: RunIdentity, folder: RunFolder) -> None:
        self._site, self._seat, self._folder = site, seat, folder

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return {kind.offer.name: kind for kind in kinds(self._site)}

    @cached_property
    def offers(self) -> dict[str, PilotType]:
        return {name: kind.offer for name, kind in self._kinds.items()}

    @property
    def shared(self) -> bool:
        return self._seat.pilot_sharing.shared

    def last_number(self) -> int:
        return self._folder.last_number("pilots")

    def name(self, number: int) -> str:
        return f"osgpilot-{self._seat.run}-{number}"

    def file(self, name: str) -> Path:
        return self._folder.path / name

    def pilot_folder(self, pilot: str) -> Path:
        return self._folder.pilot(pilot)

    def allocation(self, pilot: Pilot) -> Allocation:
        kind = self._kinds[pilot.offer]
        values = parameters.parameters(self._site, self._seat, pilot, self._folder.path)
        return Allocation(
            pilot.name,
            self._seat.run,
            pilot.shape.cores,
            kind.memory_mb,
            pilot.walltime_s // 60,
            self._folder.pilot(pilot.name),
            partition=kind.partition.name,
            gpus=pilot.shape.gpus,
            gpu_type=kind.partition.gpu_type,
            queue=kind.partition.queue,
            files=parameters.pilot_files(self._site, values),
        )
