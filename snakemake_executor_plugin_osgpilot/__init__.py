"""Snakemake executor plugin: rule jobs through an HTCondor access point on OSG pilots in Slurm.

Snakemake imports every installed plugin on every call, whichever executor runs, so what it looks
for here is imported when it is first asked for.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.settings import ExecutorSettings, common_settings
    from .executor.plugin import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

_HOME = {
    "Executor": ("executor.plugin", "Executor"),
    "ExecutorSettings": ("config.settings", "ExecutorSettings"),
    "common_settings": ("config.settings", "common_settings"),
}


# whoever runs this decides what is shown (common/log_output.py)
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
