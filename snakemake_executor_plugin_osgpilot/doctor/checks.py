"""The table of checks; runs them concurrently and reports them in the table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from ..config.sites import load_all
from ..errors import InputError, OsgpilotError
from . import local_checks as setup
from . import probe
from . import remote_checks as places
from .context import CheckContext, Skipped
from .findings import Finding, of_error, ok, untested


@dataclass(frozen=True)
class Check:
    """A check by its name, and in a few words what it tests."""

    name: str
    about: str
    find: Callable[[CheckContext], list[Finding]]


NODE = "node"

CHECKS = (
    Check("versions", "Python, Snakemake and HTCondor here", setup.versions),
    Check("site-file", "the site file in itself", setup.site_file),
    Check("project", "there is a project, and the OSG knows it", setup.project),
    Check("run-folder", "a run's journal works in the working folder", setup.run_folder),
    Check("slurm", "Slurm's commands answer", places.slurm),
    Check("limits", "partitions, accounts and limits allow the pilots", places.limits),
    Check("token", "the pilots' token: file, permissions, scopes, end", places.token),
    Check("image", "the pilot image: there, an image, fresh", places.image),
    Check("access-point", "the access point answers and lets you submit", places.access_point),
    Check("pool", "the central manager answers", places.pool),
    Check(NODE, "a small job: what pilots find on compute nodes", probe.node),
)
NAMES = tuple(check.name for check in CHECKS)

OF_A_SITE = ("site-file", "slurm", "limits", "token", "image", NODE)
"""Checks that each site of several needs; the others are made once."""


def selected(only: Sequence[str], *, probe: bool) -> tuple[Check, ...]:
    """Return the checks to run. Raises `InputError` for an unknown name."""
    # findings of the job on a node have names of their own, such as `node-fuse`
    wanted = {NODE if name.startswith(f"{NODE}-") else name for name in only} or set(NAMES)
    for name in sorted(wanted - set(NAMES)):
        raise InputError(f"--only {name}: there is no such check; known: {', '.join(NAMES)}")
    if not probe:
        wanted.discard(NODE)
    return tuple(check for check in CHECKS if check.name in wanted)


def examine(check: Check, context: CheckContext) -> list[Finding]:
    """Run one check; any error becomes a finding."""
    try:
        return check.find(context)
    except Skipped as other:
        return [untested(check.name, f"it needs what the check {other} looks at", "fix that first")]
    except OsgpilotError as error:
        return [of_error(check.name, error)]
    except Exception as error:
        # a defect of one check must not hide what the others found
        return [untested(check.name, f"the check broke: {type(error).__name__}: {error}")]


def examine_sites(
    checks: Sequence[Check], contexts: Sequence[CheckContext],
    at_work: Callable[[Sequence[str]], None],
) -> Iterator[Finding]:  # fmt: skip
    """Run the checks for each site, one site after the other; see `examine_all`.

    Of several sites, each finding names the site file, and the first one is whether they can serve
    one run.
    """
    if len(contexts) == 1:
        yield from examine_all(checks, contexts[0], at_work)
        return
    if any(check.name == "site-file" for check in checks):
        yield _together(contexts)
    for number, context in enumerate(contexts):
        wanted = [check for check in checks if not number or check.name in OF_A_SITE]
        for each in examine_all(wanted, context, at_work):
            yield replace(each, what=f"{context.site_file}: {each.what}")


def _together(contexts: Sequence[CheckContext]) -> Finding:
    files = [context.site_file for context in contexts]
    try:
        sites = load_all(files)
    except OsgpilotError as error:
        return of_error("site-file", error)
    return ok("site-file", f"{len(files)} sites: {', '.join(site.resource for site in sites)}")


def examine_all(
    checks: Sequence[Check], context: CheckContext, at_work: Callable[[Sequence[str]], None]
) -> Iterator[Finding]:
    """Run the checks concurrently; yield findings in the table's order as soon as they are known.

    `at_work` gets the names of the unfinished checks whenever one ends.
    """
    with ThreadPoolExecutor(len(checks) or 1, thread_name_prefix="doctor") as workers:
        futures: dict[Future[list[Finding]], str] = {
            workers.submit(examine, check, context): check.name for check in checks
        }
        try:
            done, open_ = 0, set(futures)
            order = list(futures)
            while done < len(order):
                at_work([futures[future] for future in order if future in open_])
                _, open_ = wait(open_, return_when=FIRST_COMPLETED)
                while done < len(order) and order[done] not in open_:
                    yield from order[done].result()
                    done += 1
        finally:
            context.interrupt()
