"""Symbolic links of jobs. HTCondor follows links to files and does not transfer others, so
wrapper.sh lists them, and they are created when outputs are committed.

By a link among its outputs a job could expose files of others: whoever follows it later reads its
target. So a link is created only if its target is in the job's own outputs or inputs, below a
shared prefix, or in the working folder and not hidden there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from .payload import HERE
from .places import lies_in, source_of
from .returned_files import JobFailedError, kind

TIMESTAMP = ".snakemake_timestamp"
"""Snakemake writes a file of that name in output folders, through a link if it is one."""

_SEEN_MAX = 10_000
"""Maximum number of names in a folder of the user that are checked for one link to it."""

STEPS_MAX = 20_000_000
"""Maximum number of steps to check all links of a job: about a minute, while other jobs wait."""

_STEPS_PER_NAME = 30
"""Cost of checking a name on the disk, in steps in memory."""

_HOPS_MAX = 40
"""Maximum length of a chain of links; Linux reports a loop then (path_resolution(7))."""


def leads_nowhere(link: Path) -> bool:
    """Return True if the target of `link` is not accessible, for whatever reason."""
    return not os.path.exists(link)  # noqa: PTH110 - a Path may raise


def stays_a_link(link: Path, folder: Path) -> bool:
    """Return True if `link` in an input `folder` leads to a path in the same folder."""
    to = link.readlink()
    leads_to = Path(os.path.normpath(link.parent / to))
    return not to.is_absolute() and leads_to.is_relative_to(folder)


@dataclass(frozen=True)
class Links:
    """The `listed` links of a job, path → target, in its `declared` outputs and logs.

    `back` has the returned files. `inputs` are the job's inputs, `shared` the prefixes that
    execution points see. Paths of the job are places in its folder (see `places`), those of inputs
    as the rule names them.
    """

    listed: Mapping[str, str]
    back: Path
    workdir: Path
    declared: Iterable[str] = ()
    inputs: Iterable[str] = ()
    shared: Iterable[str] = ()
    _steps: list[int] = field(default_factory=lambda: [0], repr=False, compare=False)
    _harmless: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)
    _came: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __contains__(self, path: str) -> bool:
        return os.path.normpath(path) in self.listed

    def came(self, path: str) -> str:
        """Return `file` or `folder` if one was returned at `path`, empty if neither."""
        if path not in self._came:
            self._came[path] = kind(self.back, path)
        return self._came[path]

    def target(self, path: str) -> str:
        """Return the target of a link; in the working folder if it was in the job's folder."""
        to = self.listed[os.path.normpath(path)]
        if to == HERE or to.startswith(f"{HERE}/"):
            return f"{self.workdir}{to.removeprefix(HERE)}"
        return to

    def below(self, output: str) -> dict[str, str]:
        """Return the links in an output, path in it (empty for itself) → target."""
        output = os.path.normpath(output)
        inside = self._by_output.get(output, ())
        return {path.removeprefix(output).removeprefix("/"): self.target(path) for path in inside}

    def check(self) -> None:
        """Raise `JobFailedError` for the first link that must not be created."""
        for path in self.listed:
            self._check_place(path)
            self._check_target(path)

    def leads_to(self, path: str) -> str:
        """Return `file` or `folder`, empty if a link leads to neither, once all are in place."""
        place = self._follow(self._place(os.path.normpath(path)))
        inside = self._within(self._own, place) if place else None
        if inside is not None:
            return kind(self.back, inside)
        return kind(Path(place), "") if place else ""

    def _check_place(self, path: str) -> None:
        parts = Path(path).parts
        on_the_way = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if self._within(self._names, path) is None or not parts or ".." in parts:
            raise JobFailedError(
                f"the job lists a link at {path!r}, which is not among its outputs"
            )
        if any(place in self.listed or kind(self.back, place) == "file" for place in on_the_way):
            raise JobFailedError(
                f"the job lists a link at {path!r}, which is not in a folder of it"
            )
        if os.path.lexists(self.back / path) or parts[-1] == TIMESTAMP:
            raise JobFailedError(f"the job lists a link at {path!r}, where a file belongs")

    def _check_target(self, path: str) -> None:
        place, to = self._place(path), self.target(path)
        if "\0" in to or not to:
            raise JobFailedError(f"{path} is a link to nothing")
        names = [part for part in to.split("/") if part not in ("", ".")]
        up = next((number for number, name in enumerate(names) if name != ".."), len(names))
        named = os.path.normpath(Path(place).parent / to)
        led = self._follow(place)
        # a step up after a name leads elsewhere once that name is a link
        astray = ".." in names[up:] or led is None
        if astray or not self._may_lead(place, named) or not self._may_lead(place, led or ""):
            raise JobFailedError(
                f"{path} is a link to {to}, and no link of a job may lead there, only to its "
                "outputs and inputs, or to what is not hidden in the working folder or a shared "
                "folder; declare it as an input, or put a copy in its place (cp -L)"
            )

    def _may_lead(self, link: str, place: str) -> bool:
        if self._within(self._own, place) is not None:
            return True
        if lies_in(link, place):
            # the link itself, and hidden files, would be inside its target
            return False
        if self._within(self._given, place) is not None:
            return True
        if any(lies_in(place, top) for top in self._tops):
            if place not in self._harmless:
                self._harmless[place] = self._hides_nothing(place)
            return not self._is_hidden(place) and self._harmless[place]
        return any(lies_in(place, prefix) for prefix in self._prefixes)

    def _is_hidden(self, place: str) -> bool:
        """Return True if a name between the working folder and `place` begins with a dot."""
        top = next(top for top in self._tops if lies_in(place, top))
        return any(name[:1] == "." for name in place.removeprefix(top).split("/"))

    def _hides_nothing(self, folder: str) -> bool:
        """Return True if nothing in a folder is hidden or leads out of the working folder.

        Following a link to a folder gives access to everything in it.
        """
        seen = 0
        for place, folders, files in os.walk(folder):
            names = (*folders, *files)
            seen += len(names)
            self._take_steps(_STEPS_PER_NAME * len(names))
            real = (os.path.realpath(f"{place}/{name}") for name in names)
            if seen > _SEEN_MAX or any(name[:1] == "." for name in names):
                return False
            if not all(lies_in(each, self._tops[0]) and not self._is_hidden(each) for each in real):
                return False
        return True

    def _place(self, path: str) -> str:
        """Return the final path of something in an output, with its parents resolved."""
        return self._within(self._own_places, path) or f"{self._tops[0]}/{path}"

    def _follow(self, place: str) -> str | None:
        """Resolve all links in `place`; return None if there is a loop."""
        here, hops = "", 0
        ahead = place.split("/")[::-1]
        while ahead:
            name = ahead.pop()
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            if name in ("", "."):
                continue
            to = self._link_at(f"{here}/{name}")
            if to is None:
                here = f"{here}/{name}"
                continue
            hops += 1
            if hops > _HOPS_MAX:
                return None
            here = "" if to.startswith("/") else here
            ahead += to.split("/")[::-1]
        return here or "/"

    def _link_at(self, place: str) -> str | None:
        inside = self._within(self._own, place)
        if inside is not None:
            return self.target(inside) if inside in self.listed else None
        try:
            return os.readlink(place)  # noqa: PTH115 - a Path would leave out `./` and the like
        except (OSError, ValueError):
            return None

    def _take_steps(self, number: int) -> None:
        """Count steps of the check. Raises `JobFailedError` if there are too many."""
        self._steps[0] += number
        if self._steps[0] > STEPS_MAX:
            raise JobFailedError(
                "there are too many links among its outputs to check where they lead"
            )

    def _within(self, places: Mapping[str, str], place: str) -> str | None:
        """Return `place` with its prefix in `places` replaced, None if it is in none of them."""
        outer = place
        while outer:
            self._take_steps(1)
            if outer in places:
                return places[outer] + place.removeprefix(outer)
            outer = outer.rpartition("/")[0]
        return None

    @cached_property
    def _tops(self) -> tuple[str, ...]:
        return os.path.realpath(self.workdir), str(self.workdir)

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return (*self.shared, *map(os.path.realpath, self.shared))

    @cached_property
    def _names(self) -> dict[str, str]:
        return {path: path for path in map(os.path.normpath, self.declared)}

    @cached_property
    def _by_output(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        outputs = dict.fromkeys(self._names, "")
        for path in self.listed:
            below = self._within(outputs, path)
            if below is not None:
                found.setdefault(path.removesuffix(below), []).append(path)
        return found

    @cached_property
    def _own_places(self) -> dict[str, str]:
        places = {}
        for path in self._names:
            folder, name = os.path.split(source_of(path, self.workdir))
            places[path] = f"{os.path.realpath(folder)}/{name}"
        return places

    @cached_property
    def _own(self) -> dict[str, str]:
        """Final paths of the job's outputs → their paths in the job."""
        named = {str(source_of(path, self.workdir)): path for path in self._own_places}
        return named | {place: path for path, place in self._own_places.items()}

    @cached_property
    def _given(self) -> dict[str, str]:
        named = {os.path.normpath(self.workdir / path): path for path in self.inputs}
        return named | {os.path.realpath(place): path for place, path in named.items()}


def is_fit(path: str, prefixes: Iterable[str]) -> bool:
    """Return True if an output is a file or folder that really lies below one of `prefixes`."""
    real = os.path.realpath(path)
    try:
        mode = os.lstat(real).st_mode
    except OSError:
        return False
    roots = (*prefixes, *map(os.path.realpath, prefixes))
    within = not roots or any(lies_in(real, root) for root in roots)
    return within and (S_ISREG(mode) or S_ISDIR(mode))
