"""How long a run will take from here."""

import pytest

from snakemake_executor_plugin_osgpilot.core.actions import Forecast
from snakemake_executor_plugin_osgpilot.core.estimates import Estimates
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.core.progress import eta_s
from snakemake_executor_plugin_osgpilot.core.snapshot import Running, Snapshot, Soon

MINUTE = JobClass(Shape(1, 500), 60)
KNOWN = Estimates(runtimes_s={MINUTE: (60.0,) * 1000})
SERVING = (Pilot("p", Shape(4, 4000), state=PilotState.READY),)
FOUR = Forecast(live_cores=4, lead_s=100)


def eta(waiting=0, running=(), pilots=SERVING, forecast=FOUR, **more):
    jobs = (Running(MINUTE, len(running), sum(running) / len(running)),) if running else ()
    snapshot = Snapshot(1000.0, {MINUTE: waiting}, pilots, {"p": jobs}, **more)
    return eta_s(snapshot, KNOWN, forecast)


def test_work_is_shared_by_the_cores_there_are():
    assert eta(waiting=40) == pytest.approx(600, rel=0.01)


def test_it_is_never_less_than_the_longest_job():
    assert eta(waiting=1) == pytest.approx(60, rel=0.01)


def test_what_runs_has_only_its_rest_to_go():
    assert eta(running=[960.0]) == pytest.approx(20, rel=0.05)


def test_jobs_to_come_are_taken_to_be_like_those_in_sight():
    assert eta(waiting=20, later=20) == pytest.approx(600, rel=0.01)
    assert eta(waiting=20, soon=(Soon(MINUTE, 20, None),)) == pytest.approx(600, rel=0.01)


def test_without_a_pilot_the_first_has_to_come():
    assert eta(waiting=40, pilots=()) == pytest.approx(700, rel=0.01)
    assert eta(waiting=40, pilots=(), forecast=Forecast(8.0, 0, lead_s=100)) == pytest.approx(
        400, rel=0.01
    )


def test_without_jobs_nothing_tells():
    assert eta() is None


def test_as_many_cores_as_there_are_jobs_for_is_no_number_to_divide_by():
    assert eta(waiting=4, forecast=Forecast(float("inf"), 0)) == pytest.approx(240, rel=0.01)
