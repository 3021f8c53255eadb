"""The jobs, pilots and files that workflows have on a pool, by workflow."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pool.conftest import Pool

LIST = Path(__file__).with_name("listing.py").read_text()
HOSTS = ("login", "ap")
EVERY_S = 2.0


@dataclass(frozen=True)
class Remnant:
    """One thing that is there; `of` tells whose it is, empty if nothing does."""

    text: str
    of: tuple[str, ...]

    def belongs_to(self, names: Iterable[str]) -> bool:
        """Return True if it belongs to a workflow with these runs and this folder."""
        return any(name in each for name in names for each in self.of)


class Leftovers:
    """Looks at a pool for several workflows at a time: one look serves all that wait for it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._found: list[Remnant] = []
        self._looked_s = float("-inf")

    def look(self) -> list[Remnant]:
        """Return what is there now, from a look that began after this was called."""
        asked_s = time.monotonic()
        with self._lock:
            if self._looked_s < asked_s:
                looked_s = time.monotonic()
                self._found = [each for host in HOSTS for each in self._of(host)]
                self._looked_s = looked_s
            return self._found

    def _of(self, host: str) -> list[Remnant]:
        argv = ("/usr/bin/python3", "-I", "-S", "-c", LIST, host)
        reported = json.loads(self._pool.say(*argv, host=host, user="root"))
        return [Remnant(text, tuple(of)) for text, of in reported]
