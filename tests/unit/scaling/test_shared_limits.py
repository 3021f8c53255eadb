"""Limits are those of the workflow, however many runs it has."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.submission import SubmissionThrottle
from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.scaling.shared_limits import SharedQuota

OFFER = PilotType("compute/4c", Shape(4, 3800), (3600,))
JOB = JobClass(Shape(4, 500))


class Project:
    """The run of one project: every pilot that is planned is there at once."""

    def __init__(self, allowance):
        self.share, self.pilots = allowance.share(), ()

    def plan(self, jobs, policy):
        snapshot = Snapshot(0.0, Counter({JOB: jobs}), self.pilots)
        decided = self.share.plan(plan, snapshot, Estimates(), policy)
        new = sum(isinstance(action, Launch) for action in decided.actions)
        self.pilots += tuple(
            Pilot(
                f"p{len(self.pilots) + n}", OFFER.shape, PilotState.PENDING, OFFER.name, 3600
            )
            for n in range(new)
        )  # fmt: skip
        return decided


LIMITS = {
    "pilots_max": (5, lambda n: n),
    "pending_max": (5, lambda n: n),
    "cores_max": (20, lambda n: 4 * n),
    "core_s_max": (20 * 3600.0, lambda n: 4 * 3600 * n),
}


@pytest.mark.parametrize("limit", LIMITS)
@given(turns=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=8))
def test_every_limit_holds_for_all_projects_together(limit, turns):
    most, used = LIMITS[limit]
    wide = {"pilots_max": 10**6, "pending_max": 10**6, "launches_max": 10**6, "cost_weight": 0.0}
    policy = Policy((OFFER,), **{**wide, limit: most})
    allowance = SharedQuota()
    projects = [Project(allowance) for _ in range(3)]
    for which, jobs in turns:
        before = sum(len(project.pilots) for project in projects)
        own = len(projects[which].pilots)
        projects[which].plan(jobs, policy)
        room = min(5 - before, max(0, jobs - own))
        assert len(projects[which].pilots) - own == room, "all of the free capacity, and no more"
    assert used(sum(len(project.pilots) for project in projects)) <= most


def test_what_others_have_is_named_as_the_limit_that_the_user_set():
    allowance, policy = SharedQuota(), Policy((OFFER,), pilots_max=3, cost_weight=0.0)
    mine, theirs = Project(allowance), Project(allowance)
    mine.plan(2, policy)
    (refusal,) = theirs.plan(2, policy).refusals
    assert (refusal.count, refusal.reason) == (1, "at most 3 pilots at a time")


def test_the_queue_is_shared_too_and_what_leaves_it_makes_room_for_others():
    allowance = SharedQuota()
    mine, theirs = allowance.share(), allowance.share()
    feeders = SubmissionThrottle(10), SubmissionThrottle(10)
    assert mine.room(0, 8, feeders[0].room) == 10
    assert theirs.room(0, 8, feeders[1].room) == 2
    assert "no more than 10 jobs of this workflow at a time" in feeders[1].notices[0]
    assert mine.room(3, 0, feeders[0].room) == 5
    assert theirs.room(2, 6, feeders[1].room) == 5
