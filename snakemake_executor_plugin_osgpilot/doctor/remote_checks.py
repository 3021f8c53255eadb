"""Checks of everything elsewhere but compute nodes: Slurm, token, image, access point, pool."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..common.counting import count_of
from ..common.durations import duration
from ..common.idtokens import JOIN_POOL, examine
from ..config.pilot_types import Kind, kinds
from ..config.site import OSPOOL, Site
from ..config.site_check import problems
from ..errors import OutcomeUnknownError
from ..pilots.batch_system import Allocation
from ..pilots.token import RENEW
from ..slurm import commands
from ..slurm.host import Host
from ..slurm.remote_script import message
from .context import CheckContext
from .findings import Finding, failed, of_error, ok, untested, warning

IMAGE_AGE_H = 72
"""The OSG asks for pilots with images no older (site documentation, containers)."""


def slurm(context: CheckContext) -> list[Finding]:
    """Check that Slurm's commands are there and answer."""
    if problem := context.look.reported().slurm_problem:
        return [of_error("slurm", problem)]
    cluster = context.facts.reported()
    accounts = f", accounts {', '.join(cluster.accounts)}" if cluster.accounts else ""
    count = count_of(len(cluster.partitions), "partition")
    return [ok("slurm", f"Slurm {cluster.version}, {cluster.name}: {count}{accounts}")]


def limits(context: CheckContext) -> list[Finding]:
    """Check the site's pilots against the limits of its partitions, then by Slurm itself."""
    site, cluster = context.site(), context.facts()
    if found := problems(site, cluster):
        return [
            failed("limits", f"`{'.'.join(map(str, p.keys))}` is {p.value}: {p.what}", p.fix)
            for p in found
        ]
    return list(_test_only(site, context.host(), context))


def largest(site: Site) -> tuple[Kind, ...]:
    """Return the largest kind of pilot in each partition."""
    by_partition = {kind.partition: kind for kind in reversed(kinds(site))}
    return tuple(reversed(by_partition.values()))


def allocation_of(kind: Kind, name: str, context: CheckContext) -> Allocation:
    """Return the Slurm request of a pilot of this kind with its longest walltime."""
    shape = kind.offer.shape
    return Allocation(
        name,
        "doctor",
        shape.cores,
        kind.memory_mb,
        max(kind.offer.walltimes_s) // 60,
        context.look().home,
        partition=kind.partition.name,
        gpus=shape.gpus,
        gpu_type=kind.partition.gpu_type,
        queue=kind.partition.queue,
    )


def _test_only(site: Site, host: Host, context: CheckContext) -> Iterator[Finding]:
    """Test the largest pilot of each partition with `sbatch --test-only`."""
    for kind in largest(site):
        wanted = allocation_of(kind, "osgpilot-doctor", context)
        argv = commands.sbatch_test_only(wanted, site.slurm, context.look().home)
        # any script will do: Slurm ignores its contents
        done = host.run([*argv[:-2], "--wrap=true"])
        said = message(done)
        what = f"{wanted.cores} cores, {wanted.memory_mb} MB, {wanted.walltime_min} min"
        where = f"in {kind.partition.name or 'the default partition'}"
        if done.status == 0:
            yield ok("limits", f"Slurm accepts {what} {where}")
            continue
        fix = "see `slurm` and the shape of pilots in the site file; `osgpilot site check` helps"
        make = untested if "unable to contact" in said.lower() else failed
        yield make("limits", f"Slurm refuses {what} {where}: {said}", fix)


def token(context: CheckContext) -> list[Finding]:
    """Check the token with which pilots join: file, permissions, scopes, expiry."""
    seen = context.look()
    if problem := seen.token_problem:
        return [of_error("token", problem, RENEW)]
    life_s = max(max(kind.offer.walltimes_s) for kind in kinds(seen.site))
    found = examine(seen.claims, JOIN_POOL, time.time(), life_s)
    if found.error:
        return [failed("token", f"{seen.site.token} {found.error}", RENEW)]
    if found.warning:
        return [warning("token", f"{seen.site.token} {found.warning}", RENEW)]
    return [ok("token", found.summary)]


def image(context: CheckContext) -> list[Finding]:
    """Check that the pilot image exists, is one, and is fresh."""
    seen = context.look()
    if problem := seen.image_problem:
        fix = "fetch it: apptainer pull FILE docker://hub.osg-htc.org/osg-htc/ospool-ep:25-release"
        finding = of_error("image", problem)
        return [failed("image", finding.what, f"{finding.fix}; {fix}")]
    name = seen.site.image
    if "image_made" not in seen.facts:
        return [ok("image", f"{name}: pilots fetch it, and again after {IMAGE_AGE_H} h")]
    age_s = time.time() - float(seen.facts["image_made"])
    what = f"{name}, {int(seen.facts['image_size']) / 1e6:.0f} MB, {duration(age_s)} old"
    if age_s > IMAGE_AGE_H * 3600 and seen.site.central_manager == OSPOOL:
        fix = f"the OSG asks for one no older than {IMAGE_AGE_H} h: apptainer pull --force {name}"
        return [warning("image", what, f"{fix} docker://hub.osg-htc.org/...")]
    return [ok("image", what)]


def access_point(context: CheckContext) -> list[Finding]:
    """Check that the access point answers and accepts our jobs."""
    try:
        address, user = context.gate.reported()
    except OutcomeUnknownError as error:
        fix = "a token with WRITE is needed: `condor_token_fetch -authz READ -authz WRITE` there"
        return [failed("access-point", f"it does not let you submit ({error})", fix)]
    return [ok("access-point", f"{address} accepts jobs of {user}")]


def pool(context: CheckContext) -> list[Finding]:
    """Check that the pool's central manager answers from here."""
    manager = context.site().central_manager
    try:
        context.manager().pilots()
    except OutcomeUnknownError as error:
        fix = "see `central_manager` in the site file; outgoing connections to it have to be open"
        return [failed("pool", f"{manager} does not answer ({error})", fix)]
    return [ok("pool", f"{manager} answers")]
