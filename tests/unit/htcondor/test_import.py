"""Modules of ours leave the environment of their process as it is."""

import os
import subprocess
import sys

import pytest

CHECK = """
import importlib, os
before = dict(os.environ)
importlib.import_module("snakemake_executor_plugin_osgpilot.{module}")
assert dict(os.environ) == before, os.environ.get("CONDOR_CONFIG")
"""


@pytest.mark.parametrize("module", ["htcondor.worker", "run.assembly", "executor.dispatcher"])
def test_importing_a_module_does_not_configure_htcondor_for_child_processes(module):
    """Without a configuration, importing HTCondor's bindings sets CONDOR_CONFIG to /dev/null."""
    environment = {name: value for name, value in os.environ.items() if name != "CONDOR_CONFIG"}
    check = [sys.executable, "-c", CHECK.format(module=module)]
    done = subprocess.run(check, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
