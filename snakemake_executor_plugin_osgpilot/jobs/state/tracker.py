"""What is known of the jobs of a run, and what is to be said about them (`queue` says it)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from snakemake_executor_plugin_osgpilot.jobs.state import hold_policy as holds
from snakemake_executor_plugin_osgpilot.jobs.state.avoidance import Place, kept_off
from snakemake_executor_plugin_osgpilot.jobs.state.black_holes import black_holes
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState, apply_event
from snakemake_executor_plugin_osgpilot.jobs.state.lost_pilots import CutOff, LostPilots
from snakemake_executor_plugin_osgpilot.jobs.state.outbox import SubmitQueue
from snakemake_executor_plugin_osgpilot.jobs.state.pilot_failures import PilotStartFailures
from snakemake_executor_plugin_osgpilot.jobs.state.release_schedule import Releases
from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import StartFailureLimiter
from snakemake_executor_plugin_osgpilot.jobs.state.table import QUEUED, JobTable
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape


class JobTracker:
    """Every job ends in `over` once, and only when it has left the access point's queue.

    `largest` is what the biggest pilot offers. `removals` are jobs that were given up,
    `withdrawals` ones to be submitted anew: keys by job id, until the access point has answered
    (no key: left from an earlier life). `waking` are ids of jobs that we hold and that wait still,
    `suspects` the pilots that ruin jobs, with the reason, `machines` pilots by HTCondor's name for
    them. `trial` are ids of jobs that are let start although the brake is on; `untried` says that
    this is to be told, `pause_again` that one of them is not to start any more.
    """

    def __init__(self, largest: Shape) -> None:
        self.largest = largest
        self.ledger = JobTable()
        self.over: dict[str, Job] = {}
        self.notices: Counter[str] = Counter()
        self.outbox = SubmitQueue(self.ledger)
        self.removals: dict[str, str] = {}
        self.withdrawals: dict[str, str] = {}
        self.releases = Releases(self.ledger)
        self.waking: set[str] = set()
        self.key_by_id: dict[str, str] = {}
        self._early: defaultdict[str, list[Event]] = defaultdict(list)
        self.lost = LostPilots()
        self.suspects: dict[str, str] = {}
        self.starts = PilotStartFailures()
        self.machines: dict[str, str] = {}
        self.trial: set[str] = set()
        self.untried = self.pause_again = False
        self.brake = StartFailureLimiter()

    def add(self, jobs: Iterable[Job]) -> None:
        """Take new jobs in."""
        self.outbox.unsent += [self.ledger.put(job).key for job in jobs]

    def any_left(self) -> bool:
        """Whether the access point's queue may have a job of ours."""
        return bool(self.queued or self.outbox.in_doubt)

    @property
    def queued(self) -> int:
        """How many jobs of ours the access point has, for all we know."""
        return self.ledger.count(*QUEUED) + len(self.removals) + len(self.withdrawals)

    def not_sent(self, keys: Collection[str], why: str = "") -> None:
        """Take in that jobs were not taken, for good if there is a reason."""
        self.outbox.answered(keys)
        for key in keys if why else ():
            self.give_up(self.ledger[key], why)
        if not why:
            self._send_or_tell(keys)

    def learn(self, ids: Mapping[str, str]) -> None:
        """Take in that jobs (by key) are in the queue, under which id."""
        self.outbox.answered(ids)
        for key, job_id in ids.items():
            self.key_by_id[job_id] = key
            job = replace(self.ledger[key], job_id=job_id)
            if job.over:
                self.removals[job_id] = key
            elif job.state is JobState.PREPARED:
                job = replace(job, state=JobState.WAITING)
            self.ledger.put(job)
            for event in self._early.pop(job_id, ()):
                self.apply(job_id, event)

    def settle(self, found: Mapping[str, str]) -> None:
        """End the doubt about submissions without an answer: what is in the queue was `found`."""
        doubtful, self.outbox.in_doubt = self.outbox.in_doubt, []
        self.learn({key: found[key] for key in doubtful if key in found})
        self._send_or_tell(key for key in doubtful if key not in found)

    def apply(self, job_id: str, event: Event) -> None:
        """Take in one event of the log, which can be quicker than the answer to a submission."""
        key = self.key_by_id.get(job_id)
        if key is None:
            if event.key and event.key not in self.ledger:
                # submitted by an earlier life in its last moment, and counted as lost since
                self.removals[job_id] = ""
                return
            self._early[job_id].append(event)
            return
        before = self.ledger[key]
        if before.over or before.job_id != job_id:
            return
        if holds.is_ours(event):
            self.waking.add(job_id)
            return
        self.waking.discard(job_id)
        if event.kind is EventKind.MATCHED:
            self.lost.matched[job_id] = event.pilot
            return
        if event.kind is not EventKind.USAGE:
            self.lost.matched.pop(job_id, None)
        # with a pilot that is known, its end tells
        adrift = event.kind is EventKind.ADRIFT and before.state is JobState.WAITING
        self.lost.drifts(job_id, event.at_s if adrift else None)
        self._note_start(job_id, event)
        self.ledger.mark(event.at_s)
        job = self.ledger.put(apply_event(before, event))
        if job.over:
            self.tell(key)
        elif event.kind is EventKind.HELD:
            self._judge(job, event.at_s)
        elif len(job.failed_attempts) > len(before.failed_attempts):
            self._interrupted(job)

    def _note_start(self, job_id: str, event: Event) -> None:
        """Take in what an event tells of its pilot: did the job come to run there?"""
        key = self.key_by_id[job_id]
        if event.kind is EventKind.ADRIFT:
            job = self.ledger[key]
            known = job.pilot if job.state is JobState.RUNNING else ""
            pilot = known or self.machines.get(event.place, "")
            self.lost.cut_off[key] = CutOff(pilot, job_id, event.at_s)
        elif self.lost.cut_off:
            self.lost.cut_off.pop(key, None)
        if event.kind is EventKind.EXECUTE:
            if event.machine:
                self.machines[event.machine] = event.pilot
            self.starts.ran(event.pilot)
            if job_id in self.trial:
                self.trial.discard(job_id)
                self.brake = self.brake if self.trial else self.brake.came_to_run()
        if event.failed_start:
            self.brake = self.brake.struck(event.at_s)
            self.pause_again |= job_id in self.trial
            self.trial.discard(job_id)
        if event.failed_there and (struck := self.machines.get(event.place)):
            self.starts.failed(struck, event.at_s)

    def tend(self, now_s: float) -> None:
        """Let pilots rest on which starts fail; try some jobs when nothing is started for long."""
        self.lost.rest(self.starts.resting(now_s))
        if bad := {p: why for p, why in self.starts.bad().items() if p not in self.suspects}:
            self.suspects |= bad
            self.lost.keep_off(bad)
        cut_off = self.lost.cut_off.items()
        there = (JobState.WAITING, JobState.RUNNING)
        self.lost.cut_off = {key: each for key, each in cut_off if self._is(each.job_id, *there)}
        self.brake = self.brake.at(now_s)
        self.trial = {i for i in self.trial if self.brake.on and self._is(i, JobState.WAITING)}
        if not self.trial and (number := self.brake.may_try(now_s)):
            waiting = (i for i in self.key_by_id if self._is(i, JobState.WAITING))
            self.trial = set(islice(waiting, number))
            self.untried = bool(self.trial)

    def _is(self, job_id: str, *states: JobState) -> bool:
        """Whether a job is in one of these states, under this id."""
        key = self.key_by_id.get(job_id)
        job = None if key is None else self.ledger[key]
        return job is not None and job.job_id == job_id and job.state in states

    def judge_pilots(self) -> None:
        """Keep jobs off pilots on which those fail that do well elsewhere, from now on."""
        if self.ledger.judged:
            return
        self.ledger.judged = True
        found = black_holes(self.ledger.outcomes, self.suspects)
        self.suspects |= found
        self.lost.keep_off(found)

    def kept_off(self, key: str) -> tuple[str, ...]:
        """Return the nodes or pilots that a job is not to run on, since it failed there before."""
        failed_on = self.ledger.failed_on.get(self.ledger[key].identity)
        if not failed_on:
            return ()
        away = {*self.lost.over, *self.lost.avoid}
        live = (Place(*each) for each in self.ledger.nodes.items() if each[0] not in away)
        return kept_off(failed_on, live)

    def run_again(self, key: str, why: str) -> bool:
        """Have a job submitted anew that ended for nothing; False if it has had its turns."""
        ended = self.ledger[key]
        self.ledger.failed_there(ended)
        job = ended.prepared_again(why)
        if holds.interrupted(job) or holds.fills_disks(ended, why):
            return False
        self.ledger.put(job)
        self.outbox.unsent.append(key)
        self._note(job, f"{why} {job.failed_attempts[-1].place}; running it again")
        return True

    def fail_waiting(self, classes: Iterable[JobClass], text: str) -> None:
        """Give up on waiting jobs of these classes with a reason."""
        if chosen := set(classes) & set(self.ledger.waiting):
            for job in [j for j in self.ledger if j.waits and j.job_class in chosen]:
                self.give_up(job, text)

    def give_up(self, job: Job, why: str) -> None:
        """End a job with an error; it is told when it is certain that it has left the queue.

        Otherwise Snakemake could start it again while it is still there.
        """
        self.ledger.put(replace(job, state=JobState.REMOVED, text=why))
        if job.job_id:
            self.removals[job.job_id] = job.key
        elif job.key not in self.outbox.in_doubt and job.key not in self.withdrawals.values():
            self.tell(job.key)

    def removed(self, job_ids: Iterable[str]) -> None:
        """Take in that jobs which were given up have been taken out of the queue."""
        for job_id in job_ids:
            if key := self.removals.pop(job_id):
                self.tell(key)

    def lose(self, now_s: float) -> None:
        """Prepare jobs anew whose pilot ended a while ago without a word about them."""
        due = self.lost.take_due(now_s)
        for job in [job for job in self.ledger.executing.values() if job.pilot in due]:
            self.lost.vanished(job.pilot)
            self._lose(job, due[job.pilot])
        for job_id, pilot in self.lost.take_matched(due):
            self.lost.vanished(pilot)
            self._lose_waiting(job_id, now_s)
        for job_id in self.lost.take_adrift(now_s):
            self._lose_waiting(job_id, now_s)

    def _lose_waiting(self, job_id: str, at_s: float) -> None:
        # it may have left the run, or have another id, since this one was noted
        if self._is(job_id, JobState.WAITING):
            self._lose(self.ledger[self.key_by_id[job_id]], at_s)

    def lose_cut_off(
        self, occupied: Mapping[str, tuple[float, frozenset[str]]], now_s: float
    ) -> None:
        """Prepare jobs anew that lost touch with a pilot which is there and has them no more."""
        for key in self.lost.take_starterless(occupied):
            self._lose(self.ledger[key], now_s)

    def withdrawn(self, job_ids: Iterable[str]) -> None:
        """Take in that jobs which are to be submitted anew have been taken out of the queue."""
        self._send_or_tell(self.withdrawals.pop(job_id) for job_id in job_ids)

    def _interrupted(self, job: Job) -> None:
        self._note(job, f"was interrupted {job.failed_attempts[-1].place}; HTCondor runs it again")
        if end := holds.interrupted(job):
            self.give_up(job, end.why)

    def _judge(self, job: Job, at_s: float) -> None:
        verdict = holds.judge(job, self.largest)
        match verdict:
            case holds.Fail(why):
                self.give_up(job, why)
            case holds.Release(after_s):
                self.releases.plan(job.key, at_s + after_s)
            case holds.Resize(shape):
                self.releases.plan(job.key, at_s, shape)
        if verdict.why and not isinstance(verdict, holds.Fail):
            self._note(job, verdict.why)

    def _lose(self, job: Job, at_s: float) -> None:
        stopped = job.stopped(at_s) if job.state is JobState.RUNNING else job
        again = stopped.prepared_again("the pilot was lost")
        if end := holds.interrupted(again):
            self.give_up(replace(again, job_id=job.job_id), end.why)
            return
        self.ledger.put(again)
        self.withdrawals[job.job_id] = job.key
        self._note(job, f"was lost {again.failed_attempts[-1].place}; running it again")

    def _send_or_tell(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self.ledger[key].over:
                self.tell(key)
            else:
                self.outbox.unsent.append(key)

    def tell(self, key: str) -> None:
        """Have a job told that is over."""
        self.over[key] = self.ledger[key]

    def _note(self, job: Job, text: str) -> None:
        self.notices[f"{job.rule}: {text}"] += 1
