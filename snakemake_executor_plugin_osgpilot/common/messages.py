"""The interface by which code reports to the user, whoever calls it."""

from __future__ import annotations

from typing import Protocol


class Messages(Protocol):
    """Takes messages for the user; a `logging.Logger` is one."""

    def info(self, text: str, /) -> None:
        """Report what is done."""

    def warning(self, text: str, /) -> None:
        """Report a possible problem."""


class _Silent:
    def info(self, text: str, /) -> None:
        pass

    def warning(self, text: str, /) -> None:
        pass


SILENT: Messages = _Silent()
"""Takes no notice of messages."""
