"""Submit the jobs of a run in batches, follow its event log, report jobs that ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Protocol

from ..errors import OutcomeUnknownError, QueueFullError, RejectedError
from ..model.resources import JobClass, Request, Shape
from ..model.runtime_by_size import RuntimesBySize, Sample
from ..model.upcoming import UpcomingWork
from .access_point import AccessPoint, JobJournal, Submission
from .interventions import JobInterventions
from .log_gaps import EventLogRepair
from .rematch import Rematcher
from .state.events import Event, EventKind, ImageSent
from .state.job import Job
from .state.recovery import Leftover
from .state.restore import restore
from .state.rule_sums import RuleSums
from .state.stuck_jobs import CapacityHistory
from .state.submission import QUEUED_MAX, SubmissionThrottle
from .state.tracker import JobTracker
from .state.view import View


class QueueQuota(Protocol):
    """Limits the jobs in the queue where several runs share the limit."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        """Return how many of `unsent` jobs a run with `queued` ones may submit now.

        `ask` is called with both and the number of jobs that the other runs have in the queue.
        """


class Unshared:
    """The quota of a run that shares its limits with no other."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        return ask(queued, unsent, 0)


class _Part(NamedTuple):
    """Jobs to submit in one request, and places that failed them; in `bundles` if there are any."""

    request: Request
    keys: list[str]
    kept_off: tuple[str, ...] = ()
    bundles: Sequence[tuple[str, ...]] = ()

    @property
    def jobs(self) -> Sequence[tuple[str, ...]]:
        """The keys in each job of HTCondor."""
        return self.bundles or [(key,) for key in self.keys]


class JobManager:
    """The jobs of a run at the access point; decisions about them are in `state`.

    Snakemake's threads call `add`, `run_again` and `over`, the controller calls all else. The lock
    is never held during a request to the access point. `clear` removes the outputs of earlier
    attempts; `write` writes what jobs need that are submitted for the first time, and returns why
    others cannot be, by key. With `all_now`, jobs do not wait here to be bundled when more is known
    of them. `runtimes` are those of earlier runs.
    """

    def __init__(
        self, access_point: AccessPoint, largest: Shape, queued_max: int = QUEUED_MAX,
        journal: JobJournal | None = None, share: QueueQuota | None = None,
        clear: Callable[[Iterable[str]], object] = tuple,
        write: Callable[[Iterable[str]], Mapping[str, str]] = lambda keys: {},
        *, all_now: bool = False, runtimes: RuntimesBySize | None = None,
    ) -> None:  # fmt: skip
        self._access_point = access_point
        self._journal = journal
        self._clear = clear
        self._write = write
        self._all_now = all_now
        self._later, self._enough_idle = 0, dict[str, int]()
        self._unknown = set[str]()
        self._quota = share or Unshared()
        self._lock = threading.Lock()
        self._tracker = JobTracker(largest, runtimes)
        self._throttle = SubmissionThrottle(queued_max)
        self._log_repair = EventLogRepair(access_point, self._tracker, self._lock)
        self._rematcher = Rematcher(access_point, self._tracker, self._lock)
        self._interventions = JobInterventions(
            access_point, self._tracker, self._lock, self._rematcher.run
        )
        self._missed = False
        self.upcoming = UpcomingWork()

    def add(self, jobs: Iterable[Job]) -> None:
        """Register new jobs, to be submitted at the next tick."""
        with self._lock:
            self._tracker.add(jobs)

    def expect(self, upcoming: UpcomingWork) -> None:
        """Set the jobs that are still to come; call it after `add`, so that none is missed."""
        with self._lock:
            self.upcoming = upcoming

    def restore(self, left: Leftover, events: Iterable[tuple[str, Event]]) -> None:
        """Restore state from a previous session and its event log so far."""
        with self._lock:
            restore(self._tracker, left, events)

    def claim(self, jobs: Iterable[Job], instead: Iterable[tuple[Job, str]] = ()) -> None:
        """Adopt restored jobs; submit those `instead` of an old one once that left the queue."""
        with self._lock:
            for job in jobs:
                self._tracker.adopt(job)
            for job, old_key in instead:
                self._tracker.replace_job(job, old_key)

    def jobs(self, keys: Iterable[str]) -> list[Job]:
        """Return these jobs."""
        return [self._tracker[key] for key in keys]

    def ended(self, key: str) -> bool:
        """Return True if a job is over."""
        return self._tracker[key].over

    def run_again(self, key: str, why: str) -> bool:
        """Resubmit a job that ended without complete outputs; return False once the retry limit is
        reached.

        No retry of Snakemake is used up.
        """
        with self._lock:
            return self._tracker.run_again(key, why)

    def mark_incomplete(self, key: str) -> None:
        """Count a job that ended as failed: its outputs could not be used."""
        with self._lock:
            self._tracker.mark_incomplete(key)

    def over(self) -> dict[str, Job]:
        """Return the jobs that ended since the last call, by key; each is returned once.

        A job that failed has left the access point's queue by then.
        """
        with self._lock:
            return self._tracker.take_ended()

    def has_news(self) -> bool:
        """Return True if `over` would return a job."""
        return self._tracker.has_ended

    def notices(self) -> list[str]:
        """Return the messages for the user since the last call, those about jobs by kind."""
        with self._lock:
            notices, self._throttle.notices = self._throttle.notices, []
            return notices + self._tracker.take_notices()

    def changes(self) -> list[Job]:
        """Return each job that changed state since the last call, as of that change."""
        with self._lock:
            return self._tracker.take_changes()

    def counts(self) -> dict[str, int]:
        """Return the number of jobs by state, as `Progress` needs them."""
        with self._lock:
            return self._tracker.counts()

    def rules(self) -> dict[str, RuleSums]:
        """Return the sums over the jobs of each rule as of now."""
        with self._lock:
            return self._tracker.rule_sums()

    def samples(self) -> dict[str, list[Sample]]:
        """Return sizes of inputs and runtimes of jobs that succeeded, some of each rule."""
        with self._lock:
            return dict(self._tracker.priorities.samples())

    def span_s(self) -> tuple[float, float] | None:
        """Return the times of the first and the last event of a job, None before the first one."""
        return self._tracker.span_s

    def served_s(self) -> dict[str, float]:
        """Return the time of the first job start on each pilot that ever started one."""
        with self._lock:
            return self._tracker.first_starts_s()

    def any_left(self) -> bool:
        """Return True if a job of this run may still be in the queue."""
        with self._lock:
            return self._tracker.any_left()

    def view(self) -> View:
        """Return the input of scaling; each runtime is in one view only."""
        with self._lock:
            return replace(self._tracker.view(), upcoming=self.upcoming)

    def is_quiet(self) -> bool:
        """Return True if no job waits, so that an idle pilot gets none soon."""
        return not self._tracker.has_waiting

    def busy_pilots(self) -> set[str]:
        """Return the names of the pilots that run a job."""
        with self._lock:
            return self._tracker.busy_pilots()

    def send(self) -> int:
        """Submit unsent jobs as far as there is room, by request; return how many were submitted.

        The others wait here. After a submission without an answer, the queue is searched for its
        jobs before they are submitted again. Raises `OutcomeUnknownError`; nothing is lost then,
        the next call continues.
        """
        if self._tracker.in_doubt:
            found = self._access_point.find()
            with self._lock:
                self._tracker.settle(found)
        with self._lock:
            parts = self._parts()
        sent = 0
        try:
            while parts:
                sent += self._send_part(parts.pop(0))
        except QueueFullError:
            pass
        finally:
            with self._lock:
                self._tracker.put_back(key for part in parts for key in part.keys)
                self._throttle.sent(self._tracker.unsent)
        return sent

    def follow(self) -> None:
        """Apply new events of the log, which has all jobs of the run.

        If it is damaged, or silent for long, query the queue for jobs that are there or held, and
        its history for how the others ended. For a job in neither, its outputs decide: without a
        list of them it runs again. Raises `OutcomeUnknownError`; the next call continues.
        """
        try:
            events = self._access_point.events()
        finally:
            self._missed |= self._access_point.missed_events()
        with self._lock:
            self._tracker.add_machines(self._access_point.machines)
            for job_id, event in events:
                if event.kind is EventKind.IMAGE_SENT:
                    self._tracker.image_sent(job_id, event.at_s)
                else:
                    self._tracker.apply(job_id, event)
            self._tracker.find_black_holes()
        if self._missed and self._tracker.queued:
            self._log_repair.run()
        self._missed = False

    def repair(self, now_s: float) -> None:
        """Remove, release, rematch or resubmit jobs as scheduled.

        A job that is refused does not keep the others waiting. Raises `OutcomeUnknownError` or
        `RejectedError`; what was not done is tried again at the next call.
        """
        with self._lock:
            # a job may have succeeded on a pilot before it ended, in events not read yet
            self._tracker.requeue_lost(min(now_s, self._access_point.complete_until_s))
            self._tracker.limit_starts(now_s)
            self._throttle.tick(now_s)
        self._interventions.run(now_s)

    def pilot_ended(self, pilot: str, at_s: float, *, vanished: bool) -> None:
        """Record that a pilot's allocation is over, so that its jobs do not wait for their lease.

        HTCondor tries to reconnect until the job lease ends; neither condor_vacate_job nor another
        lease makes it stop earlier (25.14). But an allocation that Slurm ended is gone for certain.
        A pilot that `vanished` did not sign off from the pool, so jobs have to avoid it.
        """
        with self._lock:
            self._tracker.pilot_ended(pilot, at_s, vanished=vanished)

    def set_shapes(self, shapes: Iterable[Shape]) -> None:
        """Set the shapes of the pilots that there are, by which short jobs are bundled."""
        given = tuple(shapes)
        if given != self._tracker.shapes:
            # more may start now
            self._tracker.shapes, self._later = given, 0

    @property
    def suspects(self) -> Collection[str]:
        """The pilots that ruin jobs."""
        return self._tracker.suspects

    def avoid_pilots(self, pilots: Iterable[str]) -> None:
        """Let no more jobs start on these pilots, which are alive but leave: a claimed slot takes
        the next job at once.
        """
        with self._lock:
            self._tracker.avoid_pilots(pilots)

    def set_capacity(self, capacity: CapacityHistory) -> None:
        """Set when there was room for waiting jobs, to find those that are stuck."""
        self._rematcher.capacity = capacity

    def take_images_sent(self) -> list[ImageSent]:
        """Return the transfers of images that jobs share, since the last call."""
        with self._lock:
            return self._tracker.take_images_sent()

    def take_rematched(self) -> list[str]:
        """Return the keys of stuck jobs that were rematched since the last call."""
        return self._rematcher.take_rematched()

    def fail_waiting(self, classes: Iterable[JobClass], text: str) -> None:
        """Fail waiting jobs of these classes with a reason."""
        with self._lock:
            self._tracker.fail_waiting(classes, text)

    def remove_all(self) -> None:
        """Remove every job of this run from the queue. Raises `OutcomeUnknownError`."""
        with self._lock:
            self._tracker.submit_no_more()
        self._access_point.remove(None, "osgpilot: the workflow ended")

    def clear(self) -> None:
        """Remove what the access point keeps for jobs. Raises `OutcomeUnknownError`."""
        self._access_point.clear()

    def remaining(self) -> int:
        """Return the number of jobs of this run in the queue. Raises `OutcomeUnknownError`."""
        return len(self._access_point.find())

    def interrupt(self) -> None:
        """Stop waiting for the answer to a request that is under way."""
        self._access_point.interrupt()

    @property
    def removal_hint(self) -> str:
        """The command that removes the jobs of this run by hand."""
        return self._access_point.removal_hint

    def force_remove(self) -> None:
        """Force-remove jobs awaiting confirmation from a vanished pilot."""
        self._access_point.force_remove(None)

    def _parts(self) -> list[_Part]:
        """Return the submissions to make now."""
        tracker = self._tracker
        unsent = tracker.sendable
        # asked even without jobs to submit, so that other runs may use the room
        room = self._quota.room(tracker.queued, unsent, self._throttle.room)
        if not (room and unsent) or self._all_wait():
            return []
        taken = tracker.take_unsent(room)
        later = [key for keys in taken.values() for key in keys]
        try:
            parts, later = self._split(taken)
        finally:
            # in an error here, nothing is lost
            tracker.put_first(later)
        now = Counter(tracker[keys[0]].rule for part in parts for keys in part.jobs)
        waiting = {tracker[key].rule for key in later}
        self._later, self._enough_idle = len(later), {r: tracker.idle(r) + now[r] for r in waiting}
        self._unknown = {rule for rule in waiting if not tracker.ended(rule)}
        return parts

    def _split(self, taken: Mapping[Request, list[str]]) -> tuple[list[_Part], list[str]]:
        """Return the submissions of the jobs in `taken`, and the jobs that wait for now."""
        tracker = self._tracker
        alone: dict[Request, list[str]] = {}
        bundled: list[_Part] = []
        later: list[str] = []
        for request, keys in taken.items():
            jobs, waiting = tracker.split(request, keys, all_now=self._all_now)
            later += waiting
            alone[request] = [own[0] for own in jobs if len(own) == 1]
            if bundles := [own for own in jobs if len(own) > 1]:
                bundled.append(_Part(request, [key for own in bundles for key in own], (), bundles))
        parts: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        batches = self._throttle.batches(alone)
        for number, (_, keys) in enumerate(batches):
            for key in keys:
                parts.setdefault((number, tracker.kept_off(key)), []).append(key)
        singles = [_Part(batches[number][0], keys, off) for (number, off), keys in parts.items()]
        return singles + bundled, later

    def _all_wait(self) -> bool:
        """Return True if nothing but jobs that wait here is left, enough others are idle, and no
        job has ended that is the first of its rule.
        """
        tracker = self._tracker
        return (
            tracker.unsent == self._later > 0
            and all(2 * tracker.idle(rule) > idle for rule, idle in self._enough_idle.items())
            and not any(map(tracker.ended, self._unknown))
        )

    def _send_part(self, part: _Part) -> int:
        tracker, request = self._tracker, part.request
        with self._lock:
            jobs = tracker.begin_submission(part.keys)
        unfit = self._write(job.key for job in jobs)
        with self._lock:
            for key, why in unfit.items():
                tracker.not_sent([key], why)
        if not (jobs := [job for job in jobs if job.key not in unfit]):
            return 0
        keys = [job.key for job in jobs]
        urls = {job.key: job.urls for job in jobs if job.urls}
        more = tracker.avoided_pilots, urls, tracker.apart, tracker.largest
        shared = {job.key: job.shared for job in jobs if job.shared}
        submission = Submission(
            tuple(keys), request, *more, part.kept_off, shared,
            priorities=tracker.priorities.sending(jobs),
        )  # fmt: skip
        if part.bundles:
            target_s = max(job.bundle_s for job in jobs)
            submission = _bundled(submission, part.bundles, target_s)
        try:
            if self._journal:
                self._journal.intend(keys)
            self._clear(job.key for job in jobs if job.failed_attempts or tracker.left_bundle(job))
            ids = self._access_point.submit(submission)
        except QueueFullError as full:
            with self._lock:
                tracker.not_sent(keys)
                self._throttle.refused(full.room, tracker.queued, str(full), at_once=full.at_once)
            raise
        except RejectedError as refusal:
            with self._lock:
                tracker.not_sent(keys, str(refusal))
            return 0
        with self._lock:
            tracker.submitted(ids)
        # event log and queue have the ids, too, and the next write repeats them
        with suppress(OutcomeUnknownError):
            if self._journal:
                self._journal.submitted(ids)
        return len(ids)


def _bundled(
    submission: Submission, bundles: Iterable[tuple[str, ...]], bundle_s: float
) -> Submission:
    """Return a submission of bundles, without members that are not to be submitted any more."""
    keys = set(submission.keys)
    left = (tuple(key for key in bundle if key in keys) for bundle in bundles)
    return replace(submission, bundles=tuple(filter(None, left)), bundle_s=bundle_s)
