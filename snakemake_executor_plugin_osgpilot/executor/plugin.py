"""The class that Snakemake looks for in the plugin."""

from __future__ import annotations

from typing import Any

from snakemake_interface_executor_plugins.executors.base import AbstractExecutor


class Executor(AbstractExecutor):  # type: ignore[misc]
    """Makes a `Dispatcher`.

    Snakemake looks at this class on every call, whichever executor runs, so all that a dispatcher
    needs (0.2 s) is imported when one is made.
    """

    def __new__(cls, *args: Any, **named: Any) -> Any:
        """Return a dispatcher, which is no instance of this class."""
        from .dispatcher import Dispatcher

        return Dispatcher(*args, **named)
