"""The preview of a run: starts of pilots, and bounds."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.model.snapshot import Snapshot
from snakemake_executor_plugin_osgpilot.preview import snakemake_cli as ask
from snakemake_executor_plugin_osgpilot.preview.dag_tasks import tasks_of
from snakemake_executor_plugin_osgpilot.preview.dry_plan import dry_run
from snakemake_executor_plugin_osgpilot.preview.simulated_runs import TASKS_MAX, simulated
from snakemake_executor_plugin_osgpilot.scaling.planner.bounds import Case, Task, bounds
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from unit.scaling.planner.test_planner import OFFER, POLICY, SMALL

PACED = replace(POLICY, launches_max=3)


def tried(jobs, policy=PACED, known=None):
    waiting = Counter({SMALL: jobs} if jobs else {})
    return dry_run(Snapshot(0.0, waiting), known or Estimates(), policy, 3.0)


def test_the_first_start_is_the_planners_decision():
    first = plan(Snapshot(0.0, Counter({SMALL: 40})), Estimates(), PACED)
    start = tried(40).starts[0]
    launches = [action for action in first.actions if isinstance(action, Launch)]
    assert launches == [Launch(start.offer, start.walltime_s, start.reason)] * start.count


def test_pilots_start_in_batches_until_all_jobs_have_room():
    reported = tried(40)
    assert [(start.after_s, start.count) for start in reported.starts] == [
        (0.0, 3), (3.0, 3), (6.0, 3), (9.0, 1),
    ]  # fmt: skip
    assert reported.pilots == 10
    assert reported.refusals == ()


def test_limits_of_further_pilots_are_reported_but_not_the_pace():
    reported = tried(40, replace(PACED, pilots_max=4))
    assert reported.pilots == 4
    assert [(refusal.count, refusal.rule) for refusal in reported.refusals] == [(6, "pilots_max")]


def test_nothing_is_started_for_nothing():
    assert tried(0).starts == ()


def test_a_start_estimates_when_its_pilots_are_ready():
    known = Estimates(waits_s={OFFER.name: (300.0,) * 50}, boots_s=(30.0,) * 50)
    (start, *_) = tried(4, known=known).starts
    assert start.wait_s == pytest.approx(300, abs=60)
    assert start.lead_s == pytest.approx(start.wait_s + 30, abs=5)


def case(tasks, parents, **more):
    policy = replace(POLICY, **more)
    return Case(tasks, parents, 4, cores_max=8, wait_s=40.0, boot_s=60.0, policy=policy)


def one(expected_s=60.0, limit_s=120.0, **more):
    return Task("map", SMALL, expected_s, limit_s, **more)


def test_a_chain_takes_the_sum_of_its_jobs():
    reported = bounds(case([one()] * 3, [[], [0], [1]]))
    assert reported.makespan_s[0] == 100 + 3 * 60
    assert reported.makespan_s[1] == 100 + 3 * 120 + 3 * 120 / 4


def test_a_scatter_takes_at_least_its_work_on_all_cores_allowed():
    reported = bounds(case([one()] * 80, [[]] * 80))
    assert reported.makespan_s[0] == 100 + 80 * 60 / 8
    assert reported.core_h[0] == pytest.approx((80 * 60 + 4 * 60) / 3600)
    assert reported.core_h[0] < reported.core_h[1]


def test_expected_cost_stays_within_the_budget():
    reported = bounds(case([one()] * 80, [[]] * 80, core_s_max=1800.0))
    assert reported.core_h == (0.5, 0.5)


def test_jobs_elsewhere_take_time_but_no_pilot():
    reported = bounds(replace(case([one(on_pilot=False)], [[]]), cores=0))
    assert reported.makespan_s == (60.0, 120.0)
    assert reported.core_h == (0.0, 0.0)


@dataclass(eq=False)
class FakeJob:
    rule: str
    after: list = field(default_factory=list)
    is_local: bool = False
    threads: int = 1


class FakeDag:
    def __init__(self, *jobs):
        self.jobs = jobs

    def needrun_jobs(self):
        return iter(self.jobs)

    def job_dependencies(self, job):
        return job.after


def test_the_dag_becomes_tasks_in_topological_order():
    done = FakeJob("done")
    first = FakeJob("first", [done])
    second = FakeJob("second", [first])
    gather = FakeJob("gather", [first, second], is_local=True)
    limited = JobClass(Shape(2, 500), 600)
    tasks, parents = tasks_of(
        FakeDag(gather, second, first),
        lambda job: not job.is_local,
        {first: limited, second: None}.get,
        {"second": 30.0},
    )
    assert [task.rule for task in tasks] == ["first", "second", "gather"]
    assert parents == [[], [0], [0, 1]]
    assert [(task.expected_s, task.limit_s) for task in tasks] == [(300, 600), (30, 60), (0, 0)]
    assert [task.on_pilot for task in tasks] == [True, True, False]
    assert [task.seen for task in tasks] == [False, True, True]


@pytest.mark.parametrize(
    ("argv", "reported"),
    [
        ((), "executor is local; give those of a run with `--executor osgpilot`"),
        (("--executor", "dryrun"), "executor is dryrun"),
        (("--executor", "osgpilot", "--unlock"), "--unlock runs no workflow"),
        (("--executor", "osgpilot", "--delete-all-output"), "--delete-all-output runs no workflow"),
    ],
)
def test_arguments_that_use_no_osgpilot_are_refused(argv, reported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'out'\n    shell: 'touch {output}'")
    given = (*argv, "--osgpilot-site", "site.yaml") if "osgpilot" in argv else argv
    said = CliRunner().invoke(main, ["plan", "--", *given])
    assert said.exit_code == 1
    assert reported in said.stderr
    assert said.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["Snakefile"]


def test_plan_reports_the_errors_of_a_run_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'out'\n    shell: 'touch {output}'")
    argv = ["--executor", "osgpilot", "--osgpilot-site", "none.yaml", "--jobs", "2"]
    said = CliRunner().invoke(main, ["plan", *argv])
    assert said.exit_code == 1
    assert "site file none.yaml: No such file or directory; `osgpilot site init`" in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Snakefile"]


def test_the_executor_of_snakemake_is_its_own_again_afterwards(tmp_path, monkeypatch):
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    monkeypatch.chdir(tmp_path)
    before = ExecutorPluginRegistry().get_plugin("osgpilot")
    with pytest.raises(ask.InputError):
        ask.preview([])
    assert ExecutorPluginRegistry().get_plugin("osgpilot") is before


def test_a_preview_is_plain_json_whatever_is_infinite():
    from snakemake_executor_plugin_osgpilot.preview.result import _finite

    assert json.loads(json.dumps(_finite({"a": [float("inf"), 1.0]}), allow_nan=False)) == {
        "a": [None, 1.0]
    }


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """However slow the machine is."""
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.preview.simulated_runs.FOR_S", 1e9)


def small_case(tasks, parents, **more):
    policy = replace(POLICY, cost_weight=0.5, launches_max=3)
    return Case(tasks, parents, 4, cores_max=400, wait_s=120.0, boot_s=180.0, policy=policy, **more)


def test_simulated_runs_exceed_critical_path_and_work():
    reported = simulated(small_case([one()] * 40, [[]] * 39 + [list(range(39))]))
    assert reported.how == "9 simulated runs"
    assert 100 < reported.makespan_s[0] < reported.makespan_s[1]
    assert 40 * 40 / 3600 < reported.core_h[0] <= reported.core_h[1]


def test_unseen_rules_take_little_to_nearly_all_of_their_runtime():
    seen = simulated(small_case([one(600.0, 1200.0)] * 40, [[]] * 40))
    guessed = simulated(small_case([one(600.0, 1200.0, seen=False)] * 40, [[]] * 40))
    assert (seen.unknown, guessed.unknown) == ((), ("map",))
    assert guessed.core_h[0] < 0.5 * seen.core_h[0] < seen.core_h[1] < guessed.core_h[1]
    assert guessed.makespan_s[0] < 0.5 * seen.makespan_s[0]


def test_a_simulation_is_the_same_each_time():
    of = small_case([one()] * 10, [[]] * 10)
    assert simulated(of) == simulated(of)


def test_jobs_elsewhere_lengthen_a_simulated_run():
    alone = simulated(small_case([one()], [[]]))
    both = simulated(small_case([one(), one(600.0, on_pilot=False)], [[], [0]]))
    assert both.makespan_s[0] == pytest.approx(alone.makespan_s[0] + 600)
    assert both.core_h == alone.core_h


def test_jobs_depend_on_predecessors_through_local_jobs():
    through = [one(), one(0.0, 0.0, on_pilot=False), one()]
    chain = simulated(small_case(through, [[], [0], [1]]))
    direct = simulated(small_case([one(), one()], [[], [0]]))
    assert chain.makespan_s == direct.makespan_s


def test_bounds_replace_a_simulation_that_is_too_long_or_endless():
    many = small_case([one()] * (TASKS_MAX + 1), [[]] * (TASKS_MAX + 1))
    assert simulated(many).how == bounds(many).how
    nowhere = small_case([one(on_pilot=False)], [[]])
    assert simulated(nowhere).how == bounds(nowhere).how
