"""Laws of what is made of a run's history, whatever it was like."""

from unittest import mock

import pytest
from histories import BEGUN_S, LIFE, queued, ran, served
from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.report import job_history
from snakemake_executor_plugin_osgpilot.report.core_hours import waste
from snakemake_executor_plugin_osgpilot.report.html import page
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun, fold
from snakemake_executor_plugin_osgpilot.report.series import POINTS, balance
from snakemake_executor_plugin_osgpilot.report.summary import view

CORES = 4
END_S = 1000


@st.composite
def histories(draw):
    """Return lines of a run whose jobs never take more cores than a pilot has."""
    lines, number = [LIFE], 0
    pilots = draw(st.integers(1, 3))
    for pilot in range(1, pilots + 1):
        for _ in range(CORES):
            at_s = 0.0
            while draw(st.booleans()):
                number += 1
                begun_s = at_s + draw(st.integers(0, 100))
                at_s = begun_s + draw(st.integers(0, 100))
                if at_s > END_S:
                    break
                rule, status = draw(st.sampled_from("ab")), draw(st.sampled_from((0, 1)))
                lines.append(queued(rule, f"{number:06}"))
                lines += ran(f"{number:06}", pilot, begun_s, at_s, status)
        lines += served(pilot, BEGUN_S + END_S)
    return lines


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_charged_core_second_is_counted_once(lines):
    run = fold(lines)
    spent = waste(run, BEGUN_S + END_S)
    assert spent.charged == pytest.approx(len(run.pilots) * CORES * END_S)
    used = sum(a.core_s(0) for job in run.jobs.values() for a in job.attempts)
    assert spent.useful + spent.failed == pytest.approx(used)
    assert min(spent.useful, spent.failed, spent.boot, spent.idle, spent.tail) >= 0
    assert spent.fragmentation >= 0


@settings(max_examples=60, deadline=None)
@given(histories())
def test_the_chart_has_the_core_seconds_of_the_jobs(lines):
    run = fold(lines)
    cores = balance(run, BEGUN_S, BEGUN_S + END_S)
    used = sum(a.core_s(0) for job in run.jobs.values() for a in job.attempts)
    assert sum(cores.busy) * END_S / POINTS == pytest.approx(used)


@settings(max_examples=20, deadline=None)
@given(histories(), st.data())
def test_any_prefix_of_a_history_can_be_shown_and_replayed(lines, data):
    part = lines[: data.draw(st.integers(1, len(lines)))]
    again = data.draw(st.integers(0, len(part)))
    once, twice = fold(part), fold([*part, *part[again:]])
    shown = view(once, BEGUN_S + END_S, alive=True)
    assert shown.rules == view(twice, BEGUN_S + END_S, alive=True).rules
    assert sum(rule.jobs for rule in shown.rules.values()) == len(once.jobs)
    assert page(once, shown).endswith("</html>")


LOST = "its outputs are incomplete"


@st.composite
def sessions(draw):
    """Return the lines of each session of a run, one job a line, whose jobs end in all ways."""
    jobs = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        key, stops = (
            f"{number:06}",
            draw(st.lists(st.sampled_from(("held", "waiting")), max_size=2)),
        )
        end = draw(st.sampled_from(("done", "failed", "lost", "removed", "running", "unreported")))
        jobs.append((key, stops, end))
    first = [queued("a", key) for key, *_ in jobs]
    for key, stops, end in jobs:
        first += _way(key, stops, end, gap_s=draw(st.sampled_from((0, 5))))
        if draw(st.booleans()):
            first.append({"kind": "spent", "jobs": [[key, 3.5, 4.5]]})
    found = [[LIFE, *first]]
    end = {"kind": "end", "live": 0, "at_s": BEGUN_S + END_S, "detached": draw(st.booleans())}
    if draw(st.booleans()):
        found[0].append(end)
    if draw(st.booleans()):
        # the event log is read from its beginning
        again = [queued("a", key, at_s=BEGUN_S + END_S + 1) for key, *_ in jobs]
        again += [line for line in first if line["kind"] not in ("queued", "failed")]
        more = [
            {"kind": "ended", "jobs": [[key, BEGUN_S + END_S + 9, 0, 1.0, 1, 1]]}
            for key, *_ in jobs
        ]
        found.append([{**LIFE, "at_s": BEGUN_S + END_S + 1}, *again, *more])
    return found


def _way(key, stops, end, gap_s):
    """Return how a job was started, stopped on the way, and ended."""
    where, at_s, lines = ["osgpilot-r-1", "slot1_1", "101", "n1"], BEGUN_S + 10, []
    lines.append({"kind": "sent", "jobs": [[key, BEGUN_S + 1, "1.1"]]})
    for stop in stops:
        lines.append({"kind": "started", "jobs": [[key, at_s, *where]]})
        if stop == "held":
            # a running job is evicted first, in the same second
            lines.append({"kind": "waiting", "jobs": [[key, at_s + gap_s, "evicted"]]})
        lines.append({"kind": stop, "jobs": [[key, at_s + gap_s, "preempted"]]})
        if stop == "held":
            lines.append({"kind": "waiting", "jobs": [[key, at_s + gap_s + 1, "released"]]})
        at_s += gap_s + 2
    lines.append({"kind": "started", "jobs": [[key, at_s, *where]]})
    status = {"done": 0, "lost": 0, "failed": 1}.get(end)
    if status is not None:
        lines.append({"kind": "ended", "jobs": [[key, at_s + 5, status, 1.0, 1, 1]]})
    if end == "removed":
        lines.append({"kind": "removed", "jobs": [[key, at_s + 5, "by hand"]]})
    if end in ("failed", "lost", "unreported", "removed"):
        lines.append({"kind": "failed", "at_s": at_s + 4, "job": key, "text": LOST})
    return lines


def _seen(run):
    jobs = {
        key: (run.state_of(job), job.text, job.since_s, job.exit_status, job.job_id,
              [(a.started_s, a.stopped_s, a.how) for a in job.attempts])
        for key, job in run.jobs.items()
    }  # fmt: skip
    pilots = {name: (p.state, p.moves) for name, p in run.pilots.items()}
    on = {job.key for name in ("osgpilot-r-1",) for job in run.running_on(name)}
    return (
        jobs,
        pilots,
        on,
        [(f.job.key, f.text) for f in run.failures.values()],
        run.first_s,
        run.last_s,
    )


@settings(max_examples=200, deadline=None)
@given(sessions(), st.data())
def test_the_order_of_lines_within_a_session_changes_nothing(sessions, data):
    straight = fold([line for session in sessions for line in session])
    mixed, taken = [], ReplayedRun()
    for life, *rest in sessions:
        shuffled = data.draw(st.permutations([*rest, *data.draw(st.lists(st.sampled_from(rest)))]))
        mixed += [life, *shuffled]
    cut = data.draw(st.integers(0, len(mixed)))
    assert _seen(taken.take(mixed[:cut]).take(mixed[cut:])) == _seen(straight)


@settings(max_examples=200, deadline=None)
@given(sessions())
def test_the_short_cut_for_jobs_that_ran_once_changes_nothing(sessions):
    lines = [line for session in sessions for line in session]
    taken = fold(lines)
    with mock.patch.object(job_history, "RAN_ONCE", []):
        applied = fold(lines)
    assert repr(taken.jobs) == repr(applied.jobs)


@settings(max_examples=200, deadline=None)
@given(sessions())
def test_a_failure_that_was_reported_to_snakemake_is_never_a_success(sessions):
    run = fold([line for session in sessions[:1] for line in session])
    told = {failure.job.key for failure in run.failures.values()}
    for key, job in run.jobs.items():
        assert (job.state == "failed") >= (key in told), job
        assert (job.text == LOST) >= (key in told), job
    shown = view(run, BEGUN_S + END_S, alive=False)
    assert sum(rule.failed for rule in shown.rules.values()) >= len(told)
    assert (shown.state == "done") <= (not told)
