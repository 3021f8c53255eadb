"""Submit the jobs of a run in batches, follow its event log, report jobs that ended."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import replace

from ..model.resources import JobClass, Shape
from ..model.runtime_by_size import RuntimesBySize, Sample
from ..model.upcoming import UpcomingWork
from .access_point import AccessPoint, JobFolders, JobJournal
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
from .submitter import JobSubmitter, NoFolders, QueueQuota, Unshared


class JobManager:
    """The jobs of a run at the access point; decisions about them are in `state`.

    Snakemake's threads call `add`, `run_again` and `over`, the controller calls all else. The lock
    is never held during a request to the access point. With `all_now`, jobs do not wait here to be
    bundled when more is known of them. `runtimes` are those of earlier runs.
    """

    def __init__(
        self, access_point: AccessPoint, largest: Shape, queued_max: int = QUEUED_MAX,
        journal: JobJournal | None = None, share: QueueQuota | None = None,
        folders: JobFolders | None = None, *, all_now: bool = False,
        runtimes: RuntimesBySize | None = None,
    ) -> None:  # fmt: skip
        self._access_point = access_point
        self._lock = threading.Lock()
        self._tracker = JobTracker(largest, runtimes, all_now=all_now)
        self._throttle = SubmissionThrottle(queued_max)
        self._submitter = JobSubmitter(
            access_point, self._tracker, self._lock, self._throttle,
            journal, share or Unshared(), folders or NoFolders(),
        )  # fmt: skip
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
            if upcoming.after is not self.upcoming.after:
                self._tracker.bundler.expect(upcoming.after)
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

    def gave_up(self, keys: Iterable[str]) -> None:
        """Record that jobs failed and are not retried."""
        with self._lock:
            self._tracker.gave_up(keys)

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
        """Submit unsent jobs as far as there is room; return how many were submitted, see
        `JobSubmitter.run`.
        """
        return self._submitter.run()

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
        self._tracker.bundler.shapes = tuple(shapes)

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
