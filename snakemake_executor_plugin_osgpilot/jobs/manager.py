"""The jobs of a run at the access point: sent in batches, followed through one event log."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Protocol

from snakemake_executor_plugin_osgpilot.errors import (
    OutcomeUnknownError,
    QueueFullError,
    RejectedError,
)
from snakemake_executor_plugin_osgpilot.jobs.access_point import AccessPoint, JobJournal, Submission
from snakemake_executor_plugin_osgpilot.jobs.interventions import JobInterventions
from snakemake_executor_plugin_osgpilot.jobs.log_gaps import EventLogRepair
from snakemake_executor_plugin_osgpilot.jobs.rematch import Rematcher
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Leftover
from snakemake_executor_plugin_osgpilot.jobs.state.restore import add_instead, claim, recall
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import CapacityHistory
from snakemake_executor_plugin_osgpilot.jobs.state.submission import QUEUED_MAX, SubmissionThrottle
from snakemake_executor_plugin_osgpilot.jobs.state.table import RuleSums
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker
from snakemake_executor_plugin_osgpilot.jobs.state.view import View
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.model.upcoming import UpcomingWork


class QueueQuota(Protocol):
    """Bounds the jobs in the queue where several runs share the limits."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        """Return how many of `unsent` jobs a run with `queued` ones may submit now.

        `ask` is given these two and the number of jobs that the other runs have in the queue.
        """


class Unshared:
    """The quota of a run that shares its limits with no other."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        return ask(queued, unsent, 0)


class JobManager:
    """Talks with the access point about the jobs of the run; what follows is decided in `core`.

    `add`, `run_again` and `over` are called by Snakemake's threads, all else by the controller. The
    lock is never held while the access point is asked. `clear` removes what jobs brought before.
    """

    def __init__(
        self, access_point: AccessPoint, largest: Shape, queued_max: int = QUEUED_MAX,
        journal: JobJournal | None = None, share: QueueQuota | None = None,
        clear: Callable[[Iterable[str]], object] = tuple,
    ) -> None:  # fmt: skip
        self._access_point = access_point
        self._journal = journal
        self._clear = clear
        self._share = share or Unshared()
        self._lock = threading.Lock()
        self._registry = JobTracker(largest)
        self._feeder = SubmissionThrottle(queued_max)
        self._enquiry = EventLogRepair(access_point, self._registry, self._lock)
        self.waker = Rematcher(access_point, self._registry, self._lock)
        self._errands = JobInterventions(
            access_point, self._registry, self._feeder, self._lock, self.waker.run
        )
        self._missed = False
        self.upcoming = UpcomingWork()

    def add(self, jobs: Iterable[Job]) -> None:
        """Take jobs over; they are sent at the next tick."""
        with self._lock:
            self._registry.add(jobs)

    def expect(self, upcoming: UpcomingWork) -> None:
        """Set the jobs that are still to come; call it after `add`, so that none is missed."""
        with self._lock:
            self.upcoming = upcoming

    def recall(self, left: Leftover, told: Iterable[tuple[str, Event]]) -> None:
        """Take over what is left of an earlier life of this run, and the log as far as it is."""
        with self._lock:
            recall(self._registry, left, told)

    def claim(self, jobs: Iterable[Job], instead: Iterable[tuple[Job, str]] = ()) -> None:
        """Go on with recalled jobs; send those that come `instead` when the old ones left."""
        with self._lock:
            for job in jobs:
                claim(self._registry, job)
            for job, old_key in instead:
                add_instead(self._registry, job, old_key)

    def jobs(self, keys: Iterable[str]) -> list[Job]:
        """Return what is known of these jobs."""
        return [self._registry.ledger[key] for key in keys]

    def ended(self, key: str) -> bool:
        """Whether a job is over."""
        return self._registry.ledger[key].over

    def run_again(self, key: str, why: str) -> bool:
        """Submit a job anew that ended but did not come back whole; False if it has had its turns.

        No retry of Snakemake is used up.
        """
        with self._lock:
            return self._registry.run_again(key, why)

    def over(self) -> dict[str, Job]:
        """Return the jobs that ended since the last call, by key; each is told once.

        A job that was given up has left the access point's queue by then.
        """
        with self._lock:
            ended, self._registry.over = self._registry.over, {}
        return ended

    def has_news(self) -> bool:
        """Whether `over` would return something."""
        return bool(self._registry.over)

    def notices(self) -> list[str]:
        """Return what there is to say about jobs since the last call, those in trouble by kind."""
        with self._lock:
            said, self._registry.notices = self._registry.notices, Counter()
            fed, self._feeder.notices = self._feeder.notices, []
        return fed + [f"{count} job(s) of rule {text}" for text, count in said.items()]

    def changes(self) -> list[Job]:
        """Return each job as it was when it came to another state, since the last call."""
        with self._lock:
            told, self._registry.ledger.changes = self._registry.ledger.changes, []
        return told

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in which state, as `Progress` has them."""
        with self._lock:
            return self._registry.ledger.counts()

    def rules(self) -> dict[str, RuleSums]:
        """Return the sums over the jobs of each rule as they are now."""
        with self._lock:
            return deepcopy(dict(self._registry.ledger.rules))

    def span_s(self) -> tuple[float, float] | None:
        """Return the times of the first and the last event of a job, None before there was one."""
        return self._registry.ledger.span_s

    def served_s(self) -> dict[str, float]:
        """Return the pilots on which a job was ever started, with the time of the first start."""
        with self._lock:
            return dict(self._registry.ledger.served)

    def any_left(self) -> bool:
        """Whether a job of ours may still be in the queue."""
        with self._lock:
            return self._registry.any_left()

    def view(self) -> View:
        """Return what scaling looks at, and what was learned since the last call."""
        with self._lock:
            ledger, brake = self._registry.ledger, self._registry.brake.reason
            learned, ledger.runtimes_s = ledger.runtimes_s, []
            executing = tuple(ledger.executing.values())
            suspects = dict(self._registry.suspects)
            waiting, ours = ledger.waiting.copy(), self._registry.key_by_id
            served, started = dict(ledger.served), dict(ledger.started)
            rules = {rule: replace(sums) for rule, sums in ledger.rules.items()}
            seen = waiting, executing, served, learned, suspects, brake, ours, started, rules
            on_trial = bool(self._registry.trial)
            return View(*seen, on_trial=on_trial, upcoming=self.upcoming)

    def is_quiet(self) -> bool:
        """Whether no job waits, so that a pilot without a job will not get one soon."""
        return not self._registry.ledger.waiting

    def busy_pilots(self) -> set[str]:
        """Return the names of the pilots that run a job."""
        with self._lock:
            return {job.pilot for job in self._registry.ledger.executing.values()}

    def send(self) -> int:
        """Submit what was added, by kinds of job, as far as there is room; return how many went.

        What there is no room for waits here. A batch whose answer got lost is looked for in the
        queue before it is sent again. Raises `OutcomeUnknownError`; nothing is lost then, the next
        call goes on.
        """
        if self._registry.outbox.in_doubt:
            found = self._access_point.find()
            with self._lock:
                self._registry.settle(found)
        with self._lock:
            parts = self._parts()
        sent = 0
        try:
            while parts:
                sent += self._send_part(*parts.pop(0))
        except QueueFullError:
            pass
        finally:
            with self._lock:
                self._registry.outbox.unsent += [key for _, keys, _ in parts for key in keys]
                self._feeder.sent(len(self._registry.outbox.unsent))
        return sent

    def follow(self) -> None:
        """Read the event log; it tells of all jobs at once.

        Where it is damaged, or silent for long, the queue is asked which jobs are there, and which
        are held, and its history how the others ended. Of one that is not there either, what it
        brought back tells: without a list of outputs it runs again. Raises `OutcomeUnknownError`;
        what was not done is done at the next call.
        """
        try:
            told = self._access_point.events()
        finally:
            self._missed |= self._access_point.missed_events()
        with self._lock:
            self._registry.machines |= self._access_point.machines
            for job_id, event in told:
                self._registry.apply(job_id, event)
            self._registry.judge_pilots()
        if self._missed and self._registry.queued:
            self._enquiry.run()
        self._missed = False

    def mend(self, now_s: float) -> None:
        """Take out, release, wake or submit anew what is due among the jobs in trouble.

        One that is refused does not keep the others from being done. Raises `OutcomeUnknownError`
        or `RejectedError`; what was not done is tried again at the next call.
        """
        with self._lock:
            # what was not looked at since a pilot ended may have ended well on it
            self._registry.lose(min(now_s, self._access_point.told_until_s))
            self._registry.tend(now_s)
            self._feeder.tick(now_s)
        self._errands.run(now_s)

    def pilot_ended(self, pilot: str, at_s: float, *, vanished: bool) -> None:
        """Learn that a pilot's allocation is over, so that its jobs do not wait for their lease.

        HTCondor tries to reconnect until the job lease ends; neither condor_vacate_job nor another
        lease makes it stop earlier (25.14). But what Slurm ended is gone for certain. One that
        `vanished` could not say so to the pool; jobs have to be kept off it.
        """
        with self._lock:
            self._registry.lost.ended(pilot, at_s)
            if vanished:
                self._registry.lost.vanished(pilot)

    @property
    def suspects(self) -> Collection[str]:
        """The pilots that ruin jobs."""
        return self._registry.suspects

    def keep_off(self, pilots: Iterable[str]) -> None:
        """Keep jobs off these pilots, which are there and leave; a slot that is claimed takes the
        next job at once."""
        with self._lock:
            self._registry.lost.keep_off(pilots)

    def note_capacity(self, capacity: CapacityHistory) -> None:
        """Record since when pilots have had free slots for waiting jobs."""
        self.waker.beside = capacity

    def fail_waiting(self, classes: Iterable[JobClass], text: str) -> None:
        """Give up on waiting jobs of these classes with a reason."""
        with self._lock:
            self._registry.fail_waiting(classes, text)

    def remove_all(self) -> None:
        """Take every job of this run out of the queue. Raises `OutcomeUnknownError`."""
        with self._lock:
            self._registry.outbox.clear()
        self._access_point.remove(None, "osgpilot: the workflow ended")

    def remaining(self) -> int:
        """Return how many jobs of this run the access point still has. Raises
        `OutcomeUnknownError`."""
        return len(self._access_point.find())

    def interrupt(self) -> None:
        """Do not wait any longer for the access point to answer what it is being asked."""
        self._access_point.interrupt()

    @property
    def removal_hint(self) -> str:
        """The command that takes the jobs of this run out of the queue by hand."""
        return self._access_point.removal_hint

    def forget_removed(self) -> None:
        """Drop removed jobs that wait for a word from a pilot that is gone."""
        self._access_point.forget(None)

    def _parts(self) -> list[tuple[Request, list[str], tuple[str, ...]]]:
        """Return what is to be submitted now, in transactions, and what places to keep off."""
        registry = self._registry
        unsent = 0 if registry.brake.on else len(registry.outbox.unsent)
        # told also when nothing is to be sent: others may have the room that was left
        room = self._share.room(registry.queued, unsent, self._feeder.room)
        if not (room and unsent):
            return []
        parts: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        batches = self._feeder.batches(registry.outbox.take(room))
        for number, (_, keys) in enumerate(batches):
            for key in keys:
                parts.setdefault((number, registry.kept_off(key)), []).append(key)
        return [(batches[number][0], keys, off) for (number, off), keys in parts.items()]

    def _send_part(self, request: Request, keys: list[str], kept_off: tuple[str, ...]) -> int:
        with self._lock:
            keys = self._registry.outbox.sending(keys)
        if not keys:
            return 0
        jobs = [self._registry.ledger[key] for key in keys]
        urls = {job.key: job.urls for job in jobs if job.urls}
        more = self._registry.lost.avoid, urls, self._registry.outbox.apart, self._registry.largest
        submission = Submission(tuple(keys), request, *more, kept_off)
        try:
            if self._journal:
                self._journal.intend(keys)
            self._clear(job.key for job in jobs if job.failed_attempts)
            ids = self._access_point.submit(submission)
        except QueueFullError as full:
            with self._lock:
                self._registry.not_sent(keys)
                queued = self._registry.queued
                self._feeder.refused(full.room, queued, str(full), at_once=full.at_once)
            raise
        except RejectedError as refusal:
            with self._lock:
                self._registry.not_sent(keys, str(refusal))
            return 0
        with self._lock:
            self._registry.learn(ids)
        # event log and queue tell the ids, too, and the next write has them
        with suppress(OutcomeUnknownError):
            if self._journal:
                self._journal.submitted(ids)
        return len(ids)
