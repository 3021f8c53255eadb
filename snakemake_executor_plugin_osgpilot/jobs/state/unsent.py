"""The unsent jobs of one kind, in an order that is kept."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable

ONE_BY_ONE = 16
"""If less than this fraction of the jobs is new, each is put into its place; sorting all takes
less time otherwise."""


class UnsentJobs:
    """Keys of jobs: those with the lowest rank first, and of these the oldest.

    `rank` is None if the oldest jobs come first. `_basis` is what the ranks depended on when the
    keys were sorted; those in `_new` have come since then.
    """

    def __init__(self, rank: Callable[[str], int] | None = None) -> None:
        self._rank = rank
        self._keys: list[str] = []
        self._new: list[str] = []
        self._basis: object = None

    def __len__(self) -> int:
        return len(self._keys) + len(self._new)

    def add(self, key: str) -> None:
        """Add a job."""
        self._new.append(key)

    def take(self, count: int, basis: object = None) -> list[str]:
        """Take off the first `count` jobs; all are sorted again if `basis` is another object."""
        self._put_in_order(basis)
        taken = self._keys[:count]
        del self._keys[:count]
        return taken

    def keep(self, is_kept: Callable[[str], bool]) -> None:
        """Drop the other jobs."""
        self._keys[:] = filter(is_kept, self._keys)
        self._new[:] = filter(is_kept, self._new)

    def _put_in_order(self, basis: object) -> None:
        new, self._new = self._new, []
        if self._rank is None:
            self._keys += new
        elif basis is not self._basis or ONE_BY_ONE * len(new) > len(self._keys):
            self._keys = sorted((*self._keys, *new), key=self._rank)
            self._basis = basis
        else:
            self._insert(new, self._rank)

    def _insert(self, new: Iterable[str], rank: Callable[[str], int]) -> None:
        for key in new:
            insort(self._keys, key, key=rank)
