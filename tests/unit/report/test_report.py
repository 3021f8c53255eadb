"""Numbers, drawings and texts from a run's history; tests/browser checks the looks."""

import io
import json
from dataclasses import asdict
from html import escape
from itertools import permutations

import pytest
import yaml
from histories import BEGUN_S, BOOT_S, LIFE, NASTY, nasty, pilot, queued, ran, served, small
from rich.console import Console

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY
from snakemake_executor_plugin_osgpilot.monitoring.line_check import Line
from snakemake_executor_plugin_osgpilot.report import prometheus
from snakemake_executor_plugin_osgpilot.report.core_hours import waste
from snakemake_executor_plugin_osgpilot.report.html import page, ticks
from snakemake_executor_plugin_osgpilot.report.recommendations import profile, uses
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun
from snakemake_executor_plugin_osgpilot.report.series import POINTS, Series, balance
from snakemake_executor_plugin_osgpilot.report.summary import RunState, view
from snakemake_executor_plugin_osgpilot.report.terminal import screen
from snakemake_executor_plugin_osgpilot.report.timeline import Scale, colours_of, timeline
from snakemake_executor_plugin_osgpilot.scaling.planner.eta import Eta


def replayed(*reported: Line | list[Line]) -> ReplayedRun:
    lines = [LIFE]
    for each in reported:
        lines += each if isinstance(each, list) else [each]
    return ReplayedRun().take(lines)


def seen(of: ReplayedRun, *, alive=False, at_s=None):
    return view(of, of.last_s if at_s is None else at_s, alive=alive)


def printed(of) -> str:
    console = Console(width=100, file=io.StringIO())
    console.print(screen(of))
    return console.file.getvalue()


def test_core_hours_are_split_without_a_rest():
    run = replayed(
        queued("a", "000001", cores=2), queued("b", "000002", cores=4),
        ran("000001", 1, 60, 160), ran("000002", 1, 160, 260, exit_status=1),
        served(1, BEGUN_S + 300),
    )  # fmt: skip
    spent = waste(run, run.last_s)
    assert asdict(spent) == {
        "boot": 4 * 60, "useful": 2 * 100, "fragmentation": 2 * 100, "failed": 4 * 100,
        "tail": 4 * 40, "idle": 0,
    }  # fmt: skip
    assert spent.charged == 4 * 300


def test_a_pilot_without_a_job_is_idle_even_while_jobs_wait():
    run = replayed(
        queued("a", "000001"), ran("000001", 1, 100, 200), served(1, BEGUN_S + 200),
    )  # fmt: skip
    spent = waste(run, run.last_s)
    assert (spent.boot, spent.idle, spent.fragmentation, spent.tail) == (240, 160, 0, 300)


def test_a_started_job_makes_its_pilot_ready():
    at_s = BEGUN_S + 20
    reason = {"pending_reason": "Priority"}
    run = replayed(pilot(1, "pending", BEGUN_S, **reason), queued("a", "000001"))
    run.take(ran("000001", 1, 20, 40)[:2])
    (shown,) = seen(run, alive=True, at_s=at_s + 5).pilots
    assert (shown.state, shown.node, shown.busy_cores, shown.for_s) == ("ready", "n1", 1, 5)
    assert shown.why == ""
    run.take([pilot(1, "done", at_s + 60, started_s=BEGUN_S + 9, ended_s=at_s + 60)])
    run.take(ran("000001", 1, 20, 40)[1:2])
    assert seen(run).pilots[0].state == "done", "repeated lines change nothing"


def test_a_series_keeps_the_area_of_what_is_added():
    cores = Series(0.0, 10.0)
    cores.add(5, 25, 4)
    cores.add(-100, 5, 2)
    cores.add(10.0 * POINTS - 5, 1e9, 8)
    assert cores.values[:4] == [3, 4, 2, 0]
    assert cores.values[-1] == 4
    assert sum(cores.values) * 10 == 4 * 20 + 2 * 5 + 8 * 5


def test_demand_and_supply_are_what_jobs_and_pilots_say():
    run = small()
    cores = balance(run, BEGUN_S, BEGUN_S + 400)
    step_s = 400 / POINTS
    assert sum(cores.busy) * step_s == pytest.approx(90 * (6 + 1 + 2 * 2))
    there = sum(cores.busy) + sum(cores.idle) + sum(cores.coming)
    assert there * step_s == pytest.approx(4 * (400 + 300))
    assert cores.waiting[0] == 6 + 2 * 2
    assert cores.waiting[-1] == 0


def test_a_job_that_was_tried_again_is_no_failure():
    rule = seen(small()).rules["map"]
    assert (rule.jobs, rule.done, rule.failed, rule.retries) == (6, 6, 0, 1)
    assert seen(small()).state is RunState.DONE


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("again", [False, True])
def test_incomplete_outputs_fail_a_job_in_any_order_of_lines(place, again):
    reported = ran("000001", 1, 60, 90)
    reported.insert(
        place, {"kind": "failed", "at_s": BEGUN_S + 91, "job": "000001", "text": "no b"}
    )
    run = replayed(queued("a", "000001"), *reported, *(reported if again else ()))
    rule = seen(run).rules["a"]
    assert (rule.done, rule.failed) == (0, 1)
    assert run.jobs["000001"].text == "no b"


def moved(kind, at_s, text="why"):
    return {"kind": kind, "jobs": [["000001", BEGUN_S + at_s, text]]}


def start(at_s):
    where = ["osgpilot-r-1", "slot1_1", "101", "n1"]
    return {"kind": "started", "jobs": [["000001", BEGUN_S + at_s, *where]]}


@pytest.mark.parametrize(
    ("of_one_second", "state"),
    [
        ([moved("waiting", 70, "evicted"), moved("held", 70)], "held"),
        ([moved("waiting", 70, "evicted"), moved("held", 70), moved("waiting", 70)], "waiting"),
        ([moved("waiting", 70, "evicted"), start(70)], "running"),
        ([moved("waiting", 70), start(70), moved("waiting", 70, "evicted")], "waiting"),
    ],
)
def test_events_of_one_second_have_the_order_that_htcondor_gives_them(of_one_second, state):
    begun = [queued("a", "000001"), *ran("000001", 1, 60, 90)[:2]]
    for order in permutations(of_one_second):
        run = replayed(*begun, *order)
        assert run.jobs["000001"].state == state
        assert (run.running_on("osgpilot-r-1") != []) == (state == "running")


def test_a_decision_with_fractions_of_a_second_is_no_later_than_what_htcondor_reports_after_it():
    """A bundle is lost, and its member starts alone and ends, all in one second."""
    requeued = {"kind": "waiting", "jobs": [["000001", BEGUN_S + 90.4, "", 1, 128, 100, 0, 0]]}
    begun, again = ran("000001", 1, 60, 90)[:2], ran("000001", 1, 90, 90)[1:]
    for order in permutations([requeued, *again]):
        run = replayed(queued("a", "000001"), *begun, *order)
        assert run.jobs["000001"].state == "done"
        assert [attempt.how for attempt in run.jobs["000001"].attempts] == ["interrupted", "done"]


def test_remaining_jobs_of_an_interrupted_run_are_cancelled():
    end = {"kind": "end", "at_s": BEGUN_S + 70, "live": 0}
    begun = (queued("a", "000001", "000002"), ran("000001", 1, 60, 90)[:2])
    run = replayed(*begun, {**end, "detached": False})
    rule = seen(run).rules["a"]
    assert (rule.running, rule.waiting, rule.cancelled) == (0, 0, 2)
    assert rule.core_h == 10 / 3600
    assert seen(run).state is RunState.INTERRUPTED
    detached = seen(replayed(*begun, {**end, "detached": True}))
    assert (detached.state, detached.progress.running) == (RunState.DETACHED, 1)


def test_a_resumed_run_continues_where_it_was():
    begun = (queued("a", "000001"), ran("000001", 1, 60, 90)[:2])
    end = {"kind": "end", "at_s": BEGUN_S + 70, "live": 0, "detached": False}
    run = replayed(*begun, end, {**LIFE, "at_s": BEGUN_S + 80}, *begun)
    assert run.jobs["000001"].state == "running"
    assert len(run.jobs["000001"].attempts) == 1
    assert (run.lives, run.is_over) == (2, False)


def test_a_dead_run_is_shown_at_its_last_sign_of_life():
    run = replayed(queued("a", "000001"), ran("000001", 1, 60, 90)[:2])
    lost = seen(run, at_s=BEGUN_S + 9000)
    assert (lost.state, lost.at_s) == (RunState.LOST, BEGUN_S + 60)
    alive = seen(run, at_s=BEGUN_S + 70, alive=True)
    assert (alive.state, alive.busy_cores) == (RunState.RUNNING, 0)
    assert alive.used_core_h == pytest.approx(10 / 3600)


def test_the_view_has_cores_budget_and_expectations():
    plan = {
        "kind": "plan", "at_s": BEGUN_S + 60, "waiting": 1, "running": 1, "to_come": 3,
        "demand": [], "actions": [], "refusals": [], "unfit": [], "forecast": {"lead_s": 5},
        "eta": {"low_s": 100, "high_s": 200, "serving": True, "unknown": ["late"]},
        "waits_s": {"compute/4c": 30.0},
    }  # fmt: skip
    run = replayed(
        queued("a", "000001", "000002", cores=3), served(1, BEGUN_S + 300)[:3],
        pilot(2, "pending", BEGUN_S, pending_reason="Priority"), ran("000001", 1, 60, 90)[:2], plan,
    )  # fmt: skip
    now = seen(run, at_s=BEGUN_S + 90, alive=True)
    assert (now.demand_cores, now.supply_cores, now.busy_cores) == (3, 8, 3)
    assert now.progress.eta == Eta(70, 170, unknown=("late",))
    assert (now.progress.to_come, now.queue_wait_s) == (3, 30)
    assert now.left_core_h == pytest.approx(10 - 4 * 90 / 3600)
    assert [p.why for p in now.pilots] == ["", "Priority"]
    json.dumps(now.plain())


def test_the_bound_is_first_start_plus_work_or_critical_path():
    run = small()
    cores = 4 * 4
    assert seen(run).bound_s == pytest.approx(BOOT_S + 90 * 11 / cores)
    run.critical_path_s = 200.0
    assert seen(run).bound_s == BOOT_S + 200
    assert seen(run).makespan_s == 350


def test_recommendations_have_a_margin_and_fit_a_profile():
    found = uses(small())
    by_rule = {use.rule: use for use in found}
    assert (by_rule["map"].jobs, by_rule["map"].cores_used) == (6, pytest.approx(0.9))
    written = yaml.safe_load(profile(found))
    assert written == {
        # two jobs of `merge` are too few; `map` uses one core and 10 MB of disk, as it requests
        "set-resources": {"map": {"mem_mb": 384, "runtime": 10}},
    }


def many(s=60, jobs=5, used_mb=300):
    """Return a run with successful jobs of one rule, which requests 1 core, 1024 MB and 1 h."""
    keys = [str(number) for number in range(jobs)]
    ways = [ran(key, 1, 60, 60 + s) for key in keys]
    for *_, end in ways:
        end["jobs"][0][4] = used_mb
    return replayed(queued("map", *keys), *ways)


def test_the_page_has_the_correlation_of_runtimes_with_input_sizes():
    keys = [f"{number:06}" for number in range(12)]
    ways = [ran(key, 1, 60, 70 + 10 * number) for number, key in enumerate(keys)]
    sizes = {"kind": "inputs", "jobs": [[key, 5.0 * n] for n, key in enumerate(keys)]}
    run = replayed(queued("map", *keys), sizes, *ways)
    (use,) = uses(run)
    assert use.by_size.correlation == pytest.approx(1.0)
    assert "<b>+1.00</b>" in page(run, seen(run, alive=True))
    (unknown,) = uses(replayed(queued("map", *keys), *ways))
    assert unknown.by_size.jobs == 0


def test_nothing_is_recommended_from_few_jobs_or_for_a_small_difference():
    assert profile(uses(many(jobs=4))) == ""
    near = profile(uses(many(s=2000, used_mb=800)))
    assert near == "", "1024 MB and 60 min fit 800 MB and 33 min with their margins"
    assert yaml.safe_load(profile(uses(many(s=2000, used_mb=1000)))) == {
        "set-resources": {"map": {"mem_mb": 1280}}
    }


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_nothing_is_recommended_from_a_run_that_did_not_complete(state):
    run = many()
    assert "set-resources:" in page(run, seen(run, alive=True))
    end = {"kind": "end", "at_s": BEGUN_S + 900, "live": 0, "detached": False}
    steps = {"kind": "steps", "done": 5, "total": 6, "failed": int(state == "failed")}
    run.take([steps, {**end, "interrupted": state == "interrupted"}])
    assert seen(run).state == state
    assert "set-resources:" not in page(run, seen(run))


def test_a_run_that_was_to_end_before_the_last_steps_is_done():
    end = {"kind": "end", "at_s": BEGUN_S + 900, "live": 0, "detached": False, "to_come": 1}
    steps = {"kind": "steps", "done": 5, "total": 6, "failed": 0}
    cut_short, until = ReplayedRun(), ReplayedRun()
    cut_short.take([LIFE, steps, end])
    until.take([{**LIFE, "about": {"until": "map"}}, steps, end])
    assert seen(cut_short).state is RunState.INTERRUPTED
    assert seen(until).state is RunState.DONE


def test_a_run_that_an_error_stopped_is_failed_and_names_the_error():
    error = "rule map: the container image /opt/<nope>.sif does not exist"
    steps = {"kind": "steps", "done": 0, "total": 0, "failed": 0}
    end = {"kind": "end", "at_s": BEGUN_S + 9, "detached": False, "error": error}
    run = ReplayedRun().take([LIFE, steps, end])
    assert seen(run).state is RunState.FAILED
    assert f"stopped by an error: {error}" in printed(seen(run))
    assert escape(error) in page(run, seen(run))
    run.take([LIFE])
    assert "stopped by" not in printed(seen(run, alive=True)), "it was started again"


def test_the_page_begins_with_workflow_command_versions_and_the_reasons_of_failures():
    about = {"workflow": "/w/rna/Snakefile", "folder": "/w/rna", "command": "snakemake -j 9",
             "osgpilot": "0.1.0", "site": "example"}  # fmt: skip
    run = ReplayedRun().take([
        {**LIFE, "about": about}, queued("map", "1", "2"), *ran("1", 1, 60, 90, 127),
        {"kind": "failed", "at_s": BEGUN_S + 91, "job": "1",
         "text": "osgpilot: exit status 127 (on n1)\nIts output ended with:\nno gatk\n"},
        {"kind": "failed", "at_s": BEGUN_S + 92, "job": "2", "text": "osgpilot: exit status 127 "
         "(on n2)\nIts output ended with:\nno gatk\n"},
    ])  # fmt: skip
    head = page(run, seen(run)).partition("<nav")[0]
    assert "<title>rna: run 20260921-141320-abcdef, cut short</title>" in head
    assert all(text in head for text in about.values())
    assert "2 jobs of rule map (n=1, …): exit status 127, &#34;no gatk&#34;" in head


def test_one_is_singular():
    run = replayed(queued("a", "1"), ran("1", 1, 60, 90), served(1, BEGUN_S + 300, cores=1))
    html = page(run, seen(run))
    assert "<b>1</b><span>pilot, 0 never used</span>" in html
    assert "1 core, 1 job, charged" in html


def test_transfers_are_those_of_jobs_and_of_images():
    done = {"kind": "ended", "jobs": [[key, BEGUN_S + 91, 0, 1, 300, 10, 20480.0, 512.0]
                                      for key in ("1", "2")]}  # fmt: skip
    sent = {"kind": "images", "sent": [["5", BEGUN_S + 50, "/a.sif", 300 * 2**20],
                                       ["6", BEGUN_S + 50, "https://h/b.sif", 0],
                                       ["7", BEGUN_S + 50, "", 40 * 2**20],
                                       ["8", BEGUN_S + 50, "", 20 * 2**20]]}  # fmt: skip
    # read again by a later session, which does not know what the jobs shared
    again = {"kind": "images", "sent": [["7", BEGUN_S + 50, "", 0]]}
    started = [line for key in ("1", "2") for line in ran(key, 1, 60, 90)]
    run = replayed(queued("a", "1", "2"), started, done, sent, sent, again)
    moved = seen(run).transfers
    assert (moved.jobs, moved.to_jobs_mb, moved.from_jobs_mb) == (2, 40.0, 1.0)
    assert (moved.images, moved.images_mb, moved.pilots) == (1, 300.0, 1)
    assert (moved.shared, moved.shared_mb) == (2, 60.0)
    text = (
        "400 MB from the access point (40 MB to 2 jobs, 20 MB each; 300 MB in 1 image sent to 1 "
        "pilot; 60 MB in 2 copies of shared inputs sent to 1 pilot), 1 MB to it"
    )
    assert text in " ".join(printed(seen(run)).split())
    assert "<b>400 MB</b><span>sent from the access point" in page(run, seen(run))


def test_a_run_without_figures_shows_no_transfers():
    run = replayed(queued("a", "1"), ran("1", 1, 60, 90))
    assert "transfers" not in printed(seen(run))
    assert "sent from the access point" not in page(run, seen(run))


def test_short_jobs_get_cores_from_the_shell_in_any_order():
    spent = {"kind": "spent", "jobs": [["1", 5.8, 3.0]]}
    unseen = {"kind": "ended", "jobs": [["1", BEGUN_S + 103, 0, 0.0, 0, 0]]}
    began = [queued("sort", "1"), *ran("1", 1, 100, 103)[:2]]
    (use,) = uses(replayed(*began, unseen))
    assert (use.cores_used, use.threads) == (0, 0)
    for reported in ([spent, unseen], [unseen, spent, spent]):
        of = replayed(*began, *reported)
        (use,) = uses(of)
        assert of.jobs["1"].cpu_s == 5.8
        assert (round(use.cores_used, 2), use.threads) == (1.93, 2)
    assert uses(replayed(*began, unseen, {**spent, "jobs": [["1", 0.9, 0.5]]}))[0].threads == 0


def test_short_jobs_get_no_memory_or_disk_recommendation():
    short, long = many(29), many(30)
    assert yaml.safe_load(profile(uses(short)))["set-resources"] == {"map": {"runtime": 10}}
    assert yaml.safe_load(profile(uses(long)))["set-resources"]["map"].keys() > {"mem_mb"}


def test_names_that_yaml_would_quote_are_left_out_of_the_profile():
    run = replayed({**queued(NASTY, "000001")}, ran("000001", 1, 60, 90))
    assert profile(uses(run)) == ""


def test_rules_have_colours_of_their_own_and_the_rest_share_one():
    rules = [queued(f"rule{n}", *(f"{n}{job}" for job in range(9 - n))) for n in range(9)]
    run = replayed(*rules)
    assert colours_of(run) == {f"rule{n}": min(n, 6) for n in range(9)}
    assert "--c6:" in page(run, seen(run))


def test_jobs_lie_in_lanes_beside_each_other():
    run = small()
    drawn = timeline(run, Scale(BEGUN_S, BEGUN_S + 400), colours_of(run))
    for row in drawn.rows:
        for one in row.boxes:
            assert row.y <= one.y < one.y + one.height <= row.y + row.height
            for other in row.boxes:
                apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
                apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
                assert one is other or apart_x or apart_y


def test_marks_of_time_are_round_and_few():
    assert [tick.text for tick in ticks(0, 400)] == ["0 s", *(f"{n} min" for n in range(1, 7))]
    assert [tick.text for tick in ticks(0, 200)][:4] == ["0 s", "30 s", "1:00 min", "1:30 min"]
    assert [tick.text for tick in ticks(0, 3 * 3600)][-1] == "3:00 h"
    assert len(ticks(0, 9e6)) <= 11


def test_the_page_of_a_new_run_says_so():
    run = replayed()
    assert "No job has succeeded so far." in page(run, seen(run))


def test_text_of_a_workflow_is_never_markup():
    run = nasty()
    assert NASTY not in page(run, seen(run))
    assert "[bold]" not in printed(seen(run))
    run = replayed({**queued("[red]rule[/]", "000001")})
    assert "[red]rule[/]" in printed(seen(run))


def test_the_terminal_names_rules_pilots_and_decisions():
    text = printed(seen(small()))
    assert "run 20260921-141320-abcdef, project TestProject: done" in text
    assert any(
        line.split()[:2] == ["map", "6"] and "101, 102" in line for line in text.splitlines()
    )
    assert "core-hours  0.275 used of 0.778 charged (35%), 9.222 of 10.000 left" in text


def test_columns_that_nobody_needs_are_left_out():
    going = replayed(pilot(1, "ready", BEGUN_S, started_s=BEGUN_S, ends_s=BEGUN_S + 600))
    over = replayed(served(1, BEGUN_S + 300))
    assert {"for", "busy", "left"} <= set(printed(seen(going, alive=True)).split())
    assert not {"for", "busy", "left", "why"} & set(printed(seen(over)).split())


def test_why_pilots_failed_has_lines_of_its_own_each_reason_once():
    why = "FAILED: neither apptainer nor singularity; name a module in `setup`"
    ends = {"started_s": BEGUN_S, "ended_s": BEGUN_S + 9, "failure": why}
    failed = [pilot(n, "failed", BEGUN_S + n, node=f"n{n}", **ends) for n in (1, 2)]
    waits = pilot(3, "pending", BEGUN_S + 4, pending_reason="Priority")
    lines = printed(seen(replayed(*failed, waits), alive=True)).splitlines()
    assert [line.strip() for line in lines if "FAILED" in line] == [
        f"pilots 101, 102 on n1, n2: {why}"
    ]
    assert any(line.split()[:2] == ["103", "pending"] and "Priority" in line for line in lines)


def test_prometheus_reads_names_values_and_escaped_labels():
    text = prometheus.text(seen(nasty()))
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.rpartition(" ")[0].endswith("}") for line in samples)
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in samples)
    assert 'onerror=\\"window.pwned=1\\"' in text
    text = prometheus.text(seen(small()))
    labels = 'run="20260921-141320-abcdef",project="TestProject"'
    assert f'osgpilot_jobs{{{labels},rule="map",state="done"}} 6' in text
    assert f"osgpilot_charged_core_seconds{{{labels}}} 2800" in text


@pytest.fixture
def osgpilot(tmp_path):
    from click.testing import CliRunner

    folder = tmp_path / ".snakemake/osgpilot/r1"
    folder.mkdir(parents=True)

    def run(*argv, reported=()):
        if reported:
            text = "".join(json.dumps(line) + "\n" for line in reported)
            (folder / HISTORY).write_text(text)
        return CliRunner().invoke(main, [*argv, "--dir", str(tmp_path)])

    return run


DONE = [LIFE, queued("a", "000001"), *ran("000001", 1, 60, 90), *served(1, BEGUN_S + 100)]
END = {"kind": "end", "at_s": BEGUN_S + 100, "live": 0, "detached": False}


def test_the_exit_status_is_the_state_of_the_run(osgpilot):
    assert osgpilot("status").exit_code == 1
    assert osgpilot("status", reported=[*DONE, END]).exit_code == 0
    assert osgpilot("status", reported=DONE).exit_code == 4
    failed = [*DONE, queued("a", "000002"), *ran("000002", 1, 60, 90, exit_status=1), END]
    assert osgpilot("status", reported=failed).exit_code == 3


def test_a_run_with_a_damaged_first_line_is_not_dead(osgpilot, tmp_path):
    damaged = {**LIFE, "at_s": "soon"}
    reported = osgpilot(
        "status", reported=[damaged, *DONE[1:], {"kind": "woken", "jobs": ["000001"]}]
    )
    assert reported.exit_code == 4
    (tmp_path / ".snakemake/osgpilot/r1/lease").touch()
    reported = osgpilot("status")
    assert reported.exit_code == 0
    assert "run r1" in reported.output
    assert "1 of 1 jobs done" in reported.output
    assert osgpilot("explain").exit_code == 0
    assert osgpilot("report", "--out", str(tmp_path / "page.html")).exit_code == 0


def test_a_history_of_another_version_is_not_guessed_at(osgpilot):
    reported = osgpilot("status", reported=[{**LIFE, "version": 2}])
    assert reported.exit_code == 1
    assert "another version" in reported.output


def test_status_is_one_picture_for_programs_too(osgpilot, tmp_path):
    reported = json.loads(osgpilot("status", "--json", reported=[*DONE, END]).output)
    assert (reported["state"], reported["rules"]["a"]["done"]) == ("done", 1)
    numbers = tmp_path / "osgpilot.prom"
    assert osgpilot("status", "--prometheus", str(numbers)).exit_code == 0
    assert "osgpilot_up" in numbers.read_text()


def test_the_report_is_written_in_one_step(osgpilot, tmp_path):
    out = tmp_path / "page.html"
    reported = osgpilot("report", "--out", str(out), reported=[*DONE, END])
    assert reported.exit_code == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.glob(".page*")) == []
    nowhere = osgpilot("report", "--out", str(tmp_path / "no" / "page.html"))
    assert nowhere.exit_code == 1
    assert "cannot be written" in nowhere.output
