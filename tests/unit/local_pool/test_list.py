"""`osgpilot pool list`."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.local_pool import state


@pytest.fixture
def listed(monkeypatch):
    def run(pools, *options):
        monkeypatch.setattr(state, "names", lambda: sorted(pools))
        monkeypatch.setattr(state, "find", pools.get)
        return CliRunner().invoke(main, ["pool", "list", *options]).output

    return run


def test_only_pools_that_are_up_are_listed(listed):
    pools = {"a": SimpleNamespace(work=["/w/a", "/w/b"]), "left": None}
    assert listed(pools) == "a  /w/a /w/b\n"
    assert json.loads(listed(pools, "--json")) == [{"name": "a", "work": ["/w/a", "/w/b"]}]
    assert listed({"left": None}) == "no pool is up\n"
    assert json.loads(listed({}, "--json")) == []
