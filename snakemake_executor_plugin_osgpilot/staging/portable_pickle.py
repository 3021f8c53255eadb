"""Pickle values so that the paths in them can be replaced on the execution point.

A pickle stores the length of each text, so that wrapper.sh cannot replace marks such as `HERE` in
it. Texts with marks are pickled in parts; whoever unpickles them has the marks as wrapper.sh has
replaced them (`loading` for scripts, `run_entry.py` for the bodies of `run:`).
Sets are pickled in order, so that a job is the same in every session.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple

from .payload import HERE, ROOT_MARK

MARKS = (HERE, ROOT_MARK)
"""Placeholders that wrapper.sh replaces in a script."""

PROTOCOL = 4
"""As Snakemake uses: readable since Python 3.4."""


class Pickled(NamedTuple):
    """A pickle and the marks in it, at their numbers; empty for those that it does not have."""

    content: bytes
    marks: tuple[str, ...]


class PortablePickler(pickle.Pickler):
    """Pickles values in which `moved` changes each text. `seen` are the marks in them.

    Persistent ids are lists of parts for texts with marks, and tuples for sets.
    """

    def __init__(
        self, file: io.BytesIO, moved: Callable[[str], str], protocol: int = PROTOCOL
    ) -> None:
        super().__init__(file, protocol)
        self._moved = moved
        self.seen: set[str] = set()
        self._sets: dict[int, tuple[object, object]] = {}

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks in the pickle, at their numbers; empty for those that it does not have."""
        return tuple(mark if mark in self.seen else "" for mark in MARKS)

    def persistent_id(self, value: Any) -> object:
        """Return what stands for `value`, None if it is pickled as it is."""
        kind = type(value)
        if kind is str:
            moved = self._moved(value)
            return None if moved == value and not _MARK.search(value) else self.parts(moved)
        if kind in (set, frozenset):
            # a value that occurs twice stays one, and has to live as long as its id counts
            made = (len(self._sets), kind, sorted(value, key=repr))
            return self._sets.setdefault(id(value), (value, made))[1]
        return None

    def parts(self, text: str) -> list[int | bytes]:
        """Return a text in parts: numbers of marks, and bytes, in which no path is looked for."""
        parts = _MARK.split(text)
        self.seen.update(parts)
        return [_NUMBERS.get(part, part.encode("utf-8", "surrogatepass")) for part in parts]

    def reducer_override(self, value: object) -> Any:
        """Return how a path is pickled: otherwise as the list of its parts."""
        return (type(value), (str(value),)) if isinstance(value, PurePath) else NotImplemented


def dumped(value: object, moved: Callable[[str], str] = str) -> Pickled:
    """Return `value` as a pickle in which `moved` has changed each text.

    Raises what `pickle` raises if a value cannot be pickled.
    """
    buffer = io.BytesIO()
    pickler = PortablePickler(buffer, moved)
    pickler.dump(value)
    return Pickled(buffer.getvalue(), pickler.marks)


def loading(pickled: Pickled) -> str:
    """Return a Python expression for the value of a pickle from `dumped`.

    It needs the name `pickle`, and runs on Python 3.7 and newer. Paths that were pickled by Python
    3.13 name a module that no other version has.
    """
    return (
        'type("Unpickler", (pickle.Unpickler,), {'
        '"persistent_load": lambda self, given, sets={}: "".join('
        f"{pickled.marks!r}[part] if type(part) is int else "
        'part.decode("utf-8", "surrogatepass") for part in given) '
        "if type(given) is list else sets.setdefault(given[0], given[1](given[2])), "
        '"find_class": lambda self, module, name: pickle.Unpickler.find_class('
        'self, "pathlib" if module == "pathlib._local" else module, name)'
        f'}})(__import__("io").BytesIO({pickled.content!r})).load()'
    )


_MARK = re.compile(f"({'|'.join(map(re.escape, MARKS))})")
_NUMBERS = {mark: number for number, mark in enumerate(MARKS)}
