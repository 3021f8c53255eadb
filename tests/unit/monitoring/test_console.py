"""Progress on the console: content, place and frequency."""

import io
import logging
from contextlib import ExitStack
from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.common.durations import duration
from snakemake_executor_plugin_osgpilot.common.log_output import attached
from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.monitoring.console import (
    ProgressReporter,
    SnakemakeHandler,
    StatusLine,
)
from snakemake_executor_plugin_osgpilot.monitoring.progress import Progress
from snakemake_executor_plugin_osgpilot.scaling.planner.eta import Eta

BEGUN = Progress(waiting=3, running=1, done=0, failed=0, pending=1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ColorizingTextHandler(logging.StreamHandler):
    """Named as Snakemake's own."""


@pytest.fixture
def now(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return {"s": 0.0}


class Listening(logging.Handler):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


@pytest.fixture
def reporting(now):
    """Make a reporter on a stream, the logger that stands for Snakemake's, and what that logs."""
    with ExitStack() as undo:

        def make(stream):
            logger, listening = logging.Logger("test"), Listening()
            logger.addHandler(ColorizingTextHandler(stream))
            logger.addHandler(listening)
            undo.enter_context(attached(SnakemakeHandler(logger, Redactor())))
            return ProgressReporter(logger, lambda: now["s"]), logger, listening.said

        yield make


def test_line_omits_empty_states():
    assert BEGUN.line == "jobs: 3 waiting, 1 running, 0 done; pilots: 1 pending"
    more = replace(BEGUN, failed=1, to_come=9, pending=0, eta=Eta(90.0, 90.0))
    assert more.line == (
        "jobs: 3 waiting, 1 running, 0 done, 1 failed, 9 not yet ready; pilots: none; "
        "about 1 min 30 s to go"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5 s"),
        (119, "1 min 59 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text


def test_status_line_stays_below_the_log(reporting, now):
    terminal = Terminal()
    reporter, logger, said = reporting(terminal)
    reporter.show(BEGUN)
    logger.warning("hello")
    now["s"] = 2.0
    reporter.show(replace(BEGUN, done=1))
    reporter.close()
    lines = terminal.getvalue().split("\n")
    assert said == ["hello"]
    assert lines[0].endswith("\r\r\x1b[2Khello"), "the status line was removed first"
    assert "1 done" in lines[1]
    assert lines[-1].endswith("\x1b[2K"), "and at the end"


def test_log_line_is_never_split(now):
    terminal = Terminal()
    footer = StatusLine(terminal)
    footer.write("half of ")
    footer.show("a run", "progress")
    footer.write("a line\n")
    footer.flush()
    assert "half of a line\n" in terminal.getvalue()


def test_several_runs_share_the_status_line(now):
    terminal = Terminal()
    logger = logging.Logger("test")
    logger.addHandler(ColorizingTextHandler(terminal))
    first, second = (ProgressReporter(logger, lambda: 0.0) for _ in range(2))
    first.show(BEGUN)
    second.show(replace(BEGUN, waiting=7))
    last = terminal.getvalue().split("\x1b[2K")[-1]
    assert "0/4 jobs, 1 running, 0/1 pilots" in last
    assert "|" in last


def test_narrow_terminal_gets_brief_line(reporting):
    terminal = Terminal()
    reporter, _, _ = reporting(terminal)
    reporter.show(replace(BEGUN, done=10, to_come=9, eta=Eta(90.0, 300.0)))
    line = terminal.getvalue().rstrip("\r").split("\r")[-1]
    assert line == "osgpilot: 10/23 jobs, 1 running, 0/1 pilots; 1 min 30 s to 5 min to go"


def test_log_gets_periodic_lines_on_change(reporting, now):
    reporter, _, said = reporting(io.StringIO())
    for second in range(600):
        now["s"] = float(second)
        reporter.show(replace(BEGUN, done=second))
    assert 20 <= len(said) <= 30
    for second in range(600, 1200):
        now["s"] = float(second)
        reporter.show(replace(BEGUN, done=599))
    assert len(said) <= 31


def test_idle_run_logs_no_progress(reporting):
    reporter, _, said = reporting(io.StringIO())
    reporter.show(Progress(0, 0, 5, 0))
    assert said == []
