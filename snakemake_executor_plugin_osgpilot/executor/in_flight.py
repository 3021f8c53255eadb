"""Jobs that Snakemake hands over again while they run."""

from __future__ import annotations

import logging
from threading import Lock

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

logger = logging.getLogger(__name__)


class InFlight:
    """Recognizes such jobs by their identity, and keeps them until the first one ends.

    Snakemake's scheduler hands over the same group every second if it began in an earlier session
    and depends on a checkpoint (9.27.1). Submitted again, its jobs would write the same outputs.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._identities: dict[str, str] = {}
        self._again: dict[str, list[SubmittedJobInfo]] = {}
        self._lock = Lock()

    def is_again(self, identity: str, info: SubmittedJobInfo) -> bool:
        """Return True, and keep `info`, if a job of this identity is in flight."""
        with self._lock:
            key = self._keys.get(identity)
            if key is None:
                return False
            kept = self._again.setdefault(key, [])
            kept.append(info)
            info.external_jobid = key
        if len(kept) == 1:
            logger.warning(
                f"Snakemake hands over {info.job.name} again while its job {key} waits or runs; it "
                "is not submitted twice, and ends with that job"
            )
        return True

    def begins(self, identity: str, key: str) -> None:
        """Note that a job is in flight."""
        with self._lock:
            self._keys[identity], self._identities[key] = key, identity

    def ends(self, key: str) -> list[SubmittedJobInfo]:
        """Note that a job has ended; return what was handed over again meanwhile."""
        with self._lock:
            self._keys.pop(self._identities.pop(key, ""), None)
            return self._again.pop(key, [])
