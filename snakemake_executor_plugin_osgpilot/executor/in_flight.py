"""Jobs that Snakemake hands over again while they run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

logger = logging.getLogger(__name__)


@dataclass
class _Again:
    """A job that is handed over again, the keys of those in flight that it waits for, and why it
    fails, empty so far if it does not.
    """

    info: SubmittedJobInfo
    keys: set[str]
    failure: str = ""


class InFlight:
    """Recognizes jobs all of whose outputs are in flight, and keeps them until these have ended.

    After a kill, Snakemake's scheduler hands over groups that depend on a checkpoint more than
    once, whole and in parts (9.27.1). Submitted again, they would write the same outputs.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._outputs: dict[str, frozenset[str]] = {}
        self._again: list[_Again] = []
        self._lock = Lock()

    def is_again(self, outputs: Iterable[str], info: SubmittedJobInfo) -> bool:
        """Return True, and keep `info`, if all of its `outputs` are in flight."""
        with self._lock:
            keys = {self._keys.get(output) for output in outputs}
            known = {key for key in keys if key is not None}
            if not known or None in keys:
                return False
            is_news = not any(each.keys & known for each in self._again)
            self._again.append(_Again(info, known))
            info.external_jobid = min(known)
        if is_news:
            logger.warning(
                f"Snakemake hands over {info.job.name} again while its job {min(known)} waits or "
                "runs; it is not submitted twice, and ends with that job"
            )
        return True

    def begins(self, outputs: Iterable[str], key: str) -> None:
        """Note that a job is in flight."""
        with self._lock:
            self._outputs[key] = frozenset(outputs)
            self._keys.update(dict.fromkeys(self._outputs[key], key))

    def ends(self, key: str, failure: str = "") -> list[tuple[SubmittedJobInfo, str]]:
        """Note that a job has ended; return what ends with it, each with its failure, if any."""
        with self._lock:
            for output in self._outputs.pop(key, ()):
                if self._keys.get(output) == key:
                    del self._keys[output]
            for each in self._again:
                if key in each.keys:
                    each.keys.discard(key)
                    each.failure = each.failure or failure
            over = [(each.info, each.failure) for each in self._again if not each.keys]
            self._again = [each for each in self._again if each.keys]
        return over
