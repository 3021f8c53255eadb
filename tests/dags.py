"""Workflows as Snakemake has them when it makes its executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import (
    DAGSettings,
    ExecutionSettings,
    GroupSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry


@contextmanager
def workflow_of(text: str, **groups: Any) -> Iterator[Any]:
    """Yield the workflow of a Snakefile with this text, which is written to the current folder."""
    Path("Snakefile").write_text(text)
    output = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        made = api.workflow(ResourceSettings(nodes=1, cores=8), snakefile=Path("Snakefile"))
        made.dag(DAGSettings(targets={"all"})).printrulegraph()
        workflow = made._workflow
        workflow.execution_settings = ExecutionSettings()
        workflow.group_settings = GroupSettings(**groups)
        # a local executor has no groups
        workflow._executor_plugin = ExecutorPluginRegistry().get_plugin("osgpilot")
        workflow.async_run(workflow.dag.postprocess())
        yield workflow
