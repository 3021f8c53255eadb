"""An access point on another host.

Inputs are spooled when jobs are submitted, outputs fetched when they ended. Its event log cannot be
read from here, so the queue is polled in one query for all jobs (HTCondor manual, Submitting Jobs
to a Remote Schedd).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from ..errors import MissingPrerequisiteError, OsgpilotError, OutcomeUnknownError
from ..jobs.access_point import Submission
from ..jobs.state.events import Event, EventKind
from ..jobs.state.hold_policy import BY_HAND
from ..jobs.state.job_ids import htcondor_ids
from ..model.clock import Clock
from ..model.identity import RunIdentity
from .job_ad import ATTRIBUTES, FETCHED, job_snapshot
from .polling import Events, JobSnapshot, QueuePoller, Status, derive
from .schedd_queue import COMMON_IMAGES_SINCE, PING_S, TRANSFER_S, CondorQueue, version
from .submit_description import spooled

FETCH_AT_ONCE = 100
FETCH_FOR_S = 10.0
"""Jobs whose outputs are fetched in one request, and the time limit before the other work of a tick
continues."""

FETCH_TRIES = 5
"""Polls after which the end of a job is reported although its outputs could not be fetched; then it
runs again, like any job with incomplete outputs."""

HELD_OUTPUT_MAX = 20
"""Held jobs per poll whose output is fetched to explain the hold."""


@dataclass(frozen=True)
class Address:
    """The name of a schedd and the collector that has its address (empty: the configured one)."""

    schedd: str
    collector: str = ""


class RemoteAccessPoint(CondorQueue):
    """Jobs of one run in the queue of a schedd on another host, polled every `poll_s`.

    A job that ended stays in the queue until its outputs are here and its end was reported; if this
    process dies before, the next session completes it.
    """

    submit_s = TRANSFER_S
    can_bundle = True
    image_way = (
        "to the access point and from there to a pilot with each job; name it by URL or put it "
        "into a shared folder to spare that"
    )

    def __init__(
        self, identity: RunIdentity, run_folder: Path, manager: str, address: Address, clock: Clock,
        poll_s: float,
    ) -> None:  # fmt: skip
        super().__init__(identity, run_folder, manager, vars(address))
        self._clock, self._poll_s = clock, poll_s
        self._poller = QueuePoller()
        self._poll_due_s = float("-inf")
        self._polled_s = self.complete_until_s = float("-inf")
        self._error = ""
        self._to_fetch: dict[str, JobSnapshot] = {}
        self._tries: Counter[str] = Counter()
        self._fetch_error = ""
        self._to_clear: list[str] = []
        self._events: Events = []

    def ping(self) -> str:
        """Return the user name that the access point maps this user to.

        Raises `MissingPrerequisiteError` unless it is found, answers, and allows submissions.
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
        if version(str(answer.get("version", ""))) >= COMMON_IMAGES_SINCE:
            self.keeps_images = True
            self.image_way = "to the access point once, and from there once to each pilot"
        return self._known_as(str(answer["user"]))

    def submit(self, submission: Submission) -> dict[str, str]:
        ids = super().submit(submission)
        if not self._poller:
            # jobs that were just submitted have no news yet
            self._poll_due_s = self._clock.now_s() + self._poll_s
        self._poller.follow(htcondor_ids(ids.values()))
        return ids

    def description(self, submission: Submission, keeper_cluster: int = 0) -> dict[str, str]:
        return spooled(super().description(submission, keeper_cluster))

    def _with_keeper(self, submission: Submission) -> tuple[Submission, int]:
        """Return `submission` with the path that its image has at the access point.

        HTCondor spools an image with each job, unless it is common: then the shadows read it there.
        """
        name = self._shared_as(submission.request)
        if not name or "://" in submission.request.container_image:
            return submission, 0
        kept = self._keep(submission, name, sent=True)
        there = replace(submission.request, container_image=str(kept["path"]))
        return replace(submission, request=there), int(kept["cluster"])

    def find(self) -> dict[str, str]:
        # a job that ended and its resubmission have the same key
        self._clear()
        found = super().find()
        self._poller.follow(htcondor_ids(found.values()))
        return found

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        ids = None if job_ids is None else htcondor_ids(job_ids)
        super().remove(ids, reason)
        self._poller.drop(ids)
        for job_id in list(self._to_fetch) if ids is None else ids:
            self._to_fetch.pop(job_id, None)

    def events(self) -> list[tuple[str, Event]]:
        """Return new events from a poll, if one is due, and ends of jobs whose outputs arrived.

        Raises `OutcomeUnknownError` from a failed poll until one succeeds, and once for outputs
        that could not be fetched.
        """
        now_s = self._clock.now_s()
        due = bool(self._poller or self._to_clear) and now_s >= self._poll_due_s
        try:
            if due:
                self._poll_due_s = now_s + self._poll_s
                self._error = ""
                self._poll(now_s)
            if not self._error:
                self._fetch(now_s)
        except OsgpilotError as error:
            self._error = str(error)
        events, self._events = self._events, []
        if not (self._error or self._to_fetch or self._tries):
            self.complete_until_s = self._polled_s
        if not events and (why := self._error or self._fetch_error):
            self._fetch_error = ""
            raise OutcomeUnknownError(why)
        return [own for each in events for own in self._expand(*each)]

    def past_events(self, job_ids: Iterable[str]) -> list[tuple[str, Event]]:
        wanted = set(job_ids)
        past = {job_id: each for job_id, each in self._past(wanted).items() if each.over}
        events = [(i, event) for i, each in past.items() for event in derive(None, each)]
        expanded = [own for each in events for own in self._expand(*each)]
        return [own for own in expanded if own[0] in wanted]

    def close(self) -> None:
        """Remove jobs whose end was reported from the queue, and end the worker process."""
        with suppress(OsgpilotError):
            self._clear()
        super().close()

    def _clear(self) -> set[str]:
        """Remove jobs whose end was reported from the queue; return their ids.

        That is some time after the report: until then they are what the next session finds, should
        this process die.
        """
        cleared, self._to_clear = self._to_clear, []
        if cleared:
            try:
                super().remove(cleared, FETCHED)
            except OutcomeUnknownError:
                self._to_clear = cleared
                raise
        return set(cleared)

    def _poll(self, now_s: float) -> None:
        cleared = self._clear()
        if not self._poller:
            return
        rows = self._ask("look", attributes=ATTRIBUTES)
        seen = {job_id: job_snapshot(ad) for job_id, ad in rows.items() if job_id not in cleared}
        missing = self._poller.missing(seen)
        past = self._ask("history", ids=missing, attributes=ATTRIBUTES) if missing else {}
        self._polled_s = now_s
        self._to_fetch = {i: s for i, s in seen.items() if s.status is Status.COMPLETED}
        self._tries = Counter({i: n for i, n in self._tries.items() if i in self._to_fetch})
        events = self._poller.update({i: s for i, s in seen.items() if not s.over})
        events += self._poller.update({job_id: job_snapshot(ad) for job_id, ad in past.items()})
        events += self._poller.record_missing([i for i in missing if i not in past], now_s)
        self._events += events
        self._fetch_output_of_held(events)

    def _fetch(self, now_s: float) -> None:
        """Fetch the outputs of jobs that ended, and report the ends of those that arrived."""
        while self._to_fetch and self._clock.now_s() < now_s + FETCH_FOR_S:
            some = dict(islice(self._to_fetch.items(), FETCH_AT_ONCE))
            self._make_folders(some)
            answer = self._ask("retrieve", TRANSFER_S, ids=list(some))
            self._to_fetch = {i: s for i, s in self._to_fetch.items() if i not in some}
            failed = set(answer["failed"])
            self._tries.update(failed)
            given_up = {i for i in failed if self._tries[i] >= FETCH_TRIES}
            here = {i: s for i, s in some.items() if i not in failed or i in given_up}
            for job_id in here:
                self._tries.pop(job_id, None)
            self._events += self._poller.update(here)
            self._to_clear += here
            if failed:
                self._fetch_error = f"outputs cannot be fetched: {answer['why']}"

    def _make_folders(self, job_ids: Iterable[str]) -> None:
        """Make the folders of those bundles whose results were taken just before a session died."""
        for keys in filter(None, map(self._bundles.keys, job_ids)):
            # without a folder, the fetch fails and is tried again
            with suppress(OSError):
                self._bundle_folders.make(keys)

    def _fetch_output_of_held(self, events: Events) -> None:
        """Fetch the output of jobs that are held now; there may be none."""
        held = [i for i, e in events if e.kind is EventKind.HELD and e.code not in BY_HAND]
        if held:
            with suppress(OsgpilotError):
                self._ask("retrieve", ids=held[:HELD_OUTPUT_MAX])
