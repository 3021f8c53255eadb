"""Whatever happens to bundles and in whatever order, each job ends exactly once."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from doubles import FakeAccessPoint  # isort: skip
from queued import job  # isort: skip

from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.bundles import Bundles, MemberEnd
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job_ids import htcondor_id, htcondor_ids
from snakemake_executor_plugin_osgpilot.model.resources import Shape

JOBS = 40
KINDS = (
    EventKind.EXECUTE, EventKind.EVICTED, EventKind.NOT_STARTED, EventKind.TERMINATED,
    EventKind.HELD, EventKind.DISCONNECTED, EventKind.RECONNECTED, EventKind.USAGE,
)  # fmt: skip


class Pool(FakeAccessPoint):
    """Jobs of HTCondor, single ones and bundles, until they end or are removed."""

    def __init__(self):
        super().__init__()
        self.bundles = Bundles()
        self.live: dict[str, tuple[str, ...]] = {}
        self.sizes: list[int] = []

    def submit(self, submission):
        ids = super().submit(submission)
        cluster = len(self.submissions)
        if submission.bundles:
            ids = {}
        for n, keys in enumerate(submission.bundles or [(key,) for key in submission.keys]):
            assert not set(keys) & {key for own in self.live.values() for key in own}, "twice"
            self.live[f"{cluster}.{n}"] = keys
            self.sizes.append(len(keys))
            if submission.bundles:
                ids |= self.bundles.add(f"{cluster}.{n}", keys)
        return ids

    def remove(self, job_ids, reason):
        for job_id in htcondor_ids(job_ids):
            self.live.pop(job_id, None)

    def force_remove(self, job_ids):
        """It was removed before."""

    def happens(self, job_id, kind, at_s, ends, **more):
        if kind is EventKind.TERMINATED:
            del self.live[job_id]
        event = Event(kind, at_s, exit_status=0, **more)
        self.unread += self.bundles.expand(job_id, event, lambda keys: ends(len(keys)))


@settings(max_examples=60)
@given(st.data())
def test_each_job_ends_once(data):
    pool = Pool()
    queue = JobManager(pool, Shape(4, 3800))
    queue.set_shapes([Shape(2, 3800)])
    queue.add(replace(job(f"{n:06}"), bundle_s=60.0) for n in range(JOBS))
    over: Counter[str] = Counter()
    at_s = 1000.0

    def step(at_s):
        queue.send()
        queue.follow()
        queue.repair(at_s)
        over.update(queue.over().keys())

    def some(number):
        return [
            MemberEnd(0, n, n + 0.5) if data.draw(st.booleans()) else None for n in range(number)
        ]

    for _ in range(data.draw(st.integers(0, 25))):
        step(at_s)
        at_s += data.draw(st.sampled_from([0.1, 1.0, 30.0]))
        if not pool.live:
            continue
        which = data.draw(st.sampled_from(sorted(pool.live)))
        kind = data.draw(st.sampled_from(KINDS))
        code = data.draw(st.sampled_from([0, 1, 13, 34, 1004]))
        pilot = data.draw(st.sampled_from(["p1", "p2"]))
        pool.happens(which, kind, at_s, some, code=code, pilot=pilot)
        if data.draw(st.integers(0, 9)) == 0:
            queue.pilot_ended(pilot, at_s, vanished=True)
    for _ in range(200):
        at_s += 700.0
        step(at_s)
        for job_id in list(pool.live):
            for kind in (EventKind.RELEASED, EventKind.EXECUTE, EventKind.TERMINATED):
                pool.happens(job_id, kind, at_s, lambda n: [MemberEnd(0, 0.0, 0.5)] * n, pilot="p3")
        if len(over) == JOBS and not pool.live:
            break
    assert over == Counter(f"{n:06}" for n in range(JOBS))
    assert {htcondor_id(each.job_id) for each in queue.jobs(over)} - {""}
