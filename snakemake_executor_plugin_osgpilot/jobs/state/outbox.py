"""Jobs on their way to the access point: those to be sent, and those that may have arrived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable

from snakemake_executor_plugin_osgpilot.jobs.state import submission as feeding
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState
from snakemake_executor_plugin_osgpilot.jobs.state.table import JobTable
from snakemake_executor_plugin_osgpilot.model.resources import UNBOUNDED, Request


class SubmitQueue:
    """Keys of jobs: `unsent` are to be sent, `in_doubt` were, and no answer has come so far.

    `apart` says whether those to be sent are to keep apart, see `balance.apart`. `paused_there` and
    `apart_there` are what all in the queue were told last, None if an earlier life told them.
    """

    def __init__(self, ledger: JobTable) -> None:
        self._ledger = ledger
        self.unsent: list[str] = []
        self.in_doubt: list[str] = []
        self.apart = False
        self.paused_there: bool | None = False
        self.apart_there: bool | None = False

    def take(self, room: int = UNBOUNDED) -> dict[Request, list[str]]:
        """Return the keys of the jobs to send, by what they ask for; `room` at most."""
        kinds: defaultdict[Request, list[str]] = defaultdict(list)
        unsent = [key for key in self.unsent if self._is_prepared(key)]
        for key in unsent:
            kinds[self._ledger[key].request].append(key)
        taken = feeding.shares(kinds, self._ledger.queued, room)
        self.unsent = feeding.without(unsent, taken)
        return taken

    def sending(self, keys: Iterable[str]) -> list[str]:
        """Return those of these jobs that are still to be sent; until the answer, they may be."""
        now = [key for key in keys if self._is_prepared(key)]
        self.in_doubt += now
        return now

    def answered(self, keys: Container[str]) -> None:
        """End the doubt about these jobs."""
        self.in_doubt = [key for key in self.in_doubt if key not in keys]

    def clear(self) -> None:
        """Send none of them any more."""
        self.unsent.clear()
        self.in_doubt.clear()

    def _is_prepared(self, key: str) -> bool:
        return self._ledger[key].state is JobState.PREPARED
