"""Pickle values so that the paths in them can be replaced on the execution point.

A pickle stores the length of each text, so that wrapper.sh cannot replace `HERE` in it. Texts with
`HERE` are pickled in parts, which the code that unpickles them joins with the folder of the job.
Sets are pickled in order, so that a job is the same in every session.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from .payload import HERE

PROTOCOL = 4
"""As Snakemake uses: readable since Python 3.4."""


def dumped(value: object, moved: Callable[[str], str] = str) -> bytes:
    """Return `value` as a pickle in which `moved` has changed each text.

    Raises what `pickle` raises if a value cannot be pickled.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, moved).dump(value)
    return buffer.getvalue()


def loading(pickled: bytes) -> str:
    """Return a Python expression for the value of a pickle from `dumped`.

    It needs the name `pickle`, and runs on Python 3.7 and newer. Paths that were pickled by Python
    3.13 name a module that no other version has.
    """
    return (
        'type("Unpickler", (pickle.Unpickler,), {'
        f'"persistent_load": lambda self, parts: {HERE!r}.join(parts) '
        "if type(parts) is list else parts[0](parts[1]), "
        '"find_class": lambda self, module, name: pickle.Unpickler.find_class('
        'self, "pathlib" if module == "pathlib._local" else module, name)'
        f'}})(__import__("io").BytesIO({pickled!r})).load()'
    )


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, moved: Callable[[str], str]) -> None:
        super().__init__(file, PROTOCOL)
        self._moved = moved

    def persistent_id(self, value: Any) -> Any:
        if type(value) in (set, frozenset):
            return type(value), sorted(value, key=repr)
        if type(value) is not str:
            return None
        text = self._moved(value)
        return None if text == value and HERE not in text else text.split(HERE)

    def reducer_override(self, value: Any) -> Any:
        # otherwise pickled as the list of its parts
        return (type(value), (str(value),)) if isinstance(value, PurePath) else NotImplemented
