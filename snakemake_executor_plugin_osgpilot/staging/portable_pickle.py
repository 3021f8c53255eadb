"""Pickle values so that the paths in them can be replaced on the execution point.

A pickle stores the length of each text, so that wrapper.sh cannot replace marks such as `HERE` in
it. Texts with marks are pickled in parts, and the code that unpickles them has the marks.
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


def dumped(value: object, moved: Callable[[str], str] = str) -> Pickled:
    """Return `value` as a pickle in which `moved` has changed each text.

    Raises what `pickle` raises if a value cannot be pickled.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, moved)
    pickler.dump(value)
    marks = tuple(mark if mark in pickler.seen else "" for mark in MARKS)
    return Pickled(buffer.getvalue(), marks)


def loading(pickled: Pickled) -> str:
    """Return a Python expression for the value of a pickle from `dumped`.

    It needs the name `pickle`, and runs on Python 3.7 and newer. Paths that were pickled by Python
    3.13 name a module that no other version has.
    """
    return (
        'type("Unpickler", (pickle.Unpickler,), {'
        '"persistent_load": lambda self, parts: "".join('
        f"{pickled.marks!r}[part] if type(part) is int else "
        'part.decode("utf-8", "surrogatepass") for part in parts) '
        "if type(parts) is list else parts[0](parts[1]), "
        '"find_class": lambda self, module, name: pickle.Unpickler.find_class('
        'self, "pathlib" if module == "pathlib._local" else module, name)'
        f'}})(__import__("io").BytesIO({pickled.content!r})).load()'
    )


_MARK = re.compile(f"({'|'.join(map(re.escape, MARKS))})")
_NUMBERS = {mark: number for number, mark in enumerate(MARKS)}


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, moved: Callable[[str], str]) -> None:
        super().__init__(file, PROTOCOL)
        self._moved = moved
        self.seen: set[str] = set()

    def persistent_id(self, value: Any) -> Any:
        if type(value) in (set, frozenset):
            return type(value), sorted(value, key=repr)
        if type(value) is not str:
            return None
        parts = _MARK.split(self._moved(value))
        self.seen.update(parts)
        if parts == [value]:
            return None
        # as bytes, which are not looked at for paths again
        return [_NUMBERS.get(part, part.encode("utf-8", "surrogatepass")) for part in parts]

    def reducer_override(self, value: Any) -> Any:
        # otherwise pickled as the list of its parts
        return (type(value), (str(value),)) if isinstance(value, PurePath) else NotImplemented
