"""For any events in any order, the sums are right and each end is reported once."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.rule_sums import RuleSums
from snakemake_executor_plugin_osgpilot.jobs.state.table import QUEUED
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

CLASSES = [JobClass(Shape(cores, 500 * cores)) for cores in (1, 2)]
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    at_s=st.integers(0, 10_000).map(float),
    pilot=st.sampled_from(["", "p1", "p2"]),
    exit_status=st.sampled_from([0, 1]),
    code=st.sampled_from([0, 1, 13, 14, 34, 1004]),
    subcode=st.sampled_from([0, 102, REMATCHING]),
)
WHICH = st.integers(0, 9)
PILOTS = st.sampled_from(["p1", "p2"])
TIMES = st.integers(0, 20_000).map(float)


def recount(jobs):
    """Return the sums over `jobs`, counted one by one."""
    waiting, running, rules = Counter(), {}, {}
    for job in jobs:
        sums = rules.setdefault(job.rule, RuleSums())
        good = job.state is JobState.ENDED and job.exit_status == 0
        sums.jobs += 1
        sums.cores += job.job_class.shape.cores
        sums.done += good
        sums.failed += job.state in (JobState.ENDED, JobState.REMOVED) and not good
        sums.past_core_s += job.busy_s * job.job_class.shape.cores
        if job.state in (JobState.PREPARED, JobState.WAITING):
            waiting[job.job_class] += 1
        if job.state is JobState.RUNNING:
            running[job.key] = job
            sums.running_cores += job.job_class.shape.cores
            sums.running_since_core_s += job.started_s * job.job_class.shape.cores
    return waiting, running, rules


class AnyEvents(RuleBasedStateMachine):
    """An access point that answers or not, and a log with any events."""

    def __init__(self):
        super().__init__()
        self.tracker = JobTracker(Shape(4, 3800))
        self.clusters = 0
        self.queued = {}  # as the access point sees it: key by job id
        self.reported = Counter()
        self.again = Counter()

    @rule(classes=st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3))
    def add(self, classes):
        first = len(list(self.tracker._table))
        self.tracker.add(
            Job(str(first + n), f"r{n % 2}", Request(job_class))
            for n, job_class in enumerate(classes)
        )

    @rule()
    def send(self):
        self.send_unreliably(arrives=True, answered=True)

    @rule(arrives=st.booleans(), answered=st.booleans())
    def send_unreliably(self, arrives, answered):
        for _, jobs in self.tracker.take_unsent():
            keys = [key for own in jobs for key in own]
            self.clusters += 1
            ids = {key: f"{self.clusters}.{n}" for n, key in enumerate(keys)}
            assert not set(keys) & set(self.queued.values()), "a twin"
            if arrives:
                self.queued |= {job_id: key for key, job_id in ids.items()}
            self.tracker.begin_submission(keys)
            if arrives and answered:
                self.tracker.submitted(ids)

    @precondition(lambda self: self.tracker.in_doubt)
    @rule()
    def settle(self):
        self.tracker.settle({key: job_id for job_id, key in self.queued.items()})

    @precondition(lambda self: self.queued)
    @rule(which=WHICH, pilot=PILOTS, at_s=TIMES)
    def apply_start(self, which, pilot, at_s):
        self.apply(which, Event(EventKind.EXECUTE, at_s, pilot=pilot))

    @precondition(lambda self: self.queued)
    @rule(which=WHICH, at_s=TIMES, exit_status=st.sampled_from([0, 1]))
    def apply_end(self, which, at_s, exit_status):
        self.apply(which, Event(EventKind.TERMINATED, at_s, exit_status=exit_status))

    @precondition(lambda self: self.queued)
    @rule(which=WHICH, event=EVENTS)
    def apply(self, which, event):
        job_id = sorted(self.queued)[which % len(self.queued)]
        if event.kind in (EventKind.TERMINATED, EventKind.ABORTED):
            del self.queued[job_id]
        self.tracker.apply(job_id, event)

    @rule(cluster=st.integers(0, 9), event=EVENTS)
    def apply_past_event(self, cluster, event):
        job_id = f"{cluster}.0"
        if cluster <= self.clusters and job_id not in self.queued:
            self.tracker.apply(job_id, event)

    @rule(pilot=PILOTS, at_s=TIMES, later_s=TIMES)
    def end_pilot(self, pilot, at_s, later_s):
        self.tracker.pilot_ended(pilot, at_s, vanished=False)
        self.tracker.requeue_lost(at_s + later_s)

    @rule(at_s=TIMES)
    def release(self, at_s):
        for shape, jobs in self.tracker.releases_due(at_s).items():
            self.tracker.releases_done(jobs, shape)

    @rule()
    def remove(self):
        for act, ids in (
            (self.tracker.removals_done, self.tracker.removals_due()),
            (self.tracker.withdrawals_done, self.tracker.withdrawals_due()),
        ):
            for job_id in ids:
                self.queued.pop(job_id, None)
            act(ids)

    @rule(classes=st.lists(st.sampled_from(CLASSES)))
    def fail_waiting(self, classes):
        self.tracker.fail_waiting(classes, "no pilots")

    @rule(complete=st.booleans())
    def collect(self, complete):
        for key, job in self.tracker.take_ended().items():
            assert key not in self.queued.values(), "reported while it is still in the queue"
            self.reported[key] += 1
            if not complete and job.exit_status == 0 and self.tracker.run_again(key, "half of it"):
                self.again[key] += 1

    @invariant()
    def sums_equal_a_recount(self):
        table = self.tracker._table
        waiting, running, rules = recount(table)
        assert table.waiting == waiting
        assert table.executing == running
        assert table.queued == Counter(j.request for j in table if j.state in QUEUED)
        for name, sums in rules.items():
            sums.allocations = table.rules[name].allocations
        assert table.rules == rules

    @invariant()
    def each_end_is_reported_once(self):
        for job in self.tracker._table:
            leaving = (
                self.tracker._removals.has_key(job.key)
                or self.tracker._withdrawals.has_key(job.key)
                or job.key in self.tracker._submit_queue.in_doubt
            )
            reported = (
                self.reported[job.key] - self.again[job.key] + (job.key in self.tracker._ended)
            )
            assert reported == (job.over and not leaving), job


AnyEvents.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
test_tracker_is_consistent_for_any_events = AnyEvents.TestCase
