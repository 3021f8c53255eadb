"""Pack the workflow's own files (Snakefiles, scripts, configuration) once for all jobs."""

from __future__ import annotations

import filecmp
import os
import sys
import tarfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from stat import S_ISREG
from types import SimpleNamespace

from snakemake.common import get_snakemake_searchpaths
from snakemake.sourcecache import LocalSourceFile
from snakemake.wrapper import get_path
from snakemake_interface_common.exceptions import WorkflowError

from ..common import private_files as private
from ..common.snakemake_types import Workflow
from .named_files import is_small_and_public
from .places import is_outside, lies_in, place_of, source_of

SOURCES = "osgpilot-sources.tar"
"""Name of the archive where the job runs."""

SMALL_BYTES = 4 * 1024 * 1024
"""Larger files that nothing lists as sources count as data, which rules declare."""

LARGE_MB = 50
"""Warn of a larger archive: it travels with every job that needs it."""

WITHOUT_SNAKEFILES, WITH_SNAKEFILES = "files.tar", "workflow.tar"
"""Archives in the run's folder: for commands and scripts, and for the bodies of `run:`."""


def list_sources(workflow: Workflow) -> tuple[set[str], set[str]]:
    """Return the workflow's files, and those of them that commands and scripts do not need: the
    Snakefiles and files that these may read. All are relative to the working folder.

    Scripts read the configuration, so files of the working folder that it names travel with
    them, unless these are private.

    Snakemake's own list includes everything that git tracks; without git (or in a folder that git
    rejects) the list has the files that the workflow names. Call it on Snakemake's main thread.
    """
    try:
        sources = {str(path) for path in _listed(workflow)}
    except (OSError, WorkflowError):
        sources = set(_named_by(workflow))
    snakefiles = set(_snakefiles(workflow))
    sources |= snakefiles | {*_wrappers(workflow), *_environments(workflow), *_modules(workflow)}
    made = {os.path.normpath(file) for job in workflow.dag.jobs for file in job.output}
    named = {*_named_in(workflow.globals["config"])} - made
    sources |= {path for path in named if _is_here_and_public(path)}
    read = {*_beside((*snakefiles, *_configfiles(workflow))), *named} - sources - made
    return sources | read, snakefiles | read


def _listed(workflow: Workflow) -> Iterable[str]:
    """Return Snakemake's own list; it fails with a TypeError for scripts of a module elsewhere."""
    local = [rule for rule in workflow.rules if isinstance(rule.basedir, LocalSourceFile)]
    if len(local) == len(workflow.rules):
        found: Iterable[str] = workflow.dag.get_sources()
        return found
    seen = SimpleNamespace(
        included=workflow.included, configfiles=workflow.configfiles, rules=local
    )
    # a method of the DAG, which uses these alone
    dag = SimpleNamespace(workflow=seen, jobs=workflow.dag.jobs)
    found = type(workflow.dag).get_sources(dag)
    return found


def search_paths() -> list[str]:
    """Return the folders in which Snakefiles let Python find modules, relative to the working
    folder; folders of the Python that runs Snakemake are left out.
    """
    here, own = Path.cwd(), [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    found = (Path(os.path.normpath(here / path)) for path in get_snakemake_searchpaths())
    return [
        str(path.relative_to(here))
        for path in found
        if path.is_relative_to(here)
        and not any(path.resolve().is_relative_to(prefix) for prefix in own)
        and not any(part.startswith(".") for part in path.relative_to(here).parts)
    ]


def _modules(workflow: Workflow) -> Iterable[str]:
    """Yield the code below the folders in which Python finds modules, for scripts that import it.

    Snakemake adds the folders of Snakefiles. It lists what lies below those of scripts.
    """
    if not any(rule.script or rule.notebook or rule.wrapper for rule in workflow.rules):
        return
    for folder in search_paths():
        for place, below, names in os.walk(folder):
            below[:] = [name for name in below if _is_package(Path(place, name), folder)]
            paths = (Path(place, name) for name in names if name.endswith(_CODE))
            yield from (os.path.normpath(path) for path in paths if _is_small(path))


_CODE = (".py", ".R", ".r", ".jl", ".sh", ".hy", ".xsh", ".rs")


def _is_package(folder: Path, top: str) -> bool:
    """Return True if code may lie in `folder`, a folder below `top`.

    The working folder has much else in it, so that only packages count there.
    """
    if folder.name.startswith((".", "__pycache__")) or (folder / "pyvenv.cfg").exists():
        return False
    return top != "." or (folder / "__init__.py").exists()


def _snakefiles(workflow: Workflow) -> Iterable[str]:
    for snakefile in workflow.included:
        located = hasattr(snakefile, "get_path_or_uri")
        if not located or isinstance(snakefile, LocalSourceFile):
            yield os.path.relpath(
                snakefile.get_path_or_uri(secret_free=True) if located else str(snakefile)
            )


def _configfiles(workflow: Workflow) -> Iterable[str]:
    return (os.path.relpath(path) for path in workflow.configfiles)


def _beside(files: Iterable[str]) -> Iterable[str]:
    """Yield the files in the folders of `files`: `workflow/`, `config/` and the like, with schemas,
    sample sheets and Python modules. The working folder and those around it have too much in them.
    """
    for folder in {Path(os.path.normpath(file)).parent for file in files}:
        if lies_in(str(Path.cwd()), os.path.abspath(folder)):  # noqa: PTH100
            continue
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
            paths = (Path(place, name) for name in names)
            yield from (str(path) for path in paths if _is_small(path))


def _named_in(config: object) -> Iterable[str]:
    """Yield the files named by values of the configuration, such as a sample sheet."""
    if isinstance(config, Mapping):
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from _named_in(value)
    elif isinstance(config, str) and "\0" not in config and _is_small(Path(config)):
        yield os.path.relpath(config)


def _is_here_and_public(path: str) -> bool:
    """Return False for a file that lies outside of the working folder, is hidden or private."""
    here = os.path.realpath(Path.cwd())
    return "/." not in f"/{path}" and is_small_and_public(path, here)


def _is_small(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return S_ISREG(status.st_mode) and status.st_size <= SMALL_BYTES


def _wrappers(workflow: Workflow) -> Iterable[str]:
    """Yield the files of wrappers in folders of this machine."""
    prefix = workflow.workflow_settings.wrapper_prefix
    for rule in workflow.rules:
        place = get_path(rule.wrapper, prefix) if rule.wrapper else None
        if isinstance(place, LocalSourceFile):
            path = Path(place.get_path_or_uri(secret_free=True))
            folder = path.parent if path.is_file() else path
            yield from (os.path.relpath(file) for file in folder.rglob("*") if file.is_file())


def _environments(workflow: Workflow) -> Iterable[str]:
    """Yield the files of conda environments, and the files that Snakemake reads beside them.

    Snakemake lists only the environments, and only with git.
    """
    if "conda" not in {str(method) for method in workflow.deployment_settings.deployment_method}:
        return
    jobs = (job for job in workflow.dag.jobs if job.rule.conda_env)
    specs = {job.conda_env_spec for job in jobs}
    for file in (spec.file for spec in specs if spec.is_file):
        if isinstance(file, LocalSourceFile):
            path = Path(file.get_path_or_uri(secret_free=True))
            beside = (
                path.with_suffix(".post-deploy.sh"),
                *path.parent.glob(f"{path.stem}.*.pin.txt"),
            )
            yield from (os.path.relpath(each) for each in (path, *beside) if each.is_file())


def _named_by(workflow: Workflow) -> Iterable[str]:
    for rule in workflow.rules:
        script = rule.script or rule.notebook
        if script and isinstance(rule.basedir, LocalSourceFile):
            folder = Path(os.path.relpath(rule.basedir.join(str(script)))).parent
            yield from (str(path) for path in folder.rglob("*") if path.is_file())
    yield from _configfiles(workflow)


def bundle_sources(
    archive_path: Path,
    sources: Iterable[str],
    workdir: Path,
    modules: Mapping[str, Path] | None = None,
) -> None:
    """Pack the source files into one archive, each at its place in a job's folder, if there are
    any.

    `modules` are further files, by their path where the job runs.
    """
    places = {place_of(os.path.normpath(name), workdir) for name in sources}
    found = {place: source_of(place, workdir) for place in places}
    packed = {**(modules or {}), **{p: path for p, path in found.items() if path.is_file()}}
    if not packed:
        return
    part = archive_path.with_suffix(".part")
    with open(part, "wb", opener=private.opener) as file, tarfile.open(None, "w", file) as archive:
        for place, path in sorted(packed.items()):
            archive.add(path, arcname=place)
    # jobs of an earlier session may be reading it
    if archive_path.exists() and filecmp.cmp(part, archive_path, shallow=False):
        part.unlink()
    else:
        part.replace(archive_path)


@cache
def has_outside(archive_path: Path) -> bool:
    """Return True if an archive has files from outside of the working folder."""
    if not archive_path.exists():
        return False
    with tarfile.open(archive_path) as archive:
        return any(is_outside(name) for name in archive.getnames())


def large(archive_path: Path) -> str:
    """Return a warning if an archive is large, empty if it is not."""
    if not archive_path.exists() or archive_path.stat().st_size < LARGE_MB * 1_000_000:
        return ""
    with tarfile.open(archive_path) as archive:
        largest = max(archive.getmembers(), key=lambda member: member.size)
    return (
        f"the workflow's own files, {archive_path.stat().st_size // 1_000_000} MB "
        f"({largest.name} alone {largest.size // 1_000_000} MB), travel with every job: "
        "declare data as inputs of rules, and have git track none"
    )
