"""Jobs that the access point has yet to remove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Departures:
    """Keys of jobs by the id to remove, where several ids may have one key; the key is empty for a
    job of a previous session.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._ids: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids."""
        return iter(self._keys)

    def add(self, job_id: str, key: str = "") -> None:
        """Add a job to remove."""
        if job_id in self._keys:
            self.pop(job_id)
        self._keys[job_id] = key
        self._ids[key] += 1

    def pop(self, job_id: str) -> str:
        """Take off a job that was removed; return its key."""
        key = self._keys.pop(job_id)
        self._ids[key] -= 1
        if not self._ids[key]:
            del self._ids[key]
        return key

    def has_key(self, key: str) -> bool:
        """Return True if an id of this job is still to be removed."""
        return key in self._ids
