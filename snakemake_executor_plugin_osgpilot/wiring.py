"""The one place that picks implementations for the ports and checks what they need."""

from __future__ import annotations

import getpass
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import plain_path
from snakemake_executor_plugin_osgpilot.access_point.local import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.controller import Controller
from snakemake_executor_plugin_osgpilot.core.model import Policy
from snakemake_executor_plugin_osgpilot.errors import BadInput, OsgpilotError, Unavailable
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilot.parameters import (
    check_token,
    install_script,
    parameters,
    safe_name,
)
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.site.load import Site, load
from snakemake_executor_plugin_osgpilot.slurm.local import LocalSlurm

LIFE_MARGIN_S = 600
"""What boot and orderly end take off a pilot's walltime before a job can count on the rest."""

_SLURM_COMMANDS = ("sbatch", "squeue", "scancel")


class SystemClock:
    """Implements `ports.Clock`."""

    def now_s(self) -> float:
        return time.time()


@dataclass(frozen=True)
class Run:
    """Everything that serves one run of a workflow.

    `pilot_life_s` is how long jobs can count on a new pilot; `say` and `warn` reach the user.
    """

    seat: Seat
    folder: RunFolder
    workdir: Path
    queue: Queue
    controller: Controller
    access_point: LocalAccessPoint
    pilot_life_s: int
    say: Callable[[str], None]
    warn: Callable[[str], None]

    def close(self) -> None:
        """End jobs, pilots and helper processes of this run."""
        self.controller.close()
        self.access_point.close()


def start(
    project: str,
    site_file: Path,
    pilots_max: int,
    state_folder: Path,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    shared_folders: tuple[str, ...] = (),
) -> Run:
    """Check everything a run needs, then start its controller.

    Pilots make `shared_folders` of their node visible to jobs.

    Raises an `OsgpilotError` that names what is wrong; nothing was submitted then.
    """
    site = replace(load(site_file), shared_folders=shared_folders)
    owner = getpass.getuser()
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    seat = Seat(owner, safe_name(project, "--osgpilot-project"), run_id)
    if pilots_max < 1:
        raise BadInput(f"--osgpilot-max-pilots is {pilots_max}; it has to be 1 or more")
    _check(site, seat, state_folder)

    folder = RunFolder.create(state_folder.absolute(), run_id)
    access_point = LocalAccessPoint(seat, folder.path)
    try:
        access_point.ping()
    except OsgpilotError as error:
        access_point.close()
        raise Unavailable(
            f"{error}; is this an access point? `condor_q` has to work here"
        ) from error
    clock = SystemClock()
    fleet = Fleet(
        LocalSlurm(owner, site.slurm, install_script(folder.path)), clock, site, seat, folder
    )
    queue = Queue(access_point, site.pilot.shape)
    policy = Policy(
        pilot_shape=site.pilot.shape,
        walltime_s=site.pilot.walltime_min * 60 - LIFE_MARGIN_S,
        pilots_max=pilots_max,
    )
    controller = Controller(queue, fleet, clock, policy, seat, folder, say, warn)
    controller.start()
    return Run(
        seat, folder, Path.cwd(), queue, controller, access_point, policy.walltime_s, say, warn
    )


def _check(site: Site, seat: Seat, state_folder: Path) -> None:
    check_token(site.token)
    for command in _SLURM_COMMANDS:
        if shutil.which(command) is None:
            raise Unavailable(
                f"`{command}` was not found; run Snakemake where Slurm's commands work"
            )
    if "://" not in site.image and not Path(site.image).exists():
        raise BadInput(f"pilot image {site.image} does not exist; see `image` in the site file")
    plain_path(state_folder.absolute())
    parameters(site, seat, "check")
