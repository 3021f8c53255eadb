"""Runs with pilots at several sites, as status and report show them."""

import io
import json
from dataclasses import asdict

from histories import BEGUN_S, LIFE, queued, ran, served
from rich.console import Console

from snakemake_executor_plugin_osgpilot.explain.gather import place_of, policy_of
from snakemake_executor_plugin_osgpilot.journal.location import Place, SiteLocation
from snakemake_executor_plugin_osgpilot.model.resources import (
    PilotType,
    Policy,
    Shape,
    SiteLimits,
)
from snakemake_executor_plugin_osgpilot.monitoring.line_check import is_whole
from snakemake_executor_plugin_osgpilot.report.html import page
from snakemake_executor_plugin_osgpilot.report.logs import logs_of
from snakemake_executor_plugin_osgpilot.report.replay import fold
from snakemake_executor_plugin_osgpilot.report.summary import view
from snakemake_executor_plugin_osgpilot.report.terminal import screen

END_S = BEGUN_S + 3600


def run_at(*sites):
    pilots = (
        line | {"site": site}
        for number, site in enumerate(sites, 1)
        for line in served(number, END_S)
    )
    return fold([LIFE, queued("map", "1"), *pilots, *ran("1", 1, 100, 200)])


def shown(replayed):
    console = Console(width=120, file=io.StringIO())
    console.print(screen(view(replayed, END_S, alive=True)))
    return console.file.getvalue()


def test_status_names_the_site_of_each_pilot_and_the_charge_of_each_site():
    replayed = run_at("Near", "Far", "Far")
    seen = view(replayed, END_S, alive=True)
    assert {name: (site.pilots, site.live) for name, site in seen.sites.items()} == {
        "Far": (2, 0), "Near": (1, 0),
    }  # fmt: skip
    assert sum(site.charged_core_h for site in seen.sites.values()) == seen.charged_core_h
    assert [pilot["site"] for pilot in seen.plain()["pilots"]] == ["Near", "Far", "Far"]
    text = shown(replayed)
    assert "Far: 2 pilots, 0 now, 8.000 core-hours charged; Near: 1 pilot" in text
    assert "site  Slurm job" in text
    assert "8.000</b><span>core-hours charged at Far for 2 pilots" in page(replayed, seen)


def test_logs_of_pilots_with_the_same_id_are_distinguished():
    replayed = run_at("Near", "Far")
    for pilot in replayed.pilots.values():
        pilot.allocation = "7"
    titles = [log.title for log in logs_of("7", replayed)]
    assert titles == ["pilot 7 at Near: done", "pilot 7 at Far: done"]
    assert [log.title for log in logs_of("Far:7", replayed)] == titles[1:]


def test_a_single_site_is_not_named():
    replayed = run_at("Near", "Near")
    assert "Near" not in shown(replayed)
    assert "Near" not in page(replayed, view(replayed, END_S, alive=True))


def test_history_gives_back_place_and_limits_of_each_site():
    offer = PilotType("A:cpu/4c", Shape(4, 8000), (3600,), site="A", price=2.0)
    policy = Policy((offer,), site_limits=(SiteLimits("A", 3, None, 10.0),))
    limits = asdict(policy)
    limits["offers"][0]["shape"] = offer.shape._asdict()
    place = Place("login1", site="A", others=(SiteLocation("B", "far", "", "/x/r1"),))
    line = json.loads(json.dumps({**LIFE, "policy": limits, "place": asdict(place)}))
    assert is_whole(line)
    assert place_of(line["place"]) == place
    assert policy_of(line["policy"]) == policy
    assert not is_whole({**line, "place": {"others": [{"ssh": 1}]}})
