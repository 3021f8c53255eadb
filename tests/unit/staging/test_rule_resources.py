"""The resources of rules that we read, as the reference tells of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import snakemake_executor_plugin_osgpilot as package
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.rule_resources import RESOURCES, check_names

SOURCE = "".join(path.read_text() for path in Path(package.__file__).parent.rglob("*.py"))
NAMES = {resource.name for resource in RESOURCES}


def test_every_resource_that_is_read_is_documented():
    ours = set(re.findall(r'"(osgpilot_[a-z_]+|osg_project|ospool|gpu_[a-z]+)"', SOURCE))
    ours -= {"osgpilot_", "osgpilot_run", "gpu_type"}
    assert {name for name in ours if not name.startswith("osgpilot_run_")} - NAMES == set()


def test_defaults_that_are_settings_exist():
    for resource in RESOURCES:
        for setting in re.findall(r"`osgpilot-([a-z-]+)`", resource.default):
            assert hasattr(ExecutorSettings, setting.replace("-", "_"))


def test_resources_of_others_are_accepted():
    check_names(
        "rule r", ["threads", "_cores", "slurm_account", "anything", "osgpilot_pilot_cores"]
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("osgpilot_partitoin", "did you mean osgpilot_partition?"),
        ("osgpilot_Pilot_sharing", "did you mean osgpilot_pilot_sharing?"),
        ("osgpilot_xyz", "there are osgpilot_pilot_sharing, "),
    ],
)
def test_a_typo_of_our_resources_is_rejected(name, said):
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        check_names("rule r", [name])
    assert str(raised.value).startswith(f"rule r: there is no resource {name}; ")
