"""Mark the paths of this machine in a job's scripts, and find the files that scripts name.

Commands contain absolute paths because of `workflow.basedir`, `os.getcwd()`, a configuration and
so on. Where the job cannot have a file under its own absolute path, wrapper.sh replaces the mark by
the folder that stands for `/`. Only a prefix is added: quotes around a path stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

from ..common.snakemake_types import AnyJob
from .outside_folders import climbs, is_source, source_folders
from .payload import ROOT_MARK, members
from .places import absolute_of, is_of_system, lies_in, working_folder
from .transfer_policy import TransferPolicy, is_below

_END = r"\s'\"`;|&<>()$\\:,="
_MORE = rf"(?:['\"]?/[^{_END}]*)?"
"""The rest of a path after a folder, which may be in quotes of its own."""

_ABSOLUTE = re.compile(rf"(?<![\w./~@-])/[^{_END}*?{{}}\[\]]+")
_RELATIVE = re.compile(rf"(?<![/\w.@~-])[\w.][^{_END}*?{{}}\[\]]*[./][^{_END}*?{{}}\[\]]*")

NAMES_MAX = 2_000
"""Maximum number of names in one script that are looked up on the disk."""

SMALL_BYTES = 4 * 1024 * 1024
"""Larger files beside a script count as data, which rules declare."""

BESIDE_MAX = 500
"""Of a folder with more files, none travels with a script: it is no folder of scripts."""

_SUFFIXES = (".py", ".sh", ".bash", ".R", ".r", ".pl", ".jl", ".rb", ".awk", ".lua", ".js", ".cwl")


class Disk:
    """What is on the disk, looked up once until `forget` is called: jobs of a rule name the same
    programs, and on a file system of the network each look takes a while.
    """

    is_file: Callable[[str], bool]
    is_there: Callable[[str], bool]

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Look again from now on."""
        self.is_file = cache(os.path.isfile)
        self.is_there = cache(os.path.lexists)
        self._small_files: dict[str, tuple[list[str], Iterator[str]]] = {}

    def small_files(self, folder: str) -> Iterator[str]:
        """Yield the small files in a folder that are not hidden."""
        found, others = self._small_files.setdefault(folder, ([], _small_files(folder)))
        yield from found
        for path in others:
            found.append(path)
            yield path


@dataclass(frozen=True)
class PathRewriter:
    """Marks paths in the scripts of one job.

    `folders` are the folders whose paths are marked: the working folder, those of Snakefiles, and
    those with files of the job; `files` are marked one by one. `sources` are the folders from which
    a file travels, unless it is hidden, if a script names it, and files that do; `shared` are the
    folders that the pilots' nodes see; `known` the files that the job declares.
    """

    workdir: Path
    copies: str
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    disk: Disk = field(default_factory=Disk, compare=False)

    def rewritten(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return `text` with its paths marked, and the files that it names.

        These are files of the working folder and the workflow that exist and that the job does not
        declare; they have to be sent as inputs.
        """
        text, named = self._mark(text)
        names = (*named, *_names(_RELATIVE, text))
        return text, tuple(dict.fromkeys(self._sent(names)))

    def value(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return `rewritten` for a text that may be a path as a whole, with any characters."""
        if not (path := self._whole(text)):
            return self.rewritten(text)
        return ROOT_MARK + path, tuple(dict.fromkeys(self._sent([path])))

    def marked(self, text: str) -> str:
        """Return the text of `value` without a look at the disk."""
        path = self._whole(text)
        return ROOT_MARK + path if path else self._mark(text)[0]

    def _whole(self, text: str) -> str:
        """Return the path that `text` is as a whole, empty if it is none that is marked."""
        path = text.removeprefix(f"{self.copies}/file")
        if not path.startswith("/"):
            return ""
        whole = absolute_of(path, self.workdir)
        return path if any(lies_in(whole, each) for each in self._marked) else ""

    def _mark(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return `text` with its paths marked, and these."""
        if "/" not in text:
            return text, ()
        # the path of a copy ends in the absolute path of the source
        text = text.replace(f"{self.copies}/file/", "/")
        named: dict[str, None] = {}

        def mark(found: re.Match[str]) -> str:
            named.setdefault(spellings[found[1]] + found[2].lstrip("'\""))
            return ROOT_MARK + found[0]

        pattern, spellings = _pattern(self.folders, self.files)
        return pattern.sub(mark, text), tuple(named)

    def unknown(self, text: str) -> tuple[str, ...]:
        """Return the absolute paths in a marked `text` that are here, and are not sent."""
        found = (os.path.normpath(name) for name in _names(_ABSOLUTE, text))
        return tuple(
            path
            for path in dict.fromkeys(found)
            if not is_of_system(path)
            and not is_below(path, self.shared)
            and self.disk.is_there(path)
        )[:20]

    @property
    def _marked(self) -> tuple[str, ...]:
        return (*self.folders, *self.files)

    def _sent(self, names: Iterable[str]) -> Iterator[str]:
        """Yield those of the `names` that have to be sent, and what is beside scripts."""
        for name in names:
            path = absolute_of(name, self.workdir)
            if path in self.known or not is_source(path, self.sources):
                continue
            if self.disk.is_file(path):
                yield name if ".." in name.split("/") else path
                yield from self._beside(path)

    def _beside(self, path: str) -> list[str]:
        """Return the small files in the folder of a script; its imports may be among them."""
        folder = os.path.dirname(path)  # noqa: PTH120
        if not path.endswith(_SUFFIXES) or lies_in(str(self.workdir), folder):
            return []
        others = (each for each in self.disk.small_files(folder) if each not in self.known)
        found = list(islice(others, BESIDE_MAX + 1))
        return found if len(found) <= BESIDE_MAX else []


def _small_files(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith((".", "__pycache__")))
        paths = (f"{place}/{name}" for name in sorted(names) if not name.startswith("."))
        yield from filter(_is_small, paths)


def rewriter_of(job: AnyJob, traffic: TransferPolicy, disk: Disk | None = None) -> PathRewriter:
    """Return the rewriter for the scripts of a job of the workflow that runs in this folder; it
    looks at the disk through `disk`.
    """
    workdir, workflow = working_folder(), members(job)[0].rule.workflow
    copies = str(workflow.sourcecache.runtime_cache_path)
    parts = members(job)
    own = [
        *traffic.inputs(file for part in parts for file in part.input),
        *traffic.outputs(file for part in parts for file in (*part.output, *part.log)),
        *traffic.outputs(part.benchmark for part in parts if part.benchmark),
    ]
    known = {absolute_of(path, workdir) for path in own}
    away = {path for path in known if not lies_in(path, str(workdir))}
    around = frozenset(os.path.dirname(path) for path in away)  # noqa: PTH120
    sources = source_folders(workflow)
    # a wildcard may come from what an earlier job returned
    is_led = any(climbs(value) for part in parts for value in part.wildcards_dict.values())
    alone = {path for path in away if is_of_system(os.path.dirname(path))}  # noqa: PTH120
    return PathRewriter(
        workdir,
        copies,
        _marked_folders(str(workdir), sources, around, traffic.shared_prefixes),
        tuple(sorted(alone if is_led else {*alone, *traffic.named})),
        () if is_led else (str(workdir), *sources, *traffic.named),
        traffic.shared_prefixes,
        frozenset(known),
        disk or Disk(),
    )


@lru_cache(maxsize=1000)
def _marked_folders(
    workdir: str, sources: tuple[str, ...], around: frozenset[str], shared: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the folders whose paths are marked; `around` are those with files of a job."""
    own = {workdir, *sources, *(folder for folder in around if not is_of_system(folder))}
    return tuple(sorted(each for each in own if each != "/" and not is_below(each, shared)))


@lru_cache(maxsize=1000)
def _pattern(
    folders: tuple[str, ...], files: tuple[str, ...]
) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of these paths with what follows, and the path of each spelling."""
    spellings = {spelled: path for path in (*folders, *files) for spelled in _spellings_of(path)}

    def any_of(paths: tuple[str, ...]) -> str:
        longest_first = sorted((s for s in spellings if spellings[s] in paths), key=len)[::-1]
        return "|".join(map(re.escape, longest_first)) or "(?!)"

    folder = rf"(?:{any_of(folders)})(?![\w.-])"
    file = rf"(?:{any_of(files)})(?![\w./-])"
    return re.compile(rf"(?<![\w./@-])({folder}|{file})({_MORE})"), spellings


def _spellings_of(path: str) -> Iterable[str]:
    """Return a path as it is, and as `shlex.quote` and backslashes spell it."""
    quoted = path.replace("'", "'\"'\"'")
    escaped = re.sub(r"([^\w@%+=:,./-])", r"\\\1", path)
    return dict.fromkeys((path, quoted, escaped))


def _names(pattern: re.Pattern[str], text: str) -> Iterable[str]:
    """Return the first names in a text, each once."""
    found: dict[str, None] = {}
    for match in pattern.finditer(text):
        found.setdefault(match[0])
        if len(found) >= NAMES_MAX:
            break
    return found


def _is_small(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.path.getsize(path) <= SMALL_BYTES  # noqa: PTH113, PTH202
    except OSError:
        return False
