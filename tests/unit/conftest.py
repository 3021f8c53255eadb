"""What many tests begin with."""

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.core.model import Shape
from snakemake_executor_plugin_osgpilot.queue import Queue


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    return Queue(ap, Shape(4, 3800))
