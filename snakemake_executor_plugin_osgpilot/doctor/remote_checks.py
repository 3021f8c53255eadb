"""Checks of what is elsewhere but no compute node: Slurm, token, image, access point, pool."""

from __future__ import annotations

import time
from collections.abc import Iterator

from snakemake_executor_plugin_osgpilot.common.durations import duration
from snakemake_executor_plugin_osgpilot.common.idtokens import JOIN_POOL, examine
from snakemake_executor_plugin_osgpilot.config.pilot_types import Kind, kinds
from snakemake_executor_plugin_osgpilot.config.site import OSPOOL, Site
from snakemake_executor_plugin_osgpilot.config.site_check import problems
from snakemake_executor_plugin_osgpilot.doctor.context import World
from snakemake_executor_plugin_osgpilot.doctor.findings import (
    Finding,
    failed,
    of_error,
    ok,
    untested,
    warning,
)
from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.pilots.token import RENEW
from snakemake_executor_plugin_osgpilot.slurm import commands
from snakemake_executor_plugin_osgpilot.slurm.host import Host

IMAGE_AGE_H = 72
"""The OSG asks for pilots with images no older (site documentation, containers)."""


def slurm(world: World) -> list[Finding]:
    """Check that Slurm's commands are there and answer."""
    if problem := world.look.reported().slurm_problem:
        return [of_error("slurm", problem)]
    cluster = world.facts.reported()
    accounts = f", accounts {', '.join(cluster.accounts)}" if cluster.accounts else ""
    count = len(cluster.partitions)
    return [ok("slurm", f"Slurm {cluster.version}, {cluster.name}: {count} partition(s){accounts}")]


def limits(world: World) -> list[Finding]:
    """Check the site's pilots against the limits of its partitions, then by Slurm itself."""
    site, cluster = world.site(), world.facts()
    if found := problems(site, cluster):
        return [
            failed("limits", f"`{'.'.join(map(str, p.keys))}` is {p.value}: {p.what}", p.fix)
            for p in found
        ]
    return list(_test_only(site, world.host(), world))


def largest(site: Site) -> tuple[Kind, ...]:
    """Return the largest kind of pilot in each partition."""
    by_partition = {kind.partition: kind for kind in reversed(kinds(site))}
    return tuple(reversed(by_partition.values()))


def allocation_of(kind: Kind, name: str, world: World) -> Allocation:
    """Return what Slurm would be asked for: a pilot of this kind with its longest life."""
    shape = kind.offer.shape
    return Allocation(
        name,
        "doctor",
        shape.cores,
        kind.memory_mb,
        max(kind.offer.walltimes_s) // 60,
        world.look().home,
        partition=kind.partition.name,
        gpus=shape.gpus,
        gpu_type=kind.partition.gpu_type,
    )


def _test_only(site: Site, host: Host, world: World) -> Iterator[Finding]:
    """Ask Slurm about the largest pilot of each partition; nothing is submitted."""
    for kind in largest(site):
        wanted = allocation_of(kind, "osgpilot-doctor", world)
        argv = commands.sbatch_test_only(wanted, site.slurm, world.look().home)
        # any script does: what it holds is not looked at
        done = host.run([*argv[:-2], "--wrap=true"])
        said = " ".join(done.err.split())
        what = f"{wanted.cores} cores, {wanted.memory_mb} MB, {wanted.walltime_min} min"
        where = f"in {kind.partition.name or 'the default partition'}"
        if done.status == 0:
            yield ok("limits", f"Slurm takes {what} {where}")
            continue
        cure = "see `slurm` and the shape of pilots in the site file; `osgpilot site check` helps"
        make = untested if "unable to contact" in said.lower() else failed
        yield make("limits", f"Slurm refuses {what} {where}: {said}", cure)


def token(world: World) -> list[Finding]:
    """Check the token with which pilots join: file, permissions, scopes, end."""
    seen = world.look()
    if problem := seen.token_problem:
        return [of_error("token", problem, RENEW)]
    life_s = max(max(kind.offer.walltimes_s) for kind in kinds(seen.site))
    found = examine(seen.claims, JOIN_POOL, time.time(), life_s)
    if found.error:
        return [failed("token", f"{seen.site.token} {found.error}", RENEW)]
    if found.warning:
        return [warning("token", f"{seen.site.token} {found.warning}", RENEW)]
    return [ok("token", found.summary)]


def image(world: World) -> list[Finding]:
    """Check that the pilot image is there, is one, and is fresh."""
    seen = world.look()
    if problem := seen.image_problem:
        cure = "fetch it: apptainer pull FILE docker://hub.osg-htc.org/osg-htc/ospool-ep:25-release"
        finding = of_error("image", problem)
        return [failed("image", finding.what, f"{finding.cure}; {cure}")]
    name = seen.site.image
    if "image_made" not in seen.facts:
        return [ok("image", f"{name}: pilots fetch it, and again after {IMAGE_AGE_H} h")]
    age_s = time.time() - float(seen.facts["image_made"])
    what = f"{name}, {int(seen.facts['image_size']) / 1e6:.0f} MB, {duration(age_s)} old"
    if age_s > IMAGE_AGE_H * 3600 and seen.site.central_manager == OSPOOL:
        cure = f"the OSG asks for one no older than {IMAGE_AGE_H} h: apptainer pull --force {name}"
        return [warning("image", what, f"{cure} docker://hub.osg-htc.org/...")]
    return [ok("image", what)]


def access_point(world: World) -> list[Finding]:
    """Check that the access point answers and lets us submit."""
    try:
        address, user = world.gate.reported()
    except OutcomeUnknownError as error:
        cure = "a token with WRITE is needed: `condor_token_fetch -authz READ -authz WRITE` there"
        return [failed("access-point", f"it does not let you submit ({error})", cure)]
    return [ok("access-point", f"{address} takes jobs of {user}")]


def pool(world: World) -> list[Finding]:
    """Check that the pool's central manager answers from here."""
    manager = world.site().central_manager
    try:
        world.manager().pilots()
    except OutcomeUnknownError as error:
        cure = "see `central_manager` in the site file; outgoing connections to it have to be open"
        return [failed("pool", f"{manager} does not answer ({error})", cure)]
    return [ok("pool", f"{manager} answers")]
