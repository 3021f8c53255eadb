"""The jobs of a run at the access point: sent in batches, followed through one event log."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.core.jobs import Event, Job, JobState, fold
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.ports import AccessPoint, Submission


class Queue:
    """Own registry of all jobs of the run; the lists that Snakemake hands over are not used.

    `add` is called by Snakemake's thread, `over` by its status thread, all else by the controller.
    """

    def __init__(self, access_point: AccessPoint) -> None:
        self._access_point = access_point
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._unsent: list[Job] = []
        self._in_doubt: list[Job] = []
        self._key_by_id: dict[str, str] = {}
        self._early: defaultdict[str, list[Event]] = defaultdict(list)
        self._over: dict[str, Job] = {}
        self._to_remove: list[str] = []
        self._reported: set[str] = set()

    def add(self, jobs: Iterable[Job]) -> None:
        """Take jobs over; they are sent at the next tick."""
        with self._lock:
            for job in jobs:
                self._jobs[job.key] = job
                self._unsent.append(job)

    def over(self) -> dict[str, Job]:
        """Return the jobs that ended since the last call, by key."""
        with self._lock:
            ended, self._over = self._over, {}
        return ended

    def has_news(self) -> bool:
        """Whether `over` would return something."""
        return bool(self._over)

    def jobs(self) -> list[Job]:
        """Return all jobs of the run as they are now."""
        with self._lock:
            return list(self._jobs.values())

    def any_left(self) -> bool:
        """Whether a job of ours may still be in the queue."""
        with self._lock:
            open_states = (JobState.WAITING, JobState.RUNNING, JobState.HELD)
            return bool(self._in_doubt or self._to_remove) or any(
                job.state in open_states for job in self._jobs.values()
            )

    def demand(self) -> tuple[Counter[JobClass], dict[str, tuple[JobClass, ...]]]:
        """Return waiting jobs by class and running jobs by pilot."""
        waiting: Counter[JobClass] = Counter()
        running: defaultdict[str, list[JobClass]] = defaultdict(list)
        for job in self.jobs():
            if job.state in (JobState.PREPARED, JobState.WAITING):
                waiting[job.job_class] += 1
            elif job.state is JobState.RUNNING:
                running[job.pilot].append(job.job_class)
        return waiting, {pilot: tuple(classes) for pilot, classes in running.items()}

    def pilots_that_served(self) -> set[str]:
        """Return the names of the pilots on which a job of this run was last started."""
        return {job.pilot for job in self.jobs() if job.pilot}

    def send(self) -> int:
        """Submit what was added, one transaction per kind of job; return how many went out.

        A batch whose answer got lost is looked for in the queue before it is sent again. Raises
        `Unanswered`; nothing is lost then, the next call goes on.
        """
        self._settle_doubts()
        with self._lock:
            batch, self._unsent = self._unsent, []
            batch = [j for j in batch if self._jobs[j.key].state is JobState.PREPARED]
        kinds: defaultdict[Request, list[Job]] = defaultdict(list)
        for job in batch:
            kinds[job.request].append(job)
        waiting = list(kinds.values())
        sent = 0
        try:
            while waiting:
                sent += self._send_one_kind(waiting.pop(0))
        finally:
            with self._lock:
                self._unsent += [job for jobs in waiting for job in jobs]
        return sent

    def follow(self) -> None:
        """Read the event log; it tells of all jobs at once."""
        for job_id, event in self._access_point.events():
            with self._lock:
                key = self._key_by_id.get(job_id)
                if key is None:
                    # the log can be quicker than the answer to our submission
                    self._early[job_id].append(event)
                else:
                    self._apply(key, job_id, event)

    def remove_given_up(self) -> None:
        """Take jobs out of the queue that were reported as failed. Raises `Unanswered`."""
        with self._lock:
            ids, self._to_remove = self._to_remove, []
        if not ids:
            return
        try:
            self._access_point.remove(ids, "osgpilot: given up on, see the rule's error")
        except Refused:
            return
        except Unanswered:
            with self._lock:
                self._to_remove += ids
            raise

    def fail_waiting(self, classes: Iterable[JobClass] | None, text: str) -> None:
        """Give up on waiting jobs of these classes (None: of all) with a reason."""
        chosen = None if classes is None else set(classes)
        with self._lock:
            ids = {key: job_id for job_id, key in self._key_by_id.items()}
            self._unsent = [
                j for j in self._unsent if chosen is not None and j.job_class not in chosen
            ]
            for job in list(self._jobs.values()):
                waits = job.state in (JobState.PREPARED, JobState.WAITING)
                if waits and (chosen is None or job.job_class in chosen):
                    self._end(replace(job, state=JobState.REMOVED, text=text))
                    if job.key in ids:
                        self._to_remove.append(ids[job.key])

    def remove_all(self) -> None:
        """Take every job of this run out of the queue. Raises `Unanswered`."""
        with self._lock:
            self._unsent.clear()
            self._in_doubt.clear()
        self._access_point.remove(None, "osgpilot: the workflow ended")

    def remaining(self) -> int:
        """Return how many jobs of this run the access point still has. Raises `Unanswered`."""
        return len(self._access_point.find())

    def forget_removed(self) -> None:
        """Drop removed jobs that wait for a word from a pilot that is gone."""
        self._access_point.forget()

    def _send_one_kind(self, jobs: list[Job]) -> int:
        urls = {job.key: job.urls for job in jobs if job.urls}
        submission = Submission(tuple(job.key for job in jobs), jobs[0].request, urls)
        try:
            ids = self._access_point.submit(submission)
        except Unanswered:
            with self._lock:
                self._in_doubt += jobs
            raise
        except Refused as refusal:
            with self._lock:
                for job in jobs:
                    self._end(replace(job, state=JobState.REMOVED, text=str(refusal)))
            return 0
        self._learn(ids)
        return len(ids)

    def _settle_doubts(self) -> None:
        if not self._in_doubt:
            return
        found = self._access_point.find()
        with self._lock:
            self._unsent += [j for j in self._in_doubt if j.key not in found]
            known = {j.key for j in self._in_doubt}
            self._in_doubt = []
        self._learn({key: job_id for key, job_id in found.items() if key in known})

    def _learn(self, ids: dict[str, str]) -> None:
        with self._lock:
            for key, job_id in ids.items():
                self._key_by_id[job_id] = key
                job = self._jobs[key]
                if job.over:
                    self._to_remove.append(job_id)
                if job.state is JobState.PREPARED:
                    self._jobs[key] = replace(job, state=JobState.WAITING)
                for event in self._early.pop(job_id, ()):
                    self._apply(key, job_id, event)

    def _apply(self, key: str, job_id: str, event: Event) -> None:
        before = self._jobs[key]
        after = fold(before, event)
        self._jobs[key] = after
        if after.over and not before.over:
            self._end(after)
            if after.state is JobState.HELD:
                self._to_remove.append(job_id)

    def _end(self, job: Job) -> None:
        """Note the end of a job; it is told once, even if somebody releases a held job."""
        self._jobs[job.key] = job
        if job.key not in self._reported:
            self._reported.add(job.key)
            self._over[job.key] = job
