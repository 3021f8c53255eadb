"""The `osgpilot` command."""

from snakemake_executor_plugin_osgpilot.cli.main import main

__all__ = ["main"]
