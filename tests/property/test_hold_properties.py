"""However holds and releases, a job's starts and what the schedd writes of them fall together: in
the end a job is held in our eyes exactly if it is held, and no hold of ours stays.
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
    st.sampled_from(["wake", "hold", "release", "start", "work off", "evict", "read", "let go"]),
    min_size=20,
    max_size=40,
)


class Schedd:
    """One job in a schedd as 25.14 treats it: what it is told changes the queue at once, and is
    worked off one by one later, when the job may have changed again. Only then is it written down,
    a hold if the job is still held, and for what it is held by then. A job that runs is stopped by
    its shadow, which takes its time.
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

    def work_off(self):
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
    told, schedd.log = schedd.log, []
    for job_id, event in told:
        tracker.apply(job_id, event)


def let_go(tracker, schedd):
    if ids := tracker.temporary_holds():
        tracker.temporary_holds_released(ids)
        schedd.release()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_what_is_held_is_known_when_all_has_been_written_down(steps):
    tracker, schedd = JobTracker(Shape(4, 3800)), Schedd()
    tracker.add([Job("a", "r", Request(JobClass(Shape(1, 500))))])
    tracker.take_unsent()
    tracker.submitted({"a": "1.0"})
    acts = {
        "wake": lambda: schedd.state is JobState.WAITING and schedd.hold(REMATCHING),
        "hold": lambda: schedd.hold(BY_USER),
        "release": schedd.release,
        "start": schedd.start,
        "work off": schedd.work_off,
        "evict": schedd.evict,
        "read": lambda: read(tracker, schedd),
        "let go": lambda: let_go(tracker, schedd),
    }
    for step in steps:
        acts[step]()
    while schedd.to_do or schedd.stopping or schedd.log or tracker.temporary_holds():
        for step in ("work off", "evict", "read", "let go"):
            acts[step]()
    job = tracker["a"]
    assert job.state is schedd.state
    assert (schedd.state, schedd.subcode) != (JobState.HELD, REMATCHING)
    assert not any(setback.subcode == REMATCHING for setback in job.failed_attempts)
    assert tracker.take_ended() == {}
