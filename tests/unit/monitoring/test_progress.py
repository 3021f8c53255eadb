"""Estimated time remaining: a range, and none without data."""

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.rule_sums import RuleSums
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.model.upcoming import RuleAhead, UpcomingWork
from snakemake_executor_plugin_osgpilot.monitoring.progress import pilots_by_state
from snakemake_executor_plugin_osgpilot.scaling.planner.eta import Eta, Rest, eta, mean_s, rests_of


def minutes(jobs=0, running=0, **more):
    return Rest(jobs=jobs, running=running, **{"takes_s": 60.0, **more})


def found(*, cores=4, wanted=4, **rests):
    return eta(rests, cores, wanted)


def reported(**given):
    return found(**given).text


def test_work_is_shared_by_available_cores():
    assert found(map=minutes(40)).low_s == 600
    assert reported(map=minutes(40)) == "about 10 min to go"


def test_estimate_is_at_least_the_longest_job():
    assert found(map=minutes(1)) == Eta(60, 60)


def test_running_jobs_count_with_remaining_time():
    assert found(map=minutes(running=1, elapsed_s=40)) == Eta(20, 20)


def test_overdue_job_may_last_as_long_as_it_is_overdue():
    assert found(map=minutes(running=1, elapsed_s=90)).low_s == 30


def test_rules_that_wait_for_each_other_add_up():
    after = {"merge": frozenset({"map"}), "call": frozenset({"merge"})}
    chain = {name: minutes(1, after=after.get(name, frozenset())) for name in ("map", *after)}
    assert found(**chain) == Eta(180, 180)


def test_chain_continues_through_rules_without_cost():
    rests = {
        "map": minutes(1),
        "local": Rest(after=frozenset({"map"})),
        "plot": minutes(1, after=frozenset({"local"})),
    }
    assert eta(rests, 4, 4).low_s == 120


def test_rule_that_depends_on_itself_terminates():
    assert found(step=minutes(3, after=frozenset({"step"}))).low_s == 60


def test_cycles_count_once_and_chains_have_any_length():
    circle = {"a": minutes(1, after=frozenset("b")), "b": minutes(1, after=frozenset("a"))}
    assert found(**circle).low_s == 120
    long = {str(n): minutes(1, after=frozenset({str(n - 1)})) for n in reversed(range(5000))}
    assert found(**long).low_s == 5000 * 60


def test_pending_pilots_make_the_estimate_a_range():
    assert reported(map=minutes(40), cores=4, wanted=16) == "2 min 30 s to 10 min to go"


def test_unseen_rule_gets_no_estimate():
    assert reported(map=Rest(jobs=40)) == "time left unknown"
    both = found(map=minutes(40), call=Rest(jobs=1))
    assert both.unknown == ("call",)
    assert both.text == "10 min or more to go"


def test_time_before_a_ready_pilot_does_not_count():
    waiting = found(map=minutes(40), cores=0)
    assert waiting.text == "about 10 min to go once a pilot is ready"
    assert waiting.after(300) == waiting
    assert found(map=minutes(40)).after(300).low_s == 300


def test_estimate_near_the_end():
    assert reported(map=minutes(running=1, elapsed_s=58)) == "less than 10 s to go"


def test_no_estimate_without_jobs():
    assert eta({}, 4, 4) is None
    assert found(map=minutes()) is None


@pytest.mark.parametrize(
    ("ended", "earlier_s", "mean"), [(0, None, None), (0, 60.0, 60), (3, None, 20), (3, 60.0, 40)]
)
def test_mean_includes_earlier_runs(ended, earlier_s, mean):
    assert mean_s(ended, 20.0 * ended, earlier_s) == mean


def test_remaining_work_includes_upcoming_jobs():
    sums = RuleSums(jobs=10, cores=20, done=4, past_core_s=480.0)
    sums.running_cores, sums.running_since_core_s = 4, 4 * 970.0
    ahead = UpcomingWork(
        rules={
            "map": RuleAhead(5, 2.0),
            "merge": RuleAhead(1, 8.0, frozenset({"map"})),
            "late": RuleAhead(1),
        },
        gone={"map": 2},
    )
    rests = rests_of({"map": sums}, ahead, {"merge": 80.0}, now_s=1000.0)
    assert rests["map"] == Rest(jobs=7, running=2, elapsed_s=30, cores=2, takes_s=60)
    assert rests["merge"] == Rest(jobs=1, cores=8, takes_s=10, after=frozenset({"map"}))
    assert rests["late"].unknown


def test_failed_jobs_do_not_count_for_the_mean():
    sums = RuleSums(jobs=3, cores=3, failed=2, past_core_s=2.0)
    assert rests_of({"map": sums}, UpcomingWork(), {}, 0.0)["map"].takes_s is None


def test_a_pilot_that_has_started_jobs_is_ready_before_slurm_says_that_it_runs():
    states = ("PENDING", "BOOTING", "READY", "DRAINING", "BOOTING")
    pilots = [Pilot(f"p{n}", Shape(4, 3800), PilotState[each]) for n, each in enumerate(states)]
    counts = pilots_by_state(pilots, {"p0", "p3", "p4"})
    assert counts == {"pending": 0, "booting": 1, "ready": 3}
