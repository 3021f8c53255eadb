"""Track all jobs of a run: apply events and answers of the access point, decide what is due."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace

from ...common.counting import count_of
from ...model import memory_balance as balance
from ...model.resources import UNBOUNDED, JobClass, Shape
from ...model.runtime_by_size import RuntimesBySize
from . import hold_policy
from .avoidance import Place, kept_off
from .black_holes import black_holes
from .bundles import interrupts
from .bundling import Bundler
from .departures import Departures
from .events import IMAGE_NOT_STARTED, Event, EventKind, ImageSent
from .job import Job, JobState, apply_event
from .job_ids import htcondor_id
from .job_starts import JobStarts
from .lost_pilots import CutOff, LostPilots
from .pilot_failures import PilotStartFailures
from .priorities import JobPriorities
from .recovery import Past
from .release_schedule import ReleaseSchedule
from .rule_sums import RuleSums
from .shared_transfers import SharedTransfers
from .submission import Batch, SubmitQueue
from .table import QUEUED, JobTable
from .view import View


class JobTracker:
    """The only way to the state of the jobs of a run.

    `take_ended` returns each job once, only after it has left the access point's queue. Methods
    named `…_due` return a change that the access point has to make, those named `…_done` record
    that it was made; until then it stays due.

    `largest` is the shape of the biggest pilot, `priorities` order the queue. `suspects` are pilots
    that ruin jobs, with the reason. `starts` decides if jobs may start, `bundler` which of them
    go in one bundle. Internally, `_removals` are failed jobs and `_withdrawals` jobs
    to resubmit, keys by job id, until the access point has removed them (without a key: of a
    previous session).
    `_rematching` are ids of jobs that are on a temporary hold, `_machines` pilots by HTCondor's
    name for them. `_keys_in` has the keys of the jobs in each bundle, and of the first one in each
    cluster, `_apart` those that left one.
    """

    def __init__(
        self, largest: Shape, runtimes: RuntimesBySize | None = None, *, all_now: bool = False
    ) -> None:
        self.largest = largest
        self.suspects: dict[str, str] = {}
        self._table = JobTable()
        runtimes = runtimes or RuntimesBySize()
        self.priorities = JobPriorities(self._table, largest, runtimes)
        self.bundler = Bundler(self._table, largest, runtimes, all_now=all_now)
        self._submit_queue = SubmitQueue(self._table, self.bundler, self.priorities)
        self._release_schedule = ReleaseSchedule(self._table)
        self._returning: dict[str, str] = {}
        self._lost_pilots = LostPilots()
        self._start_failures = PilotStartFailures()
        self.starts = JobStarts()
        self._ended: dict[str, Job] = {}
        self._notices: Counter[str] = Counter()
        self._removals = Departures()
        self._withdrawals = Departures()
        self._rematching: set[str] = set()
        self._key_by_id: dict[str, str] = {}
        self._early: defaultdict[str, list[Event]] = defaultdict(list)
        self._transfers = SharedTransfers()
        self._machines: dict[str, str] = {}
        self._keys_in: defaultdict[str, list[str]] = defaultdict(list)
        self._apart: set[str] = set()
        self._now_s = 0.0

    # --- read ---

    def __getitem__(self, key: str) -> Job:
        return self._table[key]

    def any_left(self) -> bool:
        """Return True if a job may still be in the access point's queue."""
        return bool(self.queued or self.in_doubt)

    @property
    def queued(self) -> int:
        """The number of jobs in the access point's queue, as far as known."""
        return self._table.count(*QUEUED) + len(self._removals) + len(self._withdrawals)

    @property
    def has_waiting(self) -> bool:
        """True if a job is idle or not yet submitted."""
        return bool(self._table.waiting)

    @property
    def has_ended(self) -> bool:
        """True if `take_ended` would return a job."""
        return bool(self._ended)

    @property
    def span_s(self) -> tuple[float, float] | None:
        """The times of the first and the last event of a job, None before the first one."""
        return self._table.span_s

    def counts(self) -> dict[str, int]:
        """Return the number of jobs by state, see `JobTable.counts`."""
        return self._table.counts()

    def rule_sums(self) -> dict[str, RuleSums]:
        """Return a copy of the sums over the jobs of each rule."""
        return deepcopy(dict(self._table.rules))

    def first_starts_s(self) -> dict[str, float]:
        """Return the time of the first job start on each pilot that ever started one."""
        return dict(self._table.served)

    def busy_pilots(self) -> set[str]:
        """Return the names of pilots that run a job."""
        return {job.pilot for job in self._table.executing.values()}

    def waiting_in(self, classes: Collection[JobClass]) -> list[Job]:
        """Return the waiting jobs of these classes."""
        if not self._table.waiting.keys() & set(classes):
            return []
        return [job for job in self._table if job.waits and job.job_class in classes]

    def unmatched_in(self, classes: Collection[JobClass]) -> list[Job]:
        """Return the waiting jobs of these classes that have no pilot yet."""
        matched = self._lost_pilots.matched
        return [job for job in self.waiting_in(classes) if job.job_id not in matched]

    def is_known(self, job_id: str) -> bool:
        """Return True if the job has or had this id at the access point."""
        return job_id in self._key_by_id

    def is_in(self, job_id: str, *states: JobState) -> bool:
        """Return True if the job has this id now and is in one of these states."""
        key = self._key_by_id.get(job_id)
        job = None if key is None else self._table[key]
        return job is not None and job.job_id == job_id and job.state in states

    def held_ids(self) -> set[str]:
        """Return the ids of held jobs."""
        return {job.job_id for job in self._table if job.state is JobState.HELD}

    def missing_ids(self, found: Collection[str]) -> list[str]:
        """Return the ids of jobs that have not ended and are not among those `found`."""
        return sorted({job.job_id for job in self._table if not job.over} - {"", *found})

    def view(self) -> View:
        """Return the input of scaling; each runtime is in one view only."""
        table = self._table
        runtimes_s, table.runtimes_s = table.runtimes_s, []
        return View(
            waiting=table.waiting.copy(),
            executing=tuple(table.executing.values()),
            served=dict(table.served),
            runtimes_s=runtimes_s,
            suspects=dict(self.suspects),
            starts_paused=self.starts.reason,
            ours=self._key_by_id,
            started=dict(table.started),
            rules={rule: replace(sums) for rule, sums in table.rules.items()},
            on_trial=self.starts.on_trial,
            held=self._release_schedule.to_come(),
            returning=len(self._returning),
        )

    def take_ended(self) -> dict[str, Job]:
        """Return the jobs that ended since the last call, by key."""
        ended, self._ended = self._ended, {}
        return ended

    def take_notices(self) -> list[str]:
        """Return the messages for the user since the last call, equal ones of jobs counted."""
        messages, self.starts.notices = self.starts.notices, []
        notices, self._notices = self._notices, Counter()
        return messages + [
            f"{count_of(count, 'job')} of rule {text}" for text, count in notices.items()
        ]

    def take_changes(self) -> list[Job]:
        """Return the jobs that changed state since the last call, each as of that change."""
        changes, self._table.changes = self._table.changes, []
        return changes

    # --- submit ---

    def add(self, jobs: Iterable[Job]) -> None:
        """Register new jobs."""
        listed = [self._table.put(job) for job in jobs]
        for job in listed if self._returning else ():
            self._returning.pop(job.identity, None)
        self._submit_queue.add(listed)

    def gave_up(self, keys: Iterable[str]) -> None:
        """Record that jobs failed and are not retried."""
        final = set(keys)
        self._returning = {i: key for i, key in self._returning.items() if key not in final}

    @property
    def unsent(self) -> int:
        """The number of jobs that are not submitted yet."""
        return len(self._submit_queue)

    @property
    def sendable(self) -> int:
        """The number of jobs to submit now if there is room: none while starts are suspended."""
        return 0 if self.starts.suspended else self._submit_queue.wanted(self._now_s)

    @property
    def in_doubt(self) -> bool:
        """True if the outcome of a submission is unknown."""
        return bool(self._submit_queue.in_doubt)

    def take_unsent(self, room: int = UNBOUNDED) -> list[Batch]:
        """Take the jobs off the list of unsent ones that are to be submitted now, up to `room`."""
        return self._submit_queue.take(room, self._now_s)

    def put_back(self, keys: Iterable[str]) -> None:
        """Return jobs that were taken and not tried to the list of unsent jobs."""
        self._submit_queue.add(job for key in keys if not (job := self._table[key]).over)

    def begin_submission(self, keys: Iterable[str]) -> list[Job]:
        """Return those of these jobs that are still to be submitted; their outcome is unknown until
        `submitted`, `not_sent` or `settle`.
        """
        return [self._table[key] for key in self._submit_queue.sending(keys)]

    def left_bundle(self, job: Job) -> bool:
        """Return True if a job was in a bundle, of which results may have come back since."""
        return job.key in self._apart

    @property
    def avoided_pilots(self) -> tuple[str, ...]:
        """The pilots that no job may start on."""
        return self._lost_pilots.avoid

    @property
    def apart(self) -> bool:
        """True if jobs that need much memory are spread over pilots, see `balance.apart`."""
        return self._submit_queue.apart

    def submitted(self, ids: Mapping[str, str]) -> None:
        """Record the ids of jobs in the queue, by key."""
        self._submit_queue.answered(ids)
        for key, job_id in ids.items():
            self._note_id(job_id, key)
            known = self._table[key]
            state = JobState.WAITING if known.state is JobState.PREPARED else known.state
            if known.over:
                self._removals.add(job_id, key)
            self._table.put(replace(known, job_id=job_id, state=state))
            for event in self._early.pop(job_id, ()):
                self.apply(job_id, event)

    def not_sent(self, keys: Collection[str], why: str = "") -> None:
        """Record that jobs were not accepted; with a reason, they fail."""
        self._submit_queue.answered(keys)
        for key in keys if why else ():
            self.fail(self._table[key], why)
        if not why:
            self._resend_or_report(keys)

    def settle(self, found: Mapping[str, str]) -> None:
        """Resolve unknown outcomes of submissions by the jobs `found` in the queue."""
        doubtful, self._submit_queue.in_doubt = self._submit_queue.in_doubt, {}
        self.submitted({key: found[key] for key in doubtful if key in found})
        self._resend_or_report(key for key in doubtful if key not in found)

    def submit_no_more(self) -> None:
        """Drop the list of jobs to submit."""
        self._submit_queue.clear()

    def kept_off(self, key: str) -> tuple[str, ...]:
        """Return the nodes or pilots that a job must not run on, since it failed there before."""
        failed_on = self._table.failed_on.get(self._table[key].identity)
        if not failed_on:
            return ()
        away = {*self._lost_pilots.over, *self._lost_pilots.avoid}
        live = (Place(*each) for each in self._table.nodes.items() if each[0] not in away)
        return kept_off(failed_on, live)

    # --- restore ---

    def remember(self, past: Past) -> None:
        """Count a job that ended in a previous session."""
        self._table.remember(past)
        for at_s in (past.started_s, past.ended_s):
            self._table.mark(at_s)

    def follow(self, jobs: Collection[Job]) -> None:
        """Register jobs that a previous session submitted."""
        if jobs:
            self.forget_settings()
        for job in jobs:
            self._note_id(self._table.put(job).job_id, job.key)

    def forget_settings(self) -> None:
        """Record that jobs in the queue may have any settings."""
        self._submit_queue.apart_there = None
        self.starts.forget_pause()

    def remove_orphans(self, job_ids: Iterable[str]) -> None:
        """Have jobs of a previous session removed that are of no use."""
        for job_id in job_ids:
            self._removals.add(job_id)
            self._break_up(job_id)

    def replay(self, job_id: str, event: Event) -> None:
        """Apply an event of a previous session, perhaps of a job that is not tracked any more."""
        self._table.mark(event.at_s)
        if event.kind is EventKind.EXECUTE and event.pilot:
            self._table.served.setdefault(event.pilot, event.at_s)
        if self.is_known(job_id):
            self.apply(job_id, event)

    def record_failure(self, identity: str, place: Place) -> None:
        """Record that an earlier attempt of a job failed at `place`."""
        self._table.failed_at(identity, place)

    def adopt(self, job: Job) -> None:
        """Complete a restored job with its request; if it has ended, have it reported again."""
        known = self._table[job.key]
        known = replace(
            known, request=job.request, urls=job.urls, shared=job.shared, outlook=job.outlook
        )
        known = self._table.put(known)
        if known.over and not self._removals.has_key(job.key):
            self._report_end(job.key)

    def replace_job(self, job: Job, old_key: str) -> None:
        """Register a new job to submit once the restored job `old_key` has left the queue."""
        old = self._table[old_key]
        if not old.job_id or old.over:
            if not old.over:
                self.fail(old, "it was replaced")
            self.add([job])
            return
        self._table.put(job)
        self._table.drop(old_key)
        self.priorities.forget(old_key)
        del self._key_by_id[old.job_id]
        self._release_schedule.drop(old_key)
        self._withdrawals.add(old.job_id, job.key)
        self._break_up(old.job_id)

    # --- events ---

    def apply(self, job_id: str, event: Event) -> None:
        """Apply one event of the log, which may arrive before the answer to a submission."""
        key = self._key_by_id.get(job_id)
        if key is None:
            if event.key and event.key not in self._table:
                # submitted by the previous session in its last moment, and counted as lost since
                self._removals.add(job_id)
                return
            self._early[job_id].append(event)
            return
        before = self._table[key]
        if before.over or before.job_id != job_id:
            return
        if hold_policy.is_temporary(event):
            self._rematching.add(job_id)
            return
        self._rematching.discard(job_id)
        if event.kind is EventKind.MATCHED:
            self._lost_pilots.matched[job_id] = event.pilot
        elif before.is_bundled and interrupts(event):
            self._record_start(job_id, event)
            self._table.mark(event.at_s)
            self._take_apart(before, event.at_s)
        else:
            self._change(before, job_id, event)

    def _change(self, before: Job, job_id: str, event: Event) -> None:
        """Apply an event that may change the state of a job."""
        key = before.key
        if event.kind is not EventKind.USAGE:
            self._lost_pilots.matched.pop(job_id, None)
        # if the pilot of the job is known, the end of that pilot counts instead
        unknown = event.kind is EventKind.DISCONNECTED and before.state is JobState.WAITING
        self._lost_pilots.set_disconnected(job_id, event.at_s if unknown else None)
        self._record_start(job_id, event)
        self._table.mark(event.at_s)
        job = self._table.put(apply_event(before, event))
        if job.over:
            self.priorities.ended(job)
            self._report_end(key)
        elif event.kind is EventKind.HELD:
            self._act_on_hold(job, event.at_s)
        elif len(job.failed_attempts) > len(before.failed_attempts):
            self._interrupted(job)

    def image_sent(self, job_id: str, at_s: float) -> None:
        """Record that a pilot has got what jobs share; `job_id` has their cluster."""
        self._transfers.add(job_id, at_s)

    def take_images_sent(self) -> list[ImageSent]:
        """Return the transfers of images and inputs that jobs share, since the last call."""
        return self._transfers.take(self._first_in)

    def _first_in(self, cluster: str) -> Job | None:
        keys = self._keys_in.get(cluster)
        return self._table[keys[0]] if keys else None

    def _record_start(self, job_id: str, event: Event) -> None:
        """Record whether a job started on its pilot or failed to."""
        key = self._key_by_id[job_id]
        if event.kind is EventKind.DISCONNECTED:
            job = self._table[key]
            known = job.pilot if job.state is JobState.RUNNING else ""
            pilot = known or self._machines.get(event.place, "")
            self._lost_pilots.cut_off[key] = CutOff(pilot, job_id, event.at_s)
        elif self._lost_pilots.cut_off:
            self._lost_pilots.cut_off.pop(key, None)
        if event.kind is EventKind.EXECUTE:
            if event.machine:
                self._machines[event.machine] = event.pilot
            self._start_failures.started(event.pilot)
            self.starts.started(job_id)
        if event.failed_start:
            self.starts.failed(job_id, event.at_s)
        if event.failed_there and (pilot := self._machines.get(event.place, "")):
            self._start_failures.failed(pilot, event.at_s)

    def add_machines(self, machines: Mapping[str, str]) -> None:
        """Record pilots by HTCondor's name for them."""
        self._machines |= machines

    def find_black_holes(self) -> None:
        """Keep jobs off pilots on which jobs fail that succeed elsewhere."""
        if self._table.judged:
            return
        self._table.judged = True
        found = black_holes(self._table.outcomes, self.suspects)
        self.suspects |= found
        self._lost_pilots.keep_off(found)

    # --- pilots ---

    def pilot_ended(self, pilot: str, at_s: float, *, vanished: bool) -> None:
        """Record the end of a pilot; one that `vanished` may still be in the collector."""
        self._lost_pilots.ended(pilot, at_s)
        if vanished:
            self._lost_pilots.vanished(pilot)

    def avoid_pilots(self, pilots: Iterable[str]) -> None:
        """Let no more jobs start on these pilots."""
        self._lost_pilots.keep_off(pilots)

    def limit_starts(self, now_s: float) -> None:
        """Rest pilots on which starts fail; start trial jobs while starts are suspended."""
        self._now_s = now_s
        lost, failures = self._lost_pilots, self._start_failures
        lost.rest(failures.resting(now_s))
        if bad := {p: why for p, why in failures.bad().items() if p not in self.suspects}:
            self.suspects |= bad
            lost.keep_off(bad)
        there = (JobState.WAITING, JobState.RUNNING)
        lost.cut_off = {k: each for k, each in lost.cut_off.items() if self.is_in(each[1], *there)}
        self.starts.update(now_s, filter(self._is_waiting, self._key_by_id), self._is_waiting)

    def _is_waiting(self, job_id: str) -> bool:
        return self.is_in(job_id, JobState.WAITING)

    def requeue_lost(self, now_s: float) -> None:
        """Resubmit jobs whose pilot ended a while ago and that have had no event since."""
        due = self._lost_pilots.take_due(now_s)
        for job in [job for job in self._table.executing.values() if job.pilot in due]:
            self._lost_pilots.vanished(job.pilot)
            self._requeue(job, due[job.pilot])
        for job_id, pilot in self._lost_pilots.take_matched(due):
            self._lost_pilots.vanished(pilot)
            self._requeue_waiting(job_id, now_s)
        for job_id in self._lost_pilots.take_disconnected(now_s):
            self._requeue_waiting(job_id, now_s)

    def cut_off_since_s(self) -> float | None:
        """Return when the first of the jobs lost touch with a pilot that may be alive."""
        return min((each.at_s for each in self._lost_pilots.cut_off.values()), default=None)

    def requeue_cut_off(
        self, occupied: Mapping[str, tuple[float, frozenset[str]]], now_s: float
    ) -> None:
        """Resubmit jobs that lost touch with a pilot which is alive and no longer has them."""
        for key in self._lost_pilots.take_starterless(occupied):
            self._requeue(self._table[key], now_s)

    # --- changes due at the access point ---

    def apart_due(self) -> bool | None:
        """Return how jobs in the queue are to be spread (see `apart`), None if they are.

        Jobs submitted from now on are spread likewise.
        """
        queue = self._submit_queue
        queue.apart = balance.apart(self._table.waiting, self.largest, before=queue.apart)
        return queue.apart if queue.apart is not queue.apart_there else None

    def apart_done(self, apart: bool) -> None:
        """Record how jobs in the queue are spread."""
        self._submit_queue.apart_there = apart

    def priorities_due(self) -> dict[int, list[str]]:
        """Return the ids of jobs in the queue by the priority to give them, if it is another."""
        return self.priorities.due()

    def priorities_done(self, value: int, job_ids: Iterable[str]) -> None:
        """Record that jobs in the queue have this priority."""
        self.priorities.done(value, [self._key_by_id[i] for i in job_ids if i in self._key_by_id])

    def take_avoidance_due(self) -> tuple[str, ...] | None:
        """Return all pilots that jobs in the queue have to avoid, None if they already do.

        A pilot that vanishes while the access point is asked makes it due again.
        """
        due, self._lost_pilots.outdated = self._lost_pilots.outdated, False
        return self._lost_pilots.avoid if due else None

    def avoidance_failed(self) -> None:
        """Make the change that `take_avoidance_due` returned due again."""
        self._lost_pilots.outdated = True

    def removals_due(self) -> tuple[str, ...]:
        """Return the ids of jobs to remove for good."""
        return tuple(self._removals)

    def removals_done(self, job_ids: Iterable[str]) -> None:
        """Record that failed jobs have left the queue."""
        for job_id in job_ids:
            if key := self._removals.pop(job_id):
                self._report_end(key)

    def withdrawals_due(self) -> tuple[str, ...]:
        """Return the ids of jobs to remove before they are resubmitted."""
        return tuple(self._withdrawals)

    def withdrawals_done(self, job_ids: Iterable[str]) -> None:
        """Record that jobs to resubmit have left the queue."""
        self._resend_or_report(self._withdrawals.pop(job_id) for job_id in job_ids)

    def releases_due(self, now_s: float) -> dict[Shape | None, list[Job]]:
        """Return the held jobs to release, by the shape to request from now on (None: as is)."""
        return self._release_schedule.due(now_s)

    def releases_done(self, jobs: Iterable[Job], shape: Shape | None) -> None:
        """Record that jobs were released with `shape`."""
        self._release_schedule.done(jobs, shape)

    def temporary_holds(self) -> tuple[str, ...]:
        """Return the ids of jobs on a temporary hold whose release is not confirmed."""
        return tuple(self._rematching)

    def temporary_holds_released(self, job_ids: Iterable[str]) -> None:
        """Record that these jobs are not held any more."""
        self._rematching.difference_update(job_ids)

    # --- outcomes ---

    def resubmit_stuck(self, job: Job) -> None:
        """Resubmit a job that is never matched, with an image of its own."""
        alone = replace(job.request, common=False)
        self._resubmit(replace(job, request=alone))

    def _resubmit(self, job: Job) -> None:
        """Take a job out of the queue and submit it again; that is no failed attempt by itself."""
        self._table.put(job.prepared())
        self._withdrawals.add(job.job_id, job.key)
        self._break_up(job.job_id)

    def run_again(self, key: str, why: str) -> bool:
        """Resubmit a job that ended without result; return False once the retry limit is reached.

        No retry of Snakemake is used up.
        """
        ended = self._table[key]
        self._table.failed_there(ended)
        job = ended.prepared_again(why)
        if hold_policy.exhausted(job) or hold_policy.fills_disks(ended, why):
            return False
        self.add([job])
        self.notify(job, f"{why} {job.failed_attempts[-1].place}; running it again")
        return True

    def mark_incomplete(self, key: str) -> None:
        """Count a job that ended as failed: its outputs could not be used."""
        job = self._table.put(replace(self._table[key], incomplete=True))
        self._returning[job.identity] = key

    def fail_waiting(self, classes: Iterable[JobClass], text: str) -> None:
        """Fail waiting jobs of these classes with a reason."""
        for job in self.waiting_in(set(classes)):
            self.fail(job, text)

    def fail(self, job: Job, why: str) -> None:
        """End a job with an error, to be reported once it is certain that it has left the queue.

        Otherwise Snakemake could start it again while it is still there.
        """
        self._table.put(replace(job, state=JobState.REMOVED, text=why))
        self.priorities.forget(job.key)
        self._submit_queue.has_failed |= not job.job_id
        if job.job_id:
            self._removals.add(job.job_id, job.key)
            self._break_up(job.job_id)
        elif job.key not in self._submit_queue.in_doubt and not self._withdrawals.has_key(job.key):
            self._report_end(job.key)

    def notify(self, job: Job, text: str) -> None:
        """Add a message for the user about a job; equal ones are counted."""
        self._notices[f"{job.rule}: {text}"] += 1

    def _act_on_hold(self, job: Job, at_s: float) -> None:
        action = hold_policy.decide(job, self.largest)
        match action:
            case hold_policy.Fail(why):
                self.fail(job, why)
            case hold_policy.Release(after_s):
                self._release_schedule.plan(job.key, at_s + after_s)
            case hold_policy.Resize(shape):
                self._release_schedule.plan(job.key, at_s, shape)
        if action.why and not isinstance(action, hold_policy.Fail):
            self.notify(job, action.why)

    def _interrupted(self, job: Job) -> None:
        last = job.failed_attempts[-1]
        no_image = last.code == IMAGE_NOT_STARTED
        if no_image:
            self._table.failed_there(job)
            self.notify(job, f"its container image did not start {last.place}: {last.text}")
        else:
            self.notify(job, f"was interrupted {last.place}; HTCondor runs it again")
        if failure := hold_policy.exhausted(job):
            self.fail(job, failure.why)
        elif no_image and self.kept_off(job.key):
            # HTCondor would start it again on the same node
            self._resubmit(job)

    def _note_id(self, job_id: str, key: str) -> None:
        self._key_by_id[job_id] = key
        bundle = htcondor_id(job_id)
        if bundle != job_id:
            self._keys_in[bundle].append(key)
        self._keys_in.setdefault(job_id.partition(".")[0], [key])

    def _break_up(self, job_id: str) -> None:
        """Take the other jobs out of the bundle that a job leaves."""
        bundle = htcondor_id(job_id)
        if bundle == job_id:
            return
        for key in self._keys_in.get(bundle, ()):
            job = self._table.get(key)
            if job and not job.over and htcondor_id(job.job_id) == bundle != job.job_id:
                self._take_apart(job, self._now_s)

    def _take_apart(self, job: Job, at_s: float) -> None:
        """Resubmit a member of a bundle alone; no attempt of it failed."""
        self._lost_pilots.matched.pop(job.job_id, None)
        stopped = job.stopped(at_s) if job.state is JobState.RUNNING else job
        self._table.put(stopped.prepared())
        self._apart.add(job.key)
        self._withdrawals.add(job.job_id, job.key)
        self.notify(job, "did not end in their bundle; they run one by one")

    def _requeue_waiting(self, job_id: str, at_s: float) -> None:
        # it may have left the run, or have another id, since this one was noted
        if self.is_in(job_id, JobState.WAITING):
            self._requeue(self._table[self._key_by_id[job_id]], at_s)

    def _requeue(self, job: Job, at_s: float) -> None:
        stopped = job.stopped(at_s) if job.state is JobState.RUNNING else job
        again = stopped.prepared_again("the pilot was lost")
        if failure := hold_policy.exhausted(again):
            self.fail(replace(again, job_id=job.job_id), failure.why)
            return
        self._table.put(again)
        self._withdrawals.add(job.job_id, job.key)
        self._break_up(job.job_id)
        self.notify(job, f"was lost {again.failed_attempts[-1].place}; running it again")

    def _resend_or_report(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self._table[key].over:
                self._report_end(key)
            else:
                self._submit_queue.add([self._table[key]])

    def _report_end(self, key: str) -> None:
        job = self._ended[key] = self._table[key]
        if not job.succeeded:
            self._returning[job.identity] = key
