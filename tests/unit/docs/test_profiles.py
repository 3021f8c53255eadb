"""Snakemake takes the profiles of the example, and osgpilot their site files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from documentation import ROOT
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.config.run_options import options_of, policy_of
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.config.sites import load_all

EXAMPLE = ROOT / "example-workflow"
PROFILES = sorted(path.parent for path in EXAMPLE.glob("profiles/*/profile.v9+.yaml"))
SITES = sorted(
    [EXAMPLE / "site.yaml", *EXAMPLE.glob("sites/*.yaml"), *EXAMPLE.glob("profiles/*/site.yaml")]
)
PLUGIN = ExecutorPluginRegistry().get_plugin("osgpilot")
RULES = set(
    re.findall(
        r"^rule (\w+):",
        "".join(path.read_text() for path in EXAMPLE.glob("workflow/rules/*.smk")),
        re.MULTILINE,
    )
)


@pytest.fixture(params=PROFILES, ids=lambda folder: folder.name)
def profile(request, monkeypatch):
    """Return a profile, its folder being the one that Snakemake is started in."""
    monkeypatch.chdir(EXAMPLE)
    return request.param


def read(profile: Path):
    """Return a profile as parsed by Snakemake; it refuses unknown keys."""
    _, parsed = parse_args(["--workflow-profile", str(profile)])
    assert parsed.executor == "osgpilot"
    return parsed, PLUGIN.get_settings(parsed)


def test_there_is_a_profile_for_each_place_of_snakemake():
    assert [profile.name for profile in PROFILES] == ["access-point-ssh", "default", "login-node"]


def test_a_profile_and_its_site_file_are_taken(profile):
    _, settings = read(profile)
    PLUGIN.validate_settings(settings)
    options = options_of(settings)
    options.limits.check()
    assert policy_of(load_all(options.site_files), options.limits).offers


def test_hints_are_for_rules_and_pilots_that_there_are(profile):
    parsed, settings = read(profile)
    offers = [kind.offer.name for kind in kinds(load(settings.site))]
    named = yaml.safe_load((profile / "profile.v9+.yaml").read_text())
    hints = named.get("set-resources", {})
    assert set(hints) | set(named.get("set-threads", {})) <= RULES
    assert set(parsed.set_resources) == set(hints)
    for hint in hints.values():
        partition = hint.get("osgpilot_partition", "")
        cores = hint.get("osgpilot_pilot_cores")
        assert any(
            name.startswith(partition) and (not cores or name.endswith(f"/{cores}c"))
            for name in offers
        )


@pytest.mark.parametrize("path", SITES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_site_file_of_the_example_offers_pilots(path):
    assert kinds(load(path))
