"""What many tests begin with."""

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.model.resources import Shape


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    return JobManager(ap, Shape(4, 3800))
