"""Snakemake executor plugin: rule jobs through an HTCondor access point on OSG pilots in Slurm.

Snakemake imports every installed plugin on every call, whichever executor runs, so what it looks
for here is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snakemake_executor_plugin_osgpilot.executor import Executor
    from snakemake_executor_plugin_osgpilot.settings import ExecutorSettings, common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

_HOME = {"Executor": "executor", "ExecutorSettings": "settings", "common_settings": "settings"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
