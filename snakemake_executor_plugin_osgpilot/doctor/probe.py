"""One-minute Slurm jobs that find out what pilots would find on compute nodes."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from .. import pilots
from ..config.pilot_types import Kind
from ..config.site import OSPOOL
from ..errors import OsgpilotError, OutcomeUnknownError
from ..journal.run_folder import RunFolder
from ..model.resources import Pilot, Shape
from ..pilots.batch_system import Allocation, Slurm
from ..pilots.parameters import parameters, pilot_files
from ..pilots.state.lifecycle import ABSENT_LOOKS_TO_BELIEVE, Row, Seen
from ..scaling.planner.supply import PERMANENT_REASONS
from ..slurm import commands
from ..slurm.client import SlurmClient
from ..slurm.cluster import Cluster
from .context import CheckContext, Skipped
from .findings import Finding, failed, of_error, untested
from .node_report import Said, findings
from .remote_checks import largest

PROBE = "probe"
WALLTIME_MIN, MEMORY_MB = 2, 1024
"""A probe's request: it takes a minute at most, and a small job fits into gaps of the schedule."""

RUN_S = 180.0
"""Slurm ends a probe by its walltime, rounded up to its next check."""

PAUSE_S, PAUSE_MAX_S, LOG_WAIT_S = 0.5, 5.0, 15.0
"""Between polls of the queue; and the time for a log to appear on a network file system."""

CCB = ("ccb-1.ospool.osg-htc.org:9618", "ccb-2.ospool.osg-htc.org:9618")
"""Through them, the access point reaches pilots of the OSPool (osgvo-docker-pilot,
10-setup-htcondor.sh)."""


IMAGES = ("https://ospool-images-web.nrp-nautilus.io/v2/ARCH/htc__rocky__9/latest.txt",)
"""What the OSG pilot container fetches at its start: the newest version of the image in which jobs
without one run, for the node's ARCH (osg-flock, pilot/default-image)."""


@dataclass
class Probe:
    """A probe of one partition, in Slurm under `allocation.name`."""

    kind: Kind
    allocation: Allocation
    asked_s: float = 0.0
    allocation_id: str = ""
    row: Row | None = None
    absent_looks: int = 0

    @property
    def partition(self) -> str:
        return self.kind.partition.name

    @property
    def is_over(self) -> bool:
        """True if Slurm reports an end, or no longer lists it: some sites keep no ended jobs."""
        if self.absent_looks >= ABSENT_LOOKS_TO_BELIEVE:
            return True
        row = self.row
        return row is not None and row.seen.is_end

    @property
    def has_run(self) -> bool:
        row = self.row
        return self.is_over if row is None or row.seen is Seen.QUEUED else row.started_s is not None

    def seen_as(self, row: Row | None) -> None:
        """Record the row of a poll, None if there was none."""
        self.absent_looks = 0 if row else self.absent_looks + 1
        self.row = row or self.row


def node(context: CheckContext) -> list[Finding]:
    """Check compute nodes of every partition by a small job in each."""
    cluster = context.cluster()
    with _folder(context, cluster) as (run, client):
        wanted = largest(cluster.site)
        probes = [_probe(context, cluster, run.pilot(f"{n}"), k) for n, k in enumerate(wanted, 1)]
        return sent(probes, client, context, cluster)


def sent(
    probes: list[Probe], slurm: Slurm, context: CheckContext, cluster: Cluster
) -> list[Finding]:
    """Submit probes, wait for them and read their logs; leave none of them in Slurm."""
    refused: list[Finding] = []
    try:
        for probe in probes:
            refused += _submit(slurm, probe)
        asked = [probe for probe in probes if probe.allocation_id]
        _wait(context, slurm, asked)
        return refused + [each for probe in asked for each in _read(context, cluster, probe)]
    finally:
        _cancel(slurm, probes)


@contextmanager
def _folder(context: CheckContext, cluster: Cluster) -> Iterator[tuple[RunFolder, SlurmClient]]:
    """Yield a folder that compute nodes should see, and a client of Slurm; remove the folder at the
    end.
    """
    own = RunFolder(context.state_folder / f"doctor-{secrets.token_hex(4)}")
    there = cluster.folder(own)
    try:
        yield there, cluster.client(own)
    finally:
        if there == own:
            shutil.rmtree(own.path, ignore_errors=True)
        else:
            with suppress(OsgpilotError):
                cluster.host.run(["rm", "-rf", str(there.path)])


def _probe(context: CheckContext, cluster: Cluster, folder: Path, kind: Kind) -> Probe:
    """Return the probe of one partition; `folder` is its own, in that of all."""
    run = folder.parents[1]
    name = f"osgpilot-{run.name}-{folder.name}"
    site, partition = cluster.site, kind.partition
    gpus = min(1, partition.gpus)
    memory_mb = min(MEMORY_MB, partition.memory_mb)
    shape = Shape(1, memory_mb, gpus=gpus)
    seat = replace(context.seat(), run=run.name)
    values = parameters(site, seat, Pilot(name, shape, walltime_s=60 * WALLTIME_MIN), run)
    values["option targets"] = " ".join(_targets(context))
    values["option urls"] = " ".join(IMAGES if site.central_manager == OSPOOL else ())
    probe_text = files(pilots).joinpath("probe.sh").read_text(encoding="utf-8")
    allocation = Allocation(
        name,
        run.name,
        1,
        memory_mb,
        WALLTIME_MIN,
        folder,
        partition=partition.name,
        gpus=gpus,
        gpu_type=partition.gpu_type,
        queue=partition.queue,
        files={**pilot_files(site, values), PROBE: probe_text},
    )
    return Probe(kind, allocation)


def _targets(context: CheckContext) -> list[str]:
    """Return further hosts and ports that pilots connect to, besides the central manager."""
    targets = list(CCB) if context.site().central_manager == OSPOOL else []
    with suppress(Skipped):
        targets.append(context.gate()[0])
    return [target for target in targets if target]


def _submit(slurm: Slurm, probe: Probe) -> list[Finding]:
    probe.asked_s = time.time()
    try:
        probe.allocation_id = slurm.submit(probe.allocation)
    except OsgpilotError as error:
        fix = "see `slurm` and the partitions in the site file; `osgpilot site check` helps"
        return [of_error("node", error, fix)]
    return []


def _wait(context: CheckContext, slurm: Slurm, probes: list[Probe]) -> None:
    """Poll until all probes are over or out of time, with one query for all of them."""
    pause_s, start_by_s = PAUSE_S, time.monotonic() + context.probe_wait_s
    while not all(probe.is_over for probe in probes):
        if context.stop.wait(pause_s):
            return
        pause_s = min(PAUSE_MAX_S, 1.5 * pause_s)
        with suppress(OutcomeUnknownError):
            rows = slurm.look()
            for probe in probes:
                probe.seen_as(rows.get(probe.allocation.name))
        now_s = time.monotonic()
        waits = [p for p in probes if not p.is_over and not p.has_run]
        if now_s > start_by_s + RUN_S or (now_s > start_by_s and len(waits) == _open(probes)):
            return
        if waits and len(waits) == _open(probes) and all(map(_is_hopeless, waits)):
            return


def _open(probes: list[Probe]) -> int:
    return sum(not probe.is_over for probe in probes)


def _is_hopeless(probe: Probe) -> bool:
    return probe.row is not None and PERMANENT_REASONS.search(probe.row.reason) is not None


def _read(context: CheckContext, cluster: Cluster, probe: Probe) -> Iterator[Finding]:
    row, name = probe.row, probe.partition or "the default partition"
    if not probe.has_run:
        reason = row.reason if row and row.reason else "Slurm does not say why"
        what = f"the probe in {name} did not start ({reason})"
        if _is_hopeless(probe):
            yield failed("node", what, "see `slurm` and the partitions in the site file")
        else:
            fix = "wait longer: --only node --probe-wait SECONDS; `squeue --start` estimates"
            yield untested("node", what, fix)
        return
    said = _log(context, cluster, probe)
    if not said.log:
        fix = (
            "name a folder on a shared file system as `slurm.folder`"
            if cluster.site.slurm.ssh
            else "work in a folder on a file system that compute nodes share with this host"
        )
        where = f"{row.node if row else 'a node'} ({name})"
        what = f"the probe ran on {where} but left no log in {probe.allocation.folder}"
        yield failed("node-folder", what, fix)
        return
    yield from findings(said, cluster.site, probe.allocation.gpus)


def _log(context: CheckContext, cluster: Cluster, probe: Probe) -> Said:
    path = probe.allocation.folder / commands.LOG
    until_s, log = time.monotonic() + LOG_WAIT_S, ""
    while True:
        with suppress(OutcomeUnknownError):
            log = cluster.host.run(["cat", str(path)]).out
        said = Said(log, probe.partition, probe.asked_s, time.time())
        if said.is_whole or time.monotonic() > until_s or context.stop.wait(PAUSE_S):
            return said


def _cancel(slurm: Slurm, probes: list[Probe]) -> None:
    """Cancel all probes, those whose submission got no answer included."""
    rows: dict[str, Row] = {}
    if any(not probe.allocation_id for probe in probes):
        with suppress(OsgpilotError):
            rows = slurm.look()
    names = {probe.allocation.name for probe in probes}
    doomed = {row.allocation_id: name for name, row in rows.items() if name in names}
    doomed |= {p.allocation_id: p.allocation.name for p in probes if not p.is_over}
    doomed.pop("", None)
    if doomed:
        with suppress(OsgpilotError):
            slurm.kill(doomed)
