"""Output of all commands, to a terminal, a pipe or a program.

It often includes texts of jobs, nodes or other programs. These cannot control the terminal and are
not interpreted as markup, and nothing is lost if the output is not in UTF-8.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from .printable import printable, storable

if TYPE_CHECKING:
    from rich.console import Console


def take_any_text() -> None:
    """Make standard output and error escape characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text for people."""
    click.echo(printable(str(text)), nl=nl, err=err)


class EchoHandler(logging.Handler):
    """Prints log records: warnings to standard error, others there only if `err`."""

    def __init__(self, *, err: bool = False) -> None:
        super().__init__()
        self._err = err

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of `record`."""
        echo(record.getMessage(), err=self._err or record.levelno >= logging.WARNING)


def echo_json(content: object, indent: int | None = 1) -> None:
    """Print data for programs, in ASCII."""
    click.echo(json.dumps(_storable(content), indent=indent))


def terminal(**how: Any) -> Console:
    """Return a rich console that shows any text literally."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **style: Any) -> Text:
            # before the layout is computed
            return super().render_str(printable(text), **style)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    return Plain(markup=False, emoji=False, **how)


def _storable(content: object) -> object:
    match content:
        case str():
            return storable(content)
        case dict():
            return {_storable(name): _storable(value) for name, value in content.items()}
        case list() | tuple():
            return [_storable(each) for each in content]
    return content
