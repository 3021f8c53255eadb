"""Findings about a node, from the log of a probe job. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..common.counting import count_of
from ..config.site import Site
from .findings import Finding, failed, ok, untested, warning

MARK = "osgpilot: check "
PROBLEM = "osgpilot: problem: "
DONE = f"{MARK}probe=done"

SCRATCH_MIN_GB = 5
"""With less, a pilot has no room for images of registries (osg-flock, pilot/advertise-base)."""

SKEW_MAX_S = 60.0
"""With a clock further off, fresh tokens look as if they were not valid yet."""

SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "panfs", "fuse.")
ASK = "ask the administrators of the cluster to"


@dataclass(frozen=True)
class Said:
    """The log of a probe, and when it was asked for and read (seconds since the epoch)."""

    log: str
    partition: str
    asked_s: float
    read_s: float

    @property
    def is_whole(self) -> bool:
        return DONE in self.log

    def all(self, name: str) -> list[str]:
        start = f"{MARK}{name}="
        lines = self.log.splitlines()
        return [line.removeprefix(start).strip() for line in lines if line.startswith(start)]

    def one(self, name: str) -> str:
        """Return the value of `name`, empty if the log has none."""
        return next(iter(self.all(name)), "")

    @property
    def problems(self) -> str:
        lines = self.log.splitlines()
        return "; ".join(x.removeprefix(PROBLEM) for x in lines if x.startswith(PROBLEM))

    @property
    def where(self) -> str:
        return f"{self.one('node')} ({self.partition})" if self.partition else self.one("node")


def findings(said: Said, site: Site, gpus: int) -> Iterator[Finding]:
    """Return the findings about a node, one for each thing a pilot needs there."""
    if not said.is_whole:
        tail = " ".join(said.log.split())[-300:] or "nothing"
        yield failed("node", f"the probe on {said.where} broke off, it said: {tail}", "see `setup`")
        return
    yield from _containers(said)
    yield from _scratch(said, site)
    yield from _files(said, site)
    yield from _network(said, site)
    yield _clock(said)
    if gpus:
        yield _gpus(said)


def _containers(said: Said) -> Iterator[Finding]:
    runtime, where = said.one("runtime"), said.where
    if runtime == "missing":
        fix = "load it in `setup` of the site file, such as `module load apptainer`, or " + ASK
        what = f"neither apptainer nor singularity on {where}"
        yield failed("node-apptainer", what, f"{fix} install it")
    else:
        yield ok("node-apptainer", f"{runtime} on {where}")
    if said.one("user_namespaces") == "ok":
        yield ok("node-namespaces", f"user namespaces work on {where}")
    else:
        fix = (
            f"{ASK} allow them on compute nodes (sysctl user.max_user_namespaces above 0; on "
            "Ubuntu kernel.apparmor_restrict_unprivileged_userns = 0)"
        )
        yield failed("node-namespaces", f"user namespaces are off on {where}", fix)
    if said.one("fuse") == "ok":
        yield ok("node-fuse", f"/dev/fuse exists on {where}")
    else:
        fix = f"{ASK} load the module fuse and to let users open /dev/fuse"
        yield failed("node-fuse", f"no /dev/fuse on {where}: jobs in containers do not start", fix)


def _scratch(said: Said, site: Site) -> Iterator[Finding]:
    state, where = said.one("scratch"), said.where
    if state != "ok":
        how = "does not exist" if state == "absent" else "cannot be written"
        what = f"{site.scratch} {how} on {where}"
        yield failed("node-scratch", what, "name a folder on the node's own disk as `scratch`")
        return
    free_gb, kind = int(said.one("scratch_gb") or 0), said.one("scratch_kind")
    what = f"{site.scratch} on {where}: {free_gb} GB free, {kind}"
    fix = "name another folder as `scratch`, on a disk of the node's own"
    if free_gb < SCRATCH_MIN_GB:
        what = f"{what}, less than {SCRATCH_MIN_GB} GB: no room for images of registries"
        yield warning("node-scratch", what, fix)
    elif kind in ("tmpfs", "ramfs"):
        yield warning("node-scratch", f"{what}: it is in memory that jobs need", fix)
    elif kind.startswith(SHARED):
        yield warning("node-scratch", f"{what}: it is shared, so slow for many small files", fix)
    else:
        yield ok("node-scratch", what)


def _files(said: Said, site: Site) -> Iterator[Finding]:
    where = said.where
    if said.one("token") == "ok":
        yield ok("node-token", f"the token can be read on {where}")
    else:
        fix = "put it where compute nodes see it and name that place as `token`"
        yield failed("node-token", f"{site.token} cannot be read on {where}", fix)
    image = said.one("image")
    if image == "slow":
        what = f"{site.image} was not fetched within a probe's time on {where}"
        yield untested("node-image", what, "the first pilot shows it; a file starts sooner")
    elif image == "unreadable":
        fix = "put it where compute nodes see it and name that place as `image`"
        yield failed("node-image", f"{site.image} cannot be read on {where}", fix)
    elif not image:
        yield untested("node-image", f"{site.image} was not started: no apptainer or no scratch")
    elif image != "ok":
        fix = "fetch it again; `apptainer exec IMAGE true` has to work on the node"
        yield failed("node-image", f"{site.image} on {where} {image}", fix)
    elif said.one("nested") == "ok":
        yield ok("node-image", f"{site.image} starts on {where}, and containers in it can, too")
    else:
        fix = f"{ASK} allow user namespaces in containers (`allow setuid = no` in apptainer.conf)"
        what = f"{site.image} starts on {where}, but no container in it can: jobs need one"
        yield failed("node-image", what, fix)


def _network(said: Said, site: Site) -> Iterator[Finding]:
    where = said.where
    if said.one("pool") == "ok":
        yield ok("node-pool", f"{where} reaches {site.central_manager}")
    else:
        fix = f"see `central_manager` in the site file; {ASK} let compute nodes connect out to it"
        yield failed("node-pool", f"{where} cannot reach {site.central_manager}", fix)
    for target in said.all("reaches"):
        yield ok("node-ports", f"{where} reaches {target}")
    for target in said.all("misses"):
        fix = f"{ASK} let compute nodes connect out to TCP {target}"
        yield failed("node-ports", f"{where} cannot reach {target}", fix)
    yield from _fetches(said)


def _fetches(said: Said) -> Iterator[Finding]:
    where = said.where
    for url in said.all("fetches"):
        yield ok("node-fetches", f"{where} fetches {url}")
    for url in said.all("unfetched"):
        what = f"{where} cannot fetch {url}, with which pilots find the image of their jobs"
        fix = f"{ASK} let compute nodes connect out to {url.split('/')[2]}, TCP 443"
        if said.one("cvmfs_images") == "ok":
            yield warning("node-fetches", f"{what}; they use the one in /cvmfs", fix)
        else:
            yield failed("node-fetches", f"{what}: every job fails there", fix)


def _clock(said: Said) -> Finding:
    off_s = skew_s(said)
    if off_s is None:
        return untested("node-clock", f"{said.where} did not report its time")
    if abs(off_s) > SKEW_MAX_S:
        how = "ahead of" if off_s > 0 else "behind"
        what = f"the clock of {said.where} is {abs(off_s):.0f} s {how} the one here"
        return warning("node-clock", what, f"{ASK} set it (chrony, ntp): tokens depend on it")
    return ok("node-clock", f"the clock of {said.where} agrees with the one here")


def skew_s(said: Said) -> float | None:
    """Return the least that the node's clock is ahead of ours, in seconds; None if unknown.

    It was read between our submitting the probe and our reading of its log.
    """
    text = said.one("clock")
    if not text.isdigit():
        return None
    at_s = float(text)
    return max(0.0, at_s - said.read_s) or min(0.0, at_s + 1 - said.asked_s)


def _gpus(said: Said) -> Finding:
    count = said.one("gpus")
    if count in ("", "0"):
        fix = "see `gpus` of the partition in the site file; nvidia-smi has to work in a job"
        return warning("node-gpus", f"nvidia-smi shows no GPU on {said.where}", fix)
    return ok(
        "node-gpus",
        f"{count_of(int(count), 'GPU')} on {said.where}"
        if count.isdigit()
        else f"{count} GPUs on {said.where}",
    )
