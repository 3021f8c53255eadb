"""Fixtures of many tests."""

import hypothesis_profile  # noqa: F401
import pytest
from doubles import FakeAccessPoint
from log_capture import Logged

from snakemake_executor_plugin_osgpilot.common.log_output import attached
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.model.resources import Shape


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    return JobManager(ap, Shape(4, 3800))


@pytest.fixture
def logged():
    """The log records of the package during the test."""
    handler = Logged()
    with attached(handler):
        yield handler
