"""Send log records of this package to one handler while a command or a workflow runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PACKAGE = logging.getLogger(__name__.partition(".")[0])
"""The parent of all loggers of this package. Its own handler drops records: without `attached`,
Python would print warnings itself, with secrets and control characters."""

_LABEL: ContextVar[str] = ContextVar("log_label", default="")

_attached: list[logging.Handler] = []


@contextmanager
def attached(handler: logging.Handler) -> Iterator[None]:
    """Pass records of level INFO and above to `handler`.

    Only the handler attached last gets them, and no handler of the root logger: nothing is shown
    twice, in whichever order handlers leave.
    """
    _attached.append(handler)
    _use_last()
    try:
        yield
    finally:
        _attached.remove(handler)
        PACKAGE.removeHandler(handler)
        _use_last()


def _use_last() -> None:
    for handler in _attached[:-1]:
        PACKAGE.removeHandler(handler)
    if _attached:
        PACKAGE.addHandler(_attached[-1])
    PACKAGE.setLevel(logging.INFO if _attached else logging.NOTSET)
    PACKAGE.propagate = not _attached


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Label what is logged inside: with the run it belongs to, if a workflow has several.

    A thread has a context of its own: start it with a copy of this one, or use `set_label` there.
    """
    before = _LABEL.set(label)
    try:
        yield
    finally:
        _LABEL.reset(before)


def set_label(label: str) -> None:
    """Label what is logged from now on in this thread or task, which serves one run."""
    _LABEL.set(label)


def current_label() -> str:
    """Return the label of this context."""
    return _LABEL.get()
