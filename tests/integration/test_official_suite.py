"""Snakemake's own test-suite for executors, on the pool."""

from pathlib import Path

import snakemake.common.tests
import yaml
from conftest import SITE, nothing_left

from snakemake_executor_plugin_osgpilot import ExecutorSettings


class OnThePool(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    """The properties of an executor that the suite asks for."""

    def get_executor(self) -> str:
        return "osgpilot"

    def get_executor_settings(self) -> ExecutorSettings:
        site = Path.home() / "official-suite-site.yaml"
        site.write_text(yaml.safe_dump(SITE))
        return ExecutorSettings(
            project="TestProject",
            site=site,
            max_pilots=2,
            runtime_image="/opt/sif/runtime.sif",
            offload="always",
        )

    def cleanup_test(self) -> None:
        assert nothing_left()


class TestSharedFileSystem(OnThePool):
    __test__ = True


class TestNoSharedFileSystem(OnThePool):
    __test__ = True

    def get_assume_shared_fs(self) -> bool:
        return False
