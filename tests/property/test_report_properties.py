"""Laws of what is made of a run's history, whatever it was like."""

import pytest
from histories import BEGUN_S, LIFE, queued, ran, served
from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.report.core_hours import waste
from snakemake_executor_plugin_osgpilot.report.html import page
from snakemake_executor_plugin_osgpilot.report.replay import fold
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
