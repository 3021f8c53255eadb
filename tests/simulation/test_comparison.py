"""From single runs to the table, the picture and the page."""

import csv
import io
import json
import math
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli.main import main
from snakemake_executor_plugin_osgpilot.scaling_study import result_cache as kept_runs
from snakemake_executor_plugin_osgpilot.scaling_study.compare import Bench, Measured, Task, ratio
from snakemake_executor_plugin_osgpilot.scaling_study.html import html, markdown, summary
from snakemake_executor_plugin_osgpilot.scaling_study.lower_bounds import Limits
from snakemake_executor_plugin_osgpilot.scaling_study.paired import paired
from snakemake_executor_plugin_osgpilot.scaling_study.pareto_plot import svg
from snakemake_executor_plugin_osgpilot.scaling_study.policies.registry import OURS, RULES, Choice
from snakemake_executor_plugin_osgpilot.scaling_study.result_cache import ResultCache
from snakemake_executor_plugin_osgpilot.scaling_study.table import (
    as_record,
    dominated,
    headline,
    interval,
    rows,
    write_csv,
)
from snakemake_executor_plugin_osgpilot.scaling_study.tuning import TASTES, Tuned, best, candidates

STATIC = Choice("static", (("pilots", 5),))
DASK = Choice("dask", (("target_s", 300.0),))


def ran(choice=STATIC, seed=0, makespan_s=1100.0, charged_core_s=2000.0, **more):
    figures = {
        "jobs": 10, "jobs_left": 0, "first_slot_s": 100.0,
        "first_job_s": 110.0, "launched": 4, "needed": 2.0, "never_used": 1, "failed_starts": 0,
        "plan_ms": 1.0, "stopped": "",
    }  # fmt: skip
    return Measured(
        Task("bag", choice, seed), makespan_s=makespan_s, charged_core_s=charged_core_s,
        **(figures | more),
    )  # fmt: skip


def rowed(runs, tuned=()):
    return rows([ratio(run, Limits(1000.0, 800.0, 1000.0)) for run in runs], tuned)


def defaults_by_name():
    """Return each option of `simulate` with the name that its help has as the default."""
    found = {option.opts[0]: re.search(r"\[default: ([a-z-]+)\]", getattr(option, "help", "") or "")
             for option in main.commands["simulate"].params}  # fmt: skip
    return {option: default[1] for option, default in found.items() if default}


def test_what_the_help_names_as_the_default_is_accepted_and_changes_nothing():
    named = defaults_by_name()
    assert set(named) == {"--workload", "--policy"}
    small = ["simulate", "--jobs", "5", "--seeds", "1", "--json"]

    def table(*options):
        told = CliRunner().invoke(main, [*small, *options])
        assert told.exit_code == 0, told.output
        return [row | {"plan_ms": 0} for row in json.loads(told.stdout)]

    for option, default in (*named.items(), ("--policy", "ours")):
        assert table(option, default) == table()


def test_a_run_is_measured_by_the_bounds():
    told = ratio(ran(), Limits(1000.0, 800.0, 1000.0))
    assert (told.makespan, told.makespan_any_order, told.charged) == (1.1, 1.375, 2.0)


def test_bounds_are_those_of_the_workload_and_seed_whoever_is_compared():
    one, other, later = Bench(1).ratios([ran(seed=3), ran(DASK, seed=3), ran(seed=4)])
    assert one.limits == other.limits != later.limits


def test_a_run_that_left_jobs_has_no_ratio():
    unfinished = ratio(ran(jobs_left=3), Limits(1000.0, 800.0, 1000.0))
    assert unfinished.makespan == unfinished.charged == math.inf
    (row,) = rowed([ran(jobs_left=3)])
    assert (row.done, row.jobs_done, row.makespan.median) == (0.0, 0.7, math.inf)
    assert as_record(row)["makespan"] is None


def test_a_row_is_the_median_over_seeds_with_an_interval_around_it():
    (row,) = rowed([ran(seed=n, makespan_s=1100.0 + 110 * n) for n in range(5)])
    assert row.makespan.median == pytest.approx(1.32)
    assert row.makespan.low < row.makespan.median < row.makespan.high
    assert row.never_used == 0.25
    assert row.overlaunched == 2.0


def test_an_interval_is_the_same_for_the_same_values():
    values = [1.0, 5.0, 2.0, 8.0, 3.0]
    assert interval(values) == interval(values)
    assert interval([2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("draws", [6, 8, 16])
def test_intervals_of_medians_cover_whatever_the_distribution(draws):
    chance = random.Random(draws)
    covered = 0
    for _ in range(1000):
        found = interval([chance.lognormvariate(0, 1.5) for _ in range(draws)])
        covered += found.low <= 1.0 <= found.high
    assert covered >= 935


@pytest.mark.parametrize("seeds", [3, 8, 16])
def test_paired_ratios_cover_and_are_narrower_than_both_apart(seeds):
    """RandomStreams that both share drops out."""
    chance, covered, narrower = random.Random(seeds), 0, 0
    for _ in range(1000):
        luck = [chance.gauss(0, 0.5) for _ in range(seeds)]
        ours = [each + chance.gauss(math.log(0.9), 0.05) for each in luck]
        theirs = [each + chance.gauss(0, 0.05) for each in luck]
        found = paired(ours, theirs)
        covered += found.low <= 0.9 <= found.high
        narrower += found.high / found.low < math.exp(max(luck) - min(luck))
    assert 930 <= covered <= 970
    assert narrower > 600


def test_a_policy_that_leaves_jobs_has_no_ratio_that_could_win():
    assert paired([math.inf, 1.0], [1.0, 1.0]).ratio == math.inf
    assert paired([1.0, 1.0], [math.inf, 1.0]).ratio == 0.0


def test_the_headline_is_the_mean_over_workloads_and_names_those_that_are_lost():
    def on(name, choice, makespan_s):
        run = ran(choice, makespan_s=makespan_s)
        return run._replace(task=run.task._replace(scenario=name))

    runs = [
        on("bag", Choice(OURS), 2000.0), on("bag", DASK, 1000.0),
        on("tail", Choice(OURS), 1000.0), on("tail", DASK, 8000.0),
    ]  # fmt: skip
    found = headline(rowed(runs))
    assert found.ct[OURS] == pytest.approx(math.sqrt(2.0 * 1.0) * 2.0)
    assert found.ct["dask"] == pytest.approx(math.sqrt(1.0 * 8.0) * 2.0)
    assert {name: row.rule for name, row in found.lost.items()} == {"bag": "dask"}
    told = " ".join(summary(found))
    assert "bag (dask, by 50 %)" in told
    assert "tail" not in told


def test_who_is_worse_in_both_is_dominated_and_who_ends_less_often():
    fast = ran(Choice(OURS), makespan_s=1100.0, charged_core_s=3000.0)
    cheap = ran(DASK, makespan_s=2200.0, charged_core_s=1500.0)
    worse = ran(STATIC, makespan_s=2300.0, charged_core_s=1600.0)
    marks = {row.rule: row.on_front for row in rowed([fast, cheap, worse])}
    assert marks == {OURS: True, "dask": True, "static": False}
    lucky = ran(STATIC, makespan_s=1000.0, charged_core_s=1000.0)
    half = rowed([lucky, ran(STATIC, seed=1, jobs_left=1), fast, ran(Choice(OURS), 1)])
    (static,) = [row for row in half if row.rule == "static"]
    assert dominated(static, half)


def test_ours_comes_first_and_a_peer_once_for_each_taste():
    tuned = [Tuned("bag", taste, STATIC) for taste in ("balanced", "thrifty")]
    listed = rowed([ran(STATIC), ran(Choice(OURS))], tuned)
    assert [(row.rule, row.taste) for row in listed] == [
        (OURS, ""), ("static", "balanced"), ("static", "thrifty"),
    ]  # fmt: skip


# tuning


def test_the_best_is_the_cheapest_by_taste_over_all_seeds():
    runs = [
        *(ran(DASK, n, makespan_s=1000.0, charged_core_s=4000.0) for n in range(2)),
        *(ran(STATIC, n, makespan_s=2000.0, charged_core_s=1000.0) for n in range(2)),
    ]
    assert best(runs, TASTES["fast"]) == DASK
    assert best(runs, TASTES["balanced"]) == STATIC
    assert best([*runs, ran(Choice("zslurm"), makespan_s=1.0)], 0.1) == DASK
    failed = [ran(DASK, jobs_left=1), ran(STATIC, jobs_left=9)]
    assert best(failed, 0.5) == DASK


@pytest.mark.parametrize("rule", RULES)
def test_only_pilots_that_can_hold_every_job_are_tried(rule):
    offers = {dict(choice.knobs)["offer"] for choice in candidates("mixed", rule)}
    assert offers == {"8c", "16c"}
    lives = {dict(choice.knobs)["walltime_s"] for choice in candidates("heavy", rule)}
    assert lives == {28_800}


# written files


def test_table_and_runs_are_written_as_csv():
    out = io.StringIO()
    write_csv([as_record(row) for row in rowed([ran()])], out)
    (line,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (line["scenario"], line["charged"], line["charged_low"]) == ("bag", "2.0", "2.0")


def test_the_page_needs_nothing_else_and_trusts_no_text():
    listed = rowed([ran(Choice(OURS)), ran(STATIC, jobs_left=1)])
    picture = svg(listed)
    assert picture == svg(listed)
    page = html(listed, picture, "simulate <script>")
    assert "<svg" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert not {"src=", "@import", "<link"} & set(page.split())
    assert "| bag | osgpilot | 1.38 | 1.10 | 2.00 |" in markdown(listed)


def test_a_picture_of_nothing_is_a_picture():
    assert "no policy finished" in svg(rowed([ran(jobs_left=1)]))


# earlier results


def test_a_comparison_that_was_cut_short_continues_where_it_was(tmp_path: Path):
    tasks = [Task("bag", DASK, seed, 20) for seed in range(3)]
    first = Bench(1, kept=ResultCache(tmp_path / "kept.jsonl")).measured(tasks[:2])
    with (tmp_path / "kept.jsonl").open("a") as cut_short:
        cut_short.write('{"key": "01ab", "task": ["ba')
    kept = ResultCache(tmp_path / "kept.jsonl")
    assert [kept.get(task) for task in tasks] == [*first, None]
    told = []
    assert Bench(1, told.append, kept).measured(tasks)[:2] == first
    assert [run.task.seed for run in told] == [0, 1, 2]


def test_what_was_made_with_other_code_does_not_count(tmp_path: Path, monkeypatch):
    task = Task("bag", DASK, 0, 20)
    Bench(1, kept=ResultCache(tmp_path / "kept.jsonl")).measured([task])
    monkeypatch.setattr(kept_runs, "digest", lambda rule: "other")
    assert ResultCache(tmp_path / "kept.jsonl").get(task) is None


def test_a_change_of_our_planner_leaves_the_runs_of_peers_as_they_are():
    ours, peer = (kept_runs.modules(rule) for rule in (OURS, "dask"))
    assert {name.rpartition(".")[2] for name in ours.keys() - peer} >= {"planner", "placement"}
    shared = {"world", "workloads", "dask", "limits", "autoscaler", "manager", "inventory"}
    assert {name.rpartition(".")[2] for name in peer} >= shared
    assert all(".scaling.planner." in name for name in ours.keys() - peer)
    assert not any(name.endswith((".policies.static", ".planner.planner")) for name in peer)


# the command


def invoke(*arguments):
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_unknown_names_are_one_line():
    for words in (("--workload", "sack"), ("--policy", "nobody")):
        result = invoke(*words)
        assert result.exit_code == 1
        assert "; known are " in result.output
        assert result.output.count("\n") == 1


def test_a_comparison_is_the_same_on_one_process_and_on_two_and_is_written_down(tmp_path: Path):
    words = ("--jobs", "30", "--seeds", "2", "--tuning-seeds", "0", "--policy", "osgpilot",
             "--policy", "taskvine", "--json")  # fmt: skip
    alone = invoke(*words, "--workers", "1", "--out", str(tmp_path / "new"))
    several = invoke(*words, "--workers", "2")

    def told(result):
        return [
            {k: v for k, v in row.items() if k != "plan_ms"} for row in json.loads(result.stdout)
        ]

    assert told(alone) == told(several)
    assert [row["rule"] for row in told(alone)] == ["osgpilot", "taskvine"]
    written = {path.name for path in (tmp_path / "new").iterdir()}
    assert written == {
        "runs.csv", "table.csv", "table.md", "pareto.svg", "index.html", "kept.jsonl",
    }  # fmt: skip


def test_a_table_is_printed_for_people():
    result = invoke("--jobs", "20", "--seeds", "1", "--workload", "dag", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "osgpilot" in result.output
