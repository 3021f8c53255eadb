"""The sites of a run: one site file or several, which belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from ..errors import InputError
from .site import Site, load


def site_files(given: str | Path | None) -> tuple[Path, ...]:
    """Return the files of `--osgpilot-site`, separated by commas.

    A comma in the name of a file, or of a folder that it is in, separates nothing.
    """
    parts, files = str(given or "").split(","), []
    while parts:
        ends = range(2, len(parts) + 1)
        whole = next((end for end in ends if _is_file(",".join(parts[:end]))), 1)
        files.append(",".join(parts[:whole]).strip())
        del parts[:whole]
    return tuple(_path(name) for name in files if name) or (Path(),)


def _path(name: str) -> Path:
    return Path(os.path.expandvars(name.strip())).expanduser()


def _is_file(name: str) -> bool:
    try:
        return _path(name).is_file()
    except OSError:
        # too long, or in a folder that is not ours: the file that is meant says so when it is read
        return False


def load_all(files: Sequence[Path]) -> tuple[Site, ...]:
    """Return the sites of these files, in their order.

    Of several, the names of pilot types begin with that of the site. Raises `InputError`, naming
    the files, where they cannot serve one run.
    """
    sites = tuple(load(file) for file in files)
    for (file, site), (other_file, other) in combinations(zip(files, sites, strict=True), 2):
        for problem in filter(None, (check(site, other) for check in _CHECKS)):
            raise InputError(f"site files {file} and {other_file}: {problem}")
    if len(sites) == 1:
        return sites
    return tuple(replace(site, offer_prefix=f"{site.resource}:") for site in sites)


def _names(site: Site, other: Site) -> str:
    if site.resource != other.resource:
        return ""
    return f"both have `resource: {site.resource}`; give each a name of its own"


def _pools(site: Site, other: Site) -> str:
    if site.central_manager == other.central_manager:
        return ""
    return (
        f"`central_manager` is {site.central_manager} and {other.central_manager}; the pilots of "
        "a run join one pool"
    )


def _access_points(site: Site, other: Site) -> str:
    if site.access_point == other.access_point:
        return ""
    return "`access_point` differs; the jobs of a run have one, so write the same in both"


def _prices(site: Site, other: Site) -> str:
    if (site.cost_per_core_h is None) == (other.cost_per_core_h is None):
        return ""
    return "one has no `cost_per_core_h`; give it in all files, or in none"


_CHECKS: tuple[Callable[[Site, Site], str], ...] = (_names, _pools, _access_points, _prices)
"""Each returns a reason why two sites cannot serve one run, empty if they can."""


def project_of(sites: Iterable[Site]) -> str:
    """Return the project of the first site file that names one, empty if none does."""
    return next((site.project for site in sites if site.project), "")


def of_plain_jobs(sites: Sequence[Site]) -> Site:
    """Return the site whose Slurm gets jobs that do not run on pilots: the first whose commands
    work here, else the first.
    """
    return next((site for site in sites if not site.slurm.ssh), sites[0])
