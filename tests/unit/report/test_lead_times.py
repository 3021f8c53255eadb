"""Lead times of pilots in earlier runs, and their use by a plan."""

import json
import os

import pytest
from histories import BEGUN_S, LIFE, pilot, queued, ran, served

from snakemake_executor_plugin_osgpilot.cli.plan import _coming
from snakemake_executor_plugin_osgpilot.preview.dry_plan import Start
from snakemake_executor_plugin_osgpilot.preview.earlier_run import earlier_leads
from snakemake_executor_plugin_osgpilot.preview.lead_times import coming
from snakemake_executor_plugin_osgpilot.report.lead_times import LeadTimes, lead_times
from snakemake_executor_plugin_osgpilot.report.replay import ReplayedRun
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import (
    BOOT_PRIOR_S,
    WAIT_PRIOR_S,
    Estimates,
)
from snakemake_executor_plugin_osgpilot.simulator.calibrated_site import site_like
from snakemake_executor_plugin_osgpilot.simulator.model import BOOT, Spread
from unit.scaling.planner.test_planner import OFFER, POLICY

KIND = "compute/4c"


def waited(number, wait_s, boot_s, offer=KIND):
    """A pilot that was asked for at the beginning of the run."""
    started_s = BEGUN_S + wait_s
    begun = {"offer": offer, "started_s": started_s}
    return [
        pilot(number, "booting", started_s, **begun),
        pilot(number, "ready", started_s + boot_s, **begun),
    ]


def seen_in(*lines, offers=(KIND,)):
    return lead_times(ReplayedRun().take([LIFE, *lines]), offers)


def sent(key, number, at_s, from_s, until_s):
    first, *rest = ran(key, number, from_s, until_s)
    return [queued("map", key), {**first, "jobs": [[key, BEGUN_S + at_s, "1.0"]]}, *rest]


def test_waits_and_boots_are_those_of_pilots_that_came():
    found = seen_in(
        *waited(1, 100, 50), *waited(2, 140, 70), *waited(3, 10, 60, "short/1c"),
        pilot(4, "pending", BEGUN_S), pilot(5, "booting", BEGUN_S + 120, started_s=BEGUN_S + 120),
        offers=(KIND, "short/1c"),
    )  # fmt: skip
    assert found.waits_s == {KIND: (100, 140, 120), "short/1c": (10,)}
    assert found.boots_s == (50, 70, 60)
    assert (found.wait_s(KIND), found.wait_s("short/1c"), found.boot_s) == (120, 10, 60)
    assert found.wait_s("long/8c") == 110, "of all rules, as none of these was observed"


def test_pilots_of_other_kinds_are_ignored():
    found = seen_in(*waited(1, 100, 50), offers=("elsewhere/4c",))
    assert (found.wait_s(), found.boot_s, found.match_s) == (None, None, None)


def test_match_time_is_the_wait_beside_an_empty_pilot():
    found = seen_in(
        *served(1, BEGUN_S + 900),
        *sent("1", 1, 0, 75, 100),  # there when the pilot came at 60
        *sent("2", 1, 70, 101, 150),  # took the place of the first
        *sent("3", 1, 200, 230, 260),  # came when it was empty
        *sent("4", 1, 205, 231, 300),  # came beside the third
    )
    assert found.matches_s == (15, 30)


def test_a_pilot_first_seen_with_its_job_has_no_match_time():
    assert seen_in(*served(1, BEGUN_S + 900), *sent("1", 1, 0, 60.4, 100)).matches_s == ()


def written(folder, name, *lines, at_s):
    own = folder / ".snakemake" / "osgpilot" / name
    own.mkdir(parents=True)
    history = own / "history.jsonl"
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(history, (at_s, at_s))


def test_lead_times_come_from_the_latest_run_with_such_a_pilot(tmp_path):
    assert earlier_leads(tmp_path, [KIND]) is None
    written(tmp_path, "a", {**LIFE, "run": "a"}, *waited(1, 10, 5), at_s=100)
    written(tmp_path, "b", {**LIFE, "run": "b"}, *waited(1, 20, 6), at_s=200)
    written(tmp_path, "c", {**LIFE, "run": "c"}, pilot(1, "pending", BEGUN_S), at_s=300)
    written(tmp_path, "d", {**LIFE, "version": 99}, *waited(1, 30, 7), at_s=400)
    found = earlier_leads(tmp_path, [KIND])
    assert (found.run, found.begun_s, found.boot_s) == ("b", BEGUN_S, 6)
    assert earlier_leads(tmp_path, ["elsewhere/4c"]) is None


SEEN = LeadTimes("r", BEGUN_S, {OFFER.name: (110.0, 130.0)}, (40.0, 56.0), (20.0,))
NEW = Start(0.0, 1, OFFER.name, 3600, wait_s=0.0, lead_s=180.0, reason="")


def test_waits_are_the_longer_of_history_and_slurms_estimate():
    at_once = coming(Estimates(wait_hints_s={OFFER.name: 0.0}), [OFFER.name], SEEN)
    assert (at_once.boot_s, at_once.match_s, at_once.pilots) == (48, 20, 2)
    assert (at_once.start(NEW).wait_s, at_once.start(NEW).lead_s) == (120, 188)
    later = coming(Estimates(wait_hints_s={OFFER.name: 900.0}), [OFFER.name], SEEN)
    assert later.start(NEW).wait_s == 900


def test_without_history_lead_times_are_the_priors():
    unseen = coming(Estimates(wait_hints_s={OFFER.name: 30.0}), [OFFER.name, "long/8c"], None)
    assert (unseen.boot_s, unseen.match_s, unseen.pilots) == (BOOT_PRIOR_S, None, 0)
    assert unseen.waits_s["long/8c"] == WAIT_PRIOR_S
    assert unseen.unsaid == ("long/8c",)
    assert unseen.start(NEW).lead_s == 30 + BOOT_PRIOR_S


def test_one_line_names_the_source_of_lead_times():
    said, day = _coming(coming(Estimates(), [OFFER.name], SEEN)).rsplit("2026-09-", 1)
    assert day in ("21", "22"), "by the clock of this site"
    assert said == (
        "boot 48 s, first job 20 s later, wait in queue 2 min or what Slurm expects now, if "
        "longer: from 2 pilots of the run of "
    )
    assumed = _coming(coming(Estimates(), [OFFER.name], None))
    assert assumed.startswith(
        "boot 3 min: assumed, as no earlier run in this folder had such a pilot ready"
    )
    assert assumed.endswith(f"so is the wait in the queue of {OFFER.name}")


@pytest.mark.parametrize(
    ("match_s", "rounds_s", "start_s"), [(None, 60, 2), (32.0, 60, 2), (3.0, 2, 2), (1.0, 1, 1)]
)
def test_simulated_jobs_match_as_fast_as_observed(match_s, rounds_s, start_s):
    site = site_like("here", POLICY.offers, Spread(60.0), BOOT, match_s)
    assert (site.negotiation_s, site.start_s) == (rounds_s, start_s)
