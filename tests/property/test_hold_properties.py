"""For any interleaving of holds, releases, starts and their log entries, a job is tracked as held
exactly if it is held in the end, and no temporary hold remains.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

BY_USER = 0
STEPS = st.lists(
    st.sampled_from(
        ["rematch", "hold", "release", "start", "process", "evict", "read", "release held"]
    ),
    min_size=20,
    max_size=40,
)


class Schedd:
    """One job in a schedd of version 25.14: requests change the queue at once and are processed one
    by one later, when the job may have changed again. Only then are they logged, a hold only if the
    job is still held, with its reason by then. A running job is stopped by its shadow, with delay.
    """

    def __init__(self):
        self.state, self.subcode = JobState.WAITING, BY_USER
        self.to_do, self.log = [], []
        self.shadow = self.stopping = False

    def hold(self, subcode):
        if self.state in (JobState.WAITING, JobState.RUNNING):
            self.state, self.subcode = JobState.HELD, subcode
            self.to_do.append(EventKind.HELD)

    def release(self):
        if self.state is JobState.HELD:
            self.state = JobState.WAITING
            self.to_do.append(EventKind.RELEASED)

    def start(self):
        if self.state is JobState.WAITING and not self.shadow:
            self.state, self.shadow = JobState.RUNNING, True
            self.write(EventKind.EXECUTE, pilot="p")

    def process(self):
        if not self.to_do:
            return
        kind = self.to_do.pop(0)
        if kind is EventKind.RELEASED:
            self.write(kind)
        elif self.shadow:
            self.stopping = True
        elif self.state is JobState.HELD:
            self.write(kind, code=1, subcode=self.subcode)

    def evict(self):
        if not self.stopping:
            return
        self.shadow = self.stopping = False
        self.write(EventKind.EVICTED, code=1)
        if self.state is JobState.HELD:
            self.write(EventKind.HELD, code=1, subcode=self.subcode)
        else:
            self.state = JobState.WAITING

    def write(self, kind, **more):
        self.log.append(("1.0", Event(kind, 100.0, **more)))


def read(tracker, schedd):
    events, schedd.log = schedd.log, []
    for job_id, event in events:
        tracker.apply(job_id, event)


def release_held(tracker, schedd):
    if ids := tracker.temporary_holds():
        tracker.temporary_holds_released(ids)
        schedd.release()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_tracked_hold_state_matches_the_schedd(steps):
    tracker, schedd = JobTracker(Shape(4, 3800)), Schedd()
    tracker.add([Job("a", "r", Request(JobClass(Shape(1, 500))))])
    tracker.take_unsent()
    tracker.submitted({"a": "1.0"})
    acts = {
        "rematch": lambda: schedd.state is JobState.WAITING and schedd.hold(REMATCHING),
        "hold": lambda: schedd.hold(BY_USER),
        "release": schedd.release,
        "start": schedd.start,
        "process": schedd.process,
        "evict": schedd.evict,
        "read": lambda: read(tracker, schedd),
        "release held": lambda: release_held(tracker, schedd),
    }
    for step in steps:
        acts[step]()
    while schedd.to_do or schedd.stopping or schedd.log or tracker.temporary_holds():
        for step in ("process", "evict", "read", "release held"):
            acts[step]()
    job = tracker["a"]
    assert job.state is schedd.state
    assert (schedd.state, schedd.subcode) != (JobState.HELD, REMATCHING)
    assert not any(attempt.subcode == REMATCHING for attempt in job.failed_attempts)
    assert tracker.take_ended() == {}
