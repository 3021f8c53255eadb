"""Jobs that Snakemake hands over again while they run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from ..common.snakemake_types import AnyJob

logger = logging.getLogger(__name__)


@dataclass
class _Again:
    """A job that is handed over again, and the keys of those in flight that make its outputs."""

    job: AnyJob
    keys: set[str]


class InFlight:
    """Recognizes jobs all of whose outputs are in flight, and keeps them until these have ended.

    Snakemake handed over groups that depend on a checkpoint more than once, whole and in parts
    (9.27.1, see `keep_groups_apart`). Submitted again, they would write the same outputs; reported
    as ended, they would count twice. Their members end with the jobs that make the outputs.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._begun: dict[str, tuple[AnyJob, frozenset[str]]] = {}
        self._again: list[_Again] = []
        self._lock = Lock()

    def is_again(self, outputs: Iterable[str], job: AnyJob) -> bool:
        """Return True, and keep `job`, if all of its `outputs` are in flight."""
        with self._lock:
            keys = {self._keys.get(output) for output in outputs}
            known = {key for key in keys if key is not None}
            if not known or None in keys:
                return False
            is_news = not any(each.keys & known for each in self._again)
            self._again.append(_Again(job, known))
        if is_news:
            logger.warning(
                f"Snakemake hands over {job.name} again while its job {min(known)} waits or "
                "runs; it is not submitted twice, and ends with that job"
            )
        return True

    def begins(self, outputs: Iterable[str], key: str, job: AnyJob) -> None:
        """Note that a job is in flight."""
        with self._lock:
            self._begun[key] = (job, frozenset(outputs))
            self._keys.update(dict.fromkeys(self._begun[key][1], key))

    def ends(self, key: str) -> list[AnyJob]:
        """Note that a job has ended; return the jobs handed over again that end with it.

        Those equal to it are left out: Snakemake has one of them.
        """
        with self._lock:
            first, outputs = self._begun.pop(key, (None, ()))
            for output in outputs:
                if self._keys.get(output) == key:
                    del self._keys[output]
            for each in self._again:
                each.keys.discard(key)
            over = [each.job for each in self._again if not each.keys and each.job != first]
            self._again = [each for each in self._again if each.keys]
        return over
