"""Snakemake imports every installed plugin on every call; ours has to cost next to nothing."""

import json
import subprocess
import sys

import pytest

BUDGET_MS = 30
HEAVY = ("htcondor2", "classad2", "subprocess", "asyncio", "yaml", "click", "rich", "jsonschema")

PROBE = """
import builtins, io, json, sys, time
import snakemake_interface_executor_plugins
before = set(sys.modules)
begun = time.process_time()
import snakemake_executor_plugin_osgpilot
spent_ms = 1000 * (time.process_time() - begun)
print(json.dumps([spent_ms, sorted(set(sys.modules) - before)]))
"""


def probe():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_the_plugin_is_light():
    # processor time, the least of several: the machine may be busy with other things
    assert min(probe()[0] for _ in range(5)) < BUDGET_MS


def test_importing_the_plugin_brings_nothing_heavy():
    imported = probe()[1]
    assert not set(HEAVY) & set(imported)


def test_snakemake_finds_and_accepts_the_plugin():
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    plugin = ExecutorPluginRegistry().get_plugin("osgpilot")
    assert plugin.common_settings.can_transfer_local_files
    assert plugin.settings_cls is not None


def test_unknown_names_are_errors():
    import snakemake_executor_plugin_osgpilot

    with pytest.raises(AttributeError):
        _ = snakemake_executor_plugin_osgpilot.nonsense
