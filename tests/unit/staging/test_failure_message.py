"""The message about a failed job."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import JOB_OUTPUT
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.staging.failure_message import explain


def said(folder: Path, exit_status: int, image: str = "", printed: str = "no bwa") -> str:
    (folder / JOB_OUTPUT).write_text(printed)
    job = Job("1", "map", Request(JobClass(Shape(1, 1)), image), exit_status=exit_status)
    return explain(OsgpilotError("it failed"), job, folder, Redactor())


def test_a_command_that_a_bare_node_lacks_is_explained_by_the_missing_image(tmp_path):
    assert "Name an image that has it" in said(tmp_path, 127)


@pytest.mark.parametrize(
    ("exit_status", "image", "printed"),
    [
        (1, "", "no bwa"),
        (127, "/images/bwa.sif", "no bwa"),
        (127, "", "osgpilot: rule map: …; name an image that has it with container_image"),
    ],
)
def test_other_failures_get_no_such_advice(tmp_path, exit_status, image, printed):
    assert "Name an image" not in said(tmp_path, exit_status, image, printed)
