"""After a kill between any two steps, no job is duplicated and none that ended is lost."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import (
    Adopt,
    Entry,
    Leftover,
    Replace,
    decide,
    leftover,
)
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape

CLASS = JobClass(Shape(1, 500))
NAMES = st.sampled_from("abc")


class ManySessions(RuleBasedStateMachine):
    """Journal, queue and log survive Snakemake, which hands over the jobs in `names`."""

    def __init__(self):
        super().__init__()
        self.journal = {}  # entries that are not over, by key
        self.queue = {}  # key → id
        self.log = []
        self.ended = {}  # name → digests with which it came to an end
        self.now = dict.fromkeys("abc", "d0")
        self.clusters, self.keys = 0, 0
        self.known = Leftover()
        self.followed = {}  # name → key, in this session
        self.reported = set()

    @rule(name=NAMES, reaches=st.booleans(), recorded=st.booleans())
    def hand_over(self, name, reaches, recorded):
        """Snakemake is killed after the journal, or after the submission, if not both are true."""
        if name in self.followed or name in self.reported:
            return
        entry = self.known.entries.get(name)
        ended = bool(entry) and entry.key not in self.queue
        verdict = decide(entry, self.now[name], complete=True, ended=ended)
        if isinstance(verdict, Adopt):
            self.followed[name] = verdict.key
            return
        if isinstance(verdict, Replace):
            self.remove(verdict.key)
        self.keys += 1
        key = f"{self.keys:06}"
        for old in [old for old, entry in self.journal.items() if entry.identity == name]:
            del self.journal[old]
        self.journal[key] = Entry(key, name, self.now[name], "r", CLASS)
        if reaches:
            self.clusters += 1
            job_id = f"{self.clusters}.0"
            self.queue[key] = job_id
            self.log.append((job_id, Event(EventKind.SUBMIT, 1.0, key=key)))
            if recorded:
                self.followed[name] = key
        if name not in self.followed:
            self.die_and_come_back()

    @precondition(lambda self: self.queue)
    @rule(which=st.integers(0, 9), kind=st.sampled_from([EventKind.TERMINATED, EventKind.ABORTED]))
    def leave(self, which, kind):
        key = sorted(self.queue)[which % len(self.queue)]
        self.log.append((self.queue.pop(key), Event(kind, 2.0, exit_status=0)))

    @rule(name=NAMES)
    def change(self, name):
        if name not in self.followed:
            self.now[name] = f"d{int(self.now[name][1:]) + 1}"

    @rule()
    def die_and_come_back(self):
        # Snakemake has done its bookkeeping for jobs that succeeded in this session, or it has not
        self.followed.clear()
        self.known = leftover(self.journal.values(), dict(self.queue), list(self.log))
        ids = {job_id: key for key, job_id in self.queue.items()}
        for job_id in self.known.orphans:
            self.remove(ids[job_id])

    @rule(name=NAMES)
    def hear_of_the_end(self, name):
        key = self.followed.get(name)
        if key and key not in self.queue:
            assert key in self.journal
            del self.journal[key]
            del self.followed[name]
            self.known = Leftover({n: e for n, e in self.known.entries.items() if n != name})

    def remove(self, key):
        if job_id := self.queue.pop(key, ""):
            self.log.append((job_id, Event(EventKind.ABORTED, 3.0)))

    @invariant()
    def no_job_is_in_the_queue_twice(self):
        names = [self.journal[key].identity for key in self.queue if key in self.journal]
        assert len(names) == len(set(names))
        assert set(self.queue) <= set(self.journal), "in the queue and not in the journal"

    @invariant()
    def what_ended_well_is_found_by_the_next_life(self):
        found = leftover(self.journal.values(), dict(self.queue), list(self.log)).entries
        ends = {job_id for job_id, event in self.log if event.kind is EventKind.TERMINATED}
        keys = {job_id: event.key for job_id, event in self.log if event.kind is EventKind.SUBMIT}
        kept = {entry.key for entry in found.values()}
        assert {keys[job_id] for job_id in ends if keys[job_id] in self.journal} <= kept


ManySessions.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_many_sessions = ManySessions.TestCase
