"""An access point on another host: `ports.AccessPoint` for it.

Inputs are spooled there when jobs are submitted, outputs fetched when they ended. No event log can
be read from here, so the queue is looked at now and then, in one query for all jobs
(HTCondor manual, Submitting Jobs to a Remote Schedd).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import (
    MissingPrerequisiteError,
    OsgpilotError,
    OutcomeUnknownError,
)
from snakemake_executor_plugin_osgpilot.htcondor.job_ad import ATTRIBUTES, sight
from snakemake_executor_plugin_osgpilot.htcondor.polling import JobSnapshot, Status
from snakemake_executor_plugin_osgpilot.htcondor.schedd_queue import PING_S, CondorQueue
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import spooled
from snakemake_executor_plugin_osgpilot.htcondor.watch import QueuePoller, Told
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import BY_HAND
from snakemake_executor_plugin_osgpilot.model.clock import Clock
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity

TRANSFER_S = 3600.0
"""Deadline for moving files of many jobs. HTCondor itself gives up a connection that stalls, so
this is for what it does not notice."""

FETCH_AT_ONCE = 100
FETCH_FOR_S = 10.0
"""Jobs whose outputs are fetched in one request, and how long that goes on before the other work of
a tick has its turn."""

FETCH_TRIES = 5
"""Looks after which a job is told as ended although its outputs could not be fetched; then it runs
again, as a job does whose outputs did not come back whole."""

HELD_OUTPUT_MAX = 20
"""Held jobs of which, at one look, the printed text is fetched to explain the hold."""


@dataclass(frozen=True)
class Address:
    """Which schedd, found through which collector (empty: the configured one)."""

    schedd: str
    collector: str = ""


class RemoteAccessPoint(CondorQueue):
    """Jobs of one run in the queue of a schedd on another host, looked at every `poll_s`.

    A job that ended stays in the queue until its outputs are here and its end was told; so what a
    process that died left undone is done by the next one that looks.
    """

    submit_s = TRANSFER_S
    image_way = (
        "to the access point and from there to a pilot with each job; name it by URL or put it "
        "into a shared folder to spare that"
    )

    def __init__(
        self, seat: RunIdentity, run_folder: Path, manager: str, address: Address, clock: Clock,
        poll_s: float,
    ) -> None:  # fmt: skip
        super().__init__(seat, run_folder, manager, vars(address))
        self._clock, self._poll_s = clock, poll_s
        self._watch = QueuePoller()
        self._look_due_s = float("-inf")
        self._looked_s = self.told_until_s = float("-inf")
        self._trouble = ""
        self._to_fetch: dict[str, JobSnapshot] = {}
        self._tries: Counter[str] = Counter()
        self._complaint = ""
        self._to_clear: list[str] = []
        self._news: Told = []

    def ping(self) -> str:
        """Return the user name that the access point knows us by.

        Raises `MissingPrerequisiteError` unless it is found, answers, and lets us submit.
        """
        try:
            answer = self._ask("greet", PING_S)
        except OsgpilotError as error:
            raise MissingPrerequisiteError(
                f"{error}; see `access_point` in the site file"
            ) from error
        if problem := answer.get("problem"):
            raise MissingPrerequisiteError(problem)
        self.token = answer["token"]
        return self._known_as(str(answer["user"]))

    def submit(self, submission: Submission) -> dict[str, str]:
        ids = super().submit(submission)
        if not self._watch:
            # what was just submitted need not be asked for
            self._look_due_s = self._clock.now_s() + self._poll_s
        self._watch.follow(ids.values())
        return ids

    def description(self, submission: Submission) -> dict[str, str]:
        return spooled(super().description(submission))

    def find(self) -> dict[str, str]:
        # an ended job that ran again has the same key as the one in its place
        self._clear()
        found = super().find()
        self._watch.follow(found.values())
        return found

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        ids = None if job_ids is None else list(job_ids)
        super().remove(ids, reason)
        self._watch.leave(ids)
        for job_id in list(self._to_fetch) if ids is None else ids:
            self._to_fetch.pop(job_id, None)

    def events(self) -> list[tuple[str, Event]]:
        """Return what a look at the queue tells, where one is due, and ends whose outputs came.

        Raises `OutcomeUnknownError` from a look that failed until one succeeds, and once for
        outputs that could not be fetched.
        """
        now_s = self._clock.now_s()
        due = bool(self._watch or self._to_clear) and now_s >= self._look_due_s
        try:
            if due:
                self._look_due_s = now_s + self._poll_s
                self._trouble = ""
                self._look(now_s)
            if not self._trouble:
                self._fetch(now_s)
        except OsgpilotError as error:
            self._trouble = str(error)
        told, self._news = self._news, []
        if not (self._trouble or self._to_fetch or self._tries):
            self.told_until_s = self._looked_s
        if not told and (why := self._trouble or self._complaint):
            self._complaint = ""
            raise OutcomeUnknownError(why)
        return told

    def close(self) -> None:
        """Take out of the queue what was told as ended, and end the worker process."""
        with suppress(OsgpilotError):
            self._clear()
        super().close()

    def _clear(self) -> set[str]:
        """Take jobs out of the queue whose end was told; return them.

        That is done some time after the telling: until then they show who comes after us, should we
        die, where their outputs belong.
        """
        cleared, self._to_clear = self._to_clear, []
        if cleared:
            try:
                super().remove(cleared, "osgpilot: its outputs were fetched")
            except OutcomeUnknownError:
                self._to_clear = cleared
                raise
        return set(cleared)

    def _look(self, now_s: float) -> None:
        cleared = self._clear()
        if not self._watch:
            return
        rows = self._ask("look", attributes=ATTRIBUTES)
        seen = {job_id: sight(ad) for job_id, ad in rows.items() if job_id not in cleared}
        missing = self._watch.missing(seen)
        past = self._ask("history", ids=missing, attributes=ATTRIBUTES) if missing else {}
        self._looked_s = now_s
        self._to_fetch = {i: s for i, s in seen.items() if s.status is Status.COMPLETED}
        self._tries = Counter({i: n for i, n in self._tries.items() if i in self._to_fetch})
        told = self._watch.tell({i: s for i, s in seen.items() if not s.over})
        told += self._watch.tell({job_id: sight(ad) for job_id, ad in past.items()})
        told += self._watch.miss([i for i in missing if i not in past], now_s)
        self._news += told
        self._fetch_printed(told)

    def _fetch(self, now_s: float) -> None:
        """Bring the outputs of jobs home that ended, and tell the ends of those that are here."""
        while self._to_fetch and self._clock.now_s() < now_s + FETCH_FOR_S:
            some = dict(islice(self._to_fetch.items(), FETCH_AT_ONCE))
            answer = self._ask("retrieve", TRANSFER_S, ids=list(some))
            self._to_fetch = {i: s for i, s in self._to_fetch.items() if i not in some}
            failed = set(answer["failed"])
            self._tries.update(failed)
            given_up = {i for i in failed if self._tries[i] >= FETCH_TRIES}
            here = {i: s for i, s in some.items() if i not in failed or i in given_up}
            for job_id in here:
                self._tries.pop(job_id, None)
            self._news += self._watch.tell(here)
            self._to_clear += here
            if failed:
                self._complaint = f"outputs cannot be fetched: {answer['why']}"

    def _fetch_printed(self, told: Told) -> None:
        """Fetch what jobs printed that are held now; there may be nothing."""
        held = [i for i, e in told if e.kind is EventKind.HELD and e.code not in BY_HAND]
        if held:
            with suppress(OsgpilotError):
                self._ask("retrieve", ids=held[:HELD_OUTPUT_MAX])
