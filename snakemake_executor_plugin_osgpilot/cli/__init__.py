"""The `osgpilot` command."""

from .main import main

__all__ = ["main"]
