"""Environments of conda as parts of images: their content, how a job activates them, their cache.

An environment lies at a place of its own in the image (`place`), and the path that it was made for
leads there: what a container mounts over that path hides only a link, which the job makes again.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..common.atomic_write import write_atomically
from ..common.cache_folder import key_of, locked
from ..common.printable import one_line
from ..errors import MissingPrerequisiteError
from .environment import PATH as PYTHON_PATH
from .environment import Python, contents
from .packing import HIDDEN, Entries, Recipe, Wanted, explained, images, minimal, packed, system
from .received import DamagedArchiveError, unpack

FORMAT = 1
"""Changes when images of another content have to be made for the same environments."""

WITH_PYTHON = "python"
"""Base of an image: the Python environment of Snakemake."""

_TOP = "/osgpilot/conda"

_BLOCKED = ("R_LIBS", "PYTHONPATH", "PERLLIB", "PERL5LIB")
"""Variables that Snakemake removes for a command in an environment (snakemake.shell)."""

_OTHERS = {"envs", "pkgs"}
"""Folders of conda's base environment that belong to others."""


@dataclass(frozen=True)
class Environment:
    """An environment that was made: `key` stands for its content, `prefix` is the path it is for.

    `name` is for messages, `active` what conda calls it. `programs` are those in its folder `bin`,
    `variables` what its activation sets. `key` is empty for one that an image has already. One
    `by_job` was made by a job in a pilot: its files are in the cache, and not at its prefix.
    """

    key: str
    prefix: str
    name: str
    active: str = ""
    programs: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    size: int = 0
    by_job: bool = False

    @property
    def folder(self) -> Path:
        """The folder of its files on this machine."""
        return received_folder(self.key) / _FILES if self.by_job else Path(self.prefix)

    @property
    def place(self) -> str:
        """Its folder in the image."""
        return f"{_TOP}/{self.key}" if self.key else self.prefix

    @classmethod
    def read(cls, noted: dict[str, Any]) -> Environment:
        """Return one that was noted as JSON. Raises KeyError, TypeError or ValueError."""
        variables = tuple((str(name), str(value)) for name, value in noted["variables"])
        return cls(**{**noted, "programs": tuple(noted["programs"]), "variables": variables})


@dataclass(frozen=True)
class Packed:
    """An image in the cache, with the environments in it and the base that it is made on."""

    path: Path
    environments: tuple[Environment, ...]
    base: str

    def environment(self, key: str) -> Environment:
        """Return the environment `key` as it is in this image."""
        return next(each for each in self.environments if each.key == key)


def found(key: str) -> Environment | None:
    """Return the environment `key` as noted when it was made, None if it is not known."""
    try:
        return Environment.read(json.loads(_note(key).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def seen(key: str, prefix: Path, name: str, active: str = "") -> Environment:
    """Return the environment at `prefix`, and note it under `key`.

    Raises `MissingPrerequisiteError` if there is none.
    """
    if not is_there(prefix):
        raise MissingPrerequisiteError(f"there is no environment of conda at {prefix}")
    return _noted(Environment(key, str(prefix), name, active or str(prefix)))


def _noted(made: Environment) -> Environment:
    """Return an environment with what its files say of it, and note it."""
    found, programs = contents_of(made, ""), "/bin/"
    files = [each for each in found.values() if isinstance(each, Path)]
    direct = (path.removeprefix(programs) for path in found if path.startswith(programs))
    made = replace(
        made,
        programs=tuple(sorted(name for name in direct if "/" not in name)),
        variables=tuple(_variables(made.folder)),
        size=sum(each.stat().st_size for each in files),
    )
    _write(_note(made.key), json.dumps(asdict(made)))
    return made


_FILES, _LINKS = "files", "links.json"


def received_folder(key: str) -> Path:
    """Return where the environment `key` is if a job made it."""
    return images() / f"built-{key}"


def prefix_for(key: str) -> str:
    """Return where a job makes the environment `key`: a place that each container has."""
    return f"/tmp/osgpilot-conda-{key}"


def received(key: str, archive: Path, name: str) -> Environment:
    """Return the environment `key` of which a job sent the files in `archive`, and note it.

    Its links are kept as a list: none of them is made or followed on this machine. Raises
    `MissingPrerequisiteError` if this is no environment or there is no room.
    """
    what, folder = f"the conda environment {name}", received_folder(key)
    with explained(images(), what), locked(images() / ".lock"):
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=images()))
        try:
            links = unpack(archive, part / _FILES)
            (part / _LINKS).write_text(json.dumps(links))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except DamagedArchiveError as error:
            raise MissingPrerequisiteError(
                f"what came back as {what} cannot be used: {one_line(str(error))}"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    prefix = prefix_for(key)
    return _noted(Environment(key, prefix, name, prefix, by_job=True))


def is_there(prefix: Path) -> bool:
    """Return True if there is an environment of conda in this folder."""
    return (prefix / "conda-meta").is_dir()


def _note(key: str) -> Path:
    return images() / f"environment-{key}.json"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text)


def _variables(prefix: Path) -> Iterator[tuple[str, str]]:
    """Yield what `conda env config vars`, and packages, set on activation, as conda reads it."""
    for file in sorted((prefix / "etc/conda/env_vars.d").glob("*.json")):
        yield from _pairs(file)
    yield from _pairs(prefix / "conda-meta/state", "env_vars")


def _pairs(file: Path, below: str = "") -> Iterator[tuple[str, str]]:
    with suppress(OSError, ValueError, AttributeError):
        content = json.loads(file.read_text())
        pairs = content.get(below, {}) if below else content
        for name, value in pairs.items():
            if str(name).isidentifier():
                yield str(name), str(value)


def fingerprint(prefix: Path) -> str:
    """Return a name for the content of an environment that others manage, from its files' dates."""
    found = entries(prefix, "")
    stats = [
        (path, status.st_size, status.st_mtime_ns)
        for path, source in sorted(found.items())
        if isinstance(source, Path) and "/__pycache__/" not in path
        for status in [source.stat()]
    ]
    return key_of(str(prefix), stats)


def contents_of(environment: Environment, at: str) -> Entries:
    """Return what an environment contains, for the place `at` of an image."""
    found = entries(environment.folder, at)
    if environment.by_job:
        links: dict[str, str] = json.loads((environment.folder.parent / _LINKS).read_text())
        found |= {f"{at}/{path}": target for path, target in links.items()}
    return found


def entries(prefix: Path, at: str) -> Entries:
    """Return what the folder of an environment contains, for the place `at` of an image."""
    files: Entries = {at: None} if at else {}
    for folder, folders, names in os.walk(prefix):
        if folder == str(prefix):
            folders[:] = sorted(set(folders) - _OTHERS)
        below = os.path.normpath(f"{at}/{os.path.relpath(folder, prefix)}")
        if not folders and not names:
            files[below] = None
        for name in (*names, *(each for each in folders if Path(folder, each).is_symlink())):
            entry = _entry(Path(folder, name), prefix)
            if entry is not None:
                files[f"{below}/{name}"] = entry
    return files


def _entry(path: Path, prefix: Path) -> Path | str | None:
    """Return a file as it is, a link that stays inside as a link, any other as what it leads to."""
    if path.is_symlink():
        to = os.readlink(path)  # noqa: PTH115
        target = Path(os.path.normpath(path.parent / to))
        if target.is_relative_to(prefix) or not path.is_file():
            return to
        path = path.resolve()
    return path if path.is_file() else None


def image(environments: Sequence[Environment], base: str) -> Path:
    """Return where the image with `environments` on `base` is, or would be.

    `base` is an image, `WITH_PYTHON`, or empty for bash and the basic programs of this machine.
    """
    keys = sorted(each.key for each in environments)
    return images() / f"conda-{key_of(FORMAT, keys, _identity(base))}.sif"


def _identity(base: str) -> list[object]:
    if base == WITH_PYTHON:
        return [base, Python.of_this_process().key()]
    if not base:
        return ["", *system()]
    path = Path(base)
    if not path.exists():
        return [base]
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def find(environments: Sequence[Environment], base: str) -> Packed | None:
    """Return the image with `environments` on `base` if it has been made."""
    return read(image(environments, base))


def read(file: Path) -> Packed | None:
    """Return an image of the cache, None if it is not there or nothing is known of it."""
    try:
        noted = json.loads(file.with_suffix(".json").read_text())
        listed = tuple(Environment.read(each) for each in noted["environments"])
        base = str(noted["base"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Packed(file, listed, base) if file.exists() else None


def make(
    environments: Sequence[Environment],
    base: str,
    say: Callable[[str], None],
    again: Callable[[Environment], Environment],
) -> Packed:
    """Return the image with `environments` on `base`, made unless it is there.

    `again` makes an environment whose folder is gone. Raises `MissingPrerequisiteError`.
    """
    target = image(environments, base)
    wanted = Wanted(
        f"the conda environment {' and '.join(each.name for each in environments)}",
        "for the jobs that use it",
        "name an image with its programs (container_image), and leave out --sdm conda",
    )

    def recipe() -> Recipe:
        there = [each if is_there(each.folder) else again(each) for each in environments]
        noted = {"environments": list(map(asdict, there)), "base": base}
        for each in there:
            if each.by_job:
                # shows when it was last used
                os.utime(received_folder(each.key))
        # before the image: without that, it counts for nothing
        _write(target.with_suffix(".json"), json.dumps(noted))
        on = "" if base == WITH_PYTHON else base
        return Recipe(_content(there, base), on, path(base))

    if read(target) is None:
        target.unlink(missing_ok=True)
    packed(target, wanted, recipe, say)
    made = read(target)
    if made is None:
        raise MissingPrerequisiteError(f"{target} vanished while it was used: run Snakemake again")
    return made


def path(base: str) -> str:
    """Return where programs are in an image on `base`, empty if its own settings say so."""
    return PYTHON_PATH if base == WITH_PYTHON else ""


def _content(environments: Sequence[Environment], base: str) -> Entries:
    content: Entries = {}
    if base == WITH_PYTHON:
        content = contents(Python.of_this_process())
    elif not base:
        content = minimal()
    for each in environments:
        content |= contents_of(each, each.place)
        if not is_hidden(each.prefix):
            content[each.prefix] = each.place
    return content


def is_hidden(path: str) -> bool:
    """Return True if containers hide `path` by what they mount."""
    return any(PurePosixPath(path).is_relative_to(top) for top in HIDDEN)


def activation(environment: Environment, rule: str, *, unblock: bool = False) -> str:
    """Return shell lines that activate an environment as conda does; any POSIX shell reads them.

    With `unblock` variables that change where programs look for modules stay set.
    """
    prefix = shlex.quote(environment.prefix)
    active = shlex.quote(environment.active or environment.prefix)
    trouble = f"osgpilot: rule {rule}: {environment.prefix}, its environment of conda, is not here"
    lines = [
        *([] if unblock else [f"unset {' '.join(_BLOCKED)}"]),
        *(_linking(environment) if environment.key else []),
        f"[ -d {prefix}/conda-meta ] || {{ echo {shlex.quote(trouble)} >&2; exit 1; }}",
        f"export CONDA_PREFIX={prefix} CONDA_DEFAULT_ENV={active} CONDA_SHLVL=1",
        f'export PATH={prefix}/bin:"$PATH"',
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.variables),
        'for osgpilot_file in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do '
        '[ ! -e "$osgpilot_file" ] || . "$osgpilot_file"; done',
        "unset osgpilot_file",
    ]
    return "".join(f"{line}\n" for line in lines)


def _linking(environment: Environment) -> Iterator[str]:
    """Yield lines that make the prefix lead to the environment again if a container hides it."""
    prefix, place = shlex.quote(environment.prefix), shlex.quote(environment.place)
    parent = shlex.quote(str(PurePosixPath(environment.prefix).parent))
    made = f"rm -f -- {prefix} && mkdir -p -- {parent} && ln -s -- {place} {prefix}"
    yield f"[ -e {prefix} ] || {{ {made}; }} 2> /dev/null"
    if is_hidden(environment.prefix):
        # in a folder where anybody may have put another one
        trouble = f"osgpilot: {environment.prefix} is not the environment of this job here"
        yield f"[ {prefix} -ef {place} ] || {{ echo {shlex.quote(trouble)} >&2; exit 1; }}"
