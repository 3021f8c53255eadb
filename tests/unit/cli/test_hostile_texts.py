"""Text from jobs, nodes and file names reaches terminal, programs and page only as text."""

import ast
import json
import logging
import re
from importlib.resources import files
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from histories import BEGUN_S, NASTY, nasty_lines

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.cli.doctor import _as_lines
from snakemake_executor_plugin_osgpilot.cli.plan import _show
from snakemake_executor_plugin_osgpilot.common.log_output import attached
from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.doctor import checks as doctor_checks
from snakemake_executor_plugin_osgpilot.doctor import findings
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.executor.dispatcher import Dispatcher
from snakemake_executor_plugin_osgpilot.executor.fallback import _PlainSlurm
from snakemake_executor_plugin_osgpilot.executor.local import LocalExecutor
from snakemake_executor_plugin_osgpilot.executor.ospool import OSPoolExecutor
from snakemake_executor_plugin_osgpilot.explain.gather import Answers
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.model.plan import Infeasible, Refusal
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.monitoring.console import SnakemakeHandler, StatusLine
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.preview.dry_plan import Start
from snakemake_executor_plugin_osgpilot.preview.lead_times import Coming
from snakemake_executor_plugin_osgpilot.preview.result import (
    Preview,
    ProjectPreview,
    Sample,
    Verdict,
)
from snakemake_executor_plugin_osgpilot.run.leftovers import Leftovers, RunStatus
from snakemake_executor_plugin_osgpilot.scaling.planner.bounds import Expected

HOSTILE = (
    "\x1b]0;title\x07\x1b]52;c;cHduZWQ=\x1b\\\x1b[2J\x1b[1A\x9b1A\r\b\x7f\x00\x0e\t"
    "\u202e\u2066\u200b\u2028\ufeff[red]x[/red][link=http://e]y[/link][/]:skull:\udcff\ud800"
    + NASTY
)
"""Terminal control sequences, markup of rich, and characters that UTF-8 does not have."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("explain",),
    ("explain", "--json"),
    ("explain", HOSTILE),
    ("explain", "000001"),
    ("explain", "osgpilot-r-3"),
    ("explain", "nothing" + HOSTILE),
    ("report", "--out", "page.html"),
    ("report", "--out", "page.html", "--json"),
    ("report", "--out", f"no\x1b[2J/{'x' * 5}.html"),
)


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with a run in which everybody is hostile, Slurm and HTCondor as well."""
    folder = tmp_path / ".snakemake/osgpilot/r1"
    folder.mkdir(parents=True)
    lines = [json.dumps(line) for line in nasty_lines(HOSTILE)]
    (folder / HISTORY).write_text("".join(f"{line}\n" for line in lines))
    holds = {"1.2": Event(EventKind.HELD, BEGUN_S, text=HOSTILE, code=12)}
    rows = {"osgpilot-r-3": Row("103", "osgpilot-r-3", Seen.QUEUED, HOSTILE)}
    monkeypatch.setattr(
        "snakemake_executor_plugin_osgpilot.cli.explain._ask",
        lambda replayed: Answers(rows, holds, (HOSTILE,)),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: ascii(" ".join(argv))[:40])
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_no_command_lets_a_text_drive_the_terminal(run, argv, terminal):
    colours = {"FORCE_COLOR": "1", "TERM": "xterm-256color"} if terminal else {}
    reported = CliRunner(env=colours).invoke(main, list(argv))
    assert not isinstance(reported.exception, BaseException) or isinstance(
        reported.exception, SystemExit
    )
    assert reported.output
    assert is_harmless(COLOURS.sub("", reported.output) if terminal else reported.output)
    if "--json" in argv:
        assert json.loads(reported.stdout)
        reported.stdout.encode("ascii")
        assert "\\ud800" not in reported.stdout.replace("\\\\", "")


def test_what_is_markup_for_rich_is_shown_as_it_is(run):
    shown = CliRunner(env={"COLUMNS": "400"}).invoke(main, ["status"]).output
    assert "[red]x[/red][link=http://e]y[/link]" in shown
    assert ":skull:" in shown
    assert "\\x1b]52;c;cHduZWQ=" in shown


def test_the_page_and_the_numbers_are_utf_8_without_controls(run):
    done = CliRunner().invoke(main, ["report", "--out", "page.html"])
    assert done.exit_code == 0, done.output
    page = (run / "page.html").read_bytes().decode()
    assert is_harmless(page.replace("\t", " "))
    assert NASTY not in page
    CliRunner().invoke(main, ["status", "--prometheus", "numbers.prom"])
    numbers = (run / "numbers.prom").read_bytes().decode()
    assert is_harmless(numbers)
    assert all(re.fullmatch(r"#.*|\w+\{.*\} [0-9.e+-]+", line) for line in numbers.splitlines())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_that_is_not_utf_8_shows_all_the_same(run, encoding):
    for argv in (["status"], ["explain"], ["status", "--json"]):
        reported = CliRunner(charset=encoding).invoke(main, argv)
        assert reported.exit_code in (0, 3, 4), reported.exception
        assert b"r-3" in reported.stdout_bytes or b"103" in reported.stdout_bytes


def test_cleanup_shows_folders_as_text(monkeypatch):
    from snakemake_executor_plugin_osgpilot.run import cleanup

    found = [
        Leftovers(HOSTILE, f"/home/{HOSTILE}/.snakemake/x", RunStatus.DEAD, {(HOSTILE, "x"): 1})
    ]
    monkeypatch.setattr(cleanup.Cleaner, "find", lambda self: found)
    monkeypatch.setattr(
        cleanup.Cleaner, "remove", lambda self, each, say: say(f"{HOSTILE} is gone")
    )
    for options in ([], ["--yes"], ["--json"]):
        reported = CliRunner().invoke(main, ["cleanup", *options])
        assert "x[/red]" in reported.output
        assert is_harmless(reported.output)


def test_plan_shows_what_slurm_and_rules_say_as_text(capsys):
    small = Shape(1, 512)
    project = ProjectPreview(
        HOSTILE, 1, 2, (Start(0.0, 1, HOSTILE, 60, 1.0, 2.0, HOSTILE),),
        (Refusal(1, HOSTILE, HOSTILE),), (Infeasible(JobClass(small), HOSTILE),),
        Expected((1.0, 2.0), (1.0, 2.0), HOSTILE, (HOSTILE,)), Coming({}, 60.0, None),
        (Verdict(HOSTILE, small, True, HOSTILE, 1.0, 4, ("sbatch", HOSTILE), {HOSTILE: HOSTILE}),),
        (Sample((HOSTILE,), {HOSTILE: HOSTILE}),),
    )  # fmt: skip
    _show(Preview((), (project,), "#!/bin/sh\n"), scripts=True)
    shown = capsys.readouterr().out
    assert "x[/red]" in shown
    assert is_harmless(shown)


def test_doctor_shows_what_a_node_says_as_text(monkeypatch, capsys):
    found = [findings.failed("node", HOSTILE, HOSTILE)]
    monkeypatch.setattr(doctor_checks, "examine_sites", lambda checks, world, say: iter(found))
    _as_lines((), None)
    shown = capsys.readouterr().out
    assert "x[/red]" in shown
    assert is_harmless(shown)


def test_there_is_one_way_out_of_every_command():
    """A test for what others may add: nothing but `cli.output` writes."""
    folder = files("snakemake_executor_plugin_osgpilot") / "cli"
    for module in folder.iterdir():
        if not module.name.endswith(".py") or module.name == "output.py":
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            assert name not in ("click.echo", "click.secho", "print", "Console"), module.name


def test_an_error_that_quotes_others_is_one_harmless_line():
    assert is_harmless(str(InputError(f"sbatch said: {HOSTILE}")))


class Terminal(SimpleNamespace):
    """A stream that keeps what is written."""

    def __init__(self):
        super().__init__(text="")

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def fileno(self):
        raise OSError


def test_the_last_line_of_a_terminal_stays_one_line():
    stream = Terminal()
    StatusLine(stream).show("me", f"waiting for {HOSTILE}\nand more")
    assert stream.text.endswith("\r")
    assert is_harmless(stream.text[:-1])
    assert "\n" not in stream.text


def test_messages_of_a_live_run_are_harmless(caplog):
    logger = logging.getLogger("hostile")
    caplog.set_level(logging.INFO, "hostile")
    package = logging.getLogger("snakemake_executor_plugin_osgpilot.any")
    with attached(SnakemakeHandler(logger, Redactor())):
        for log in (package.info, package.warning):
            log(f"put it on hold: {HOSTILE}")
    assert len(caplog.messages) == 2
    assert all(map(is_harmless, caplog.messages))


class Part(SimpleNamespace):
    """A job of a group, as Snakemake logs it."""

    attempt, restart_times, wildcards_dict = 1, 0, {}

    @property
    def name(self):
        return self.rule

    def get_log_error_info(self, msg=None, indent=False, aux_logs=None, **more):
        from snakemake_interface_logger_plugins.common import LogEvent

        return {
            "rule_name": self.rule, "rule_msg": msg, "jobid": 1, "input": [], "output": ["out"],
            "log": ["own.log", *(aux_logs or ())], "conda_env": None, "container_img": None,
            "aux": more, "indent": indent, "shellcmd": "true", "event": LogEvent.JOB_ERROR,
        }  # fmt: skip

    def log_error(self, msg=None, indent=False, aux_logs=None, **more):
        from snakemake.logging import logger

        extra = self.get_log_error_info(msg, indent, aux_logs, **more)
        logger.error(f"Error in rule {self.rule}, jobid: 1", extra=extra)

    def is_group(self):
        return False


class Group(SimpleNamespace):
    attempt, restart_times = 1, 0

    def is_group(self):
        return True

    def log_error(self, **_):
        raise AssertionError("Snakemake's own report of a group leaves the message out")


@pytest.fixture
def log():
    """Return the lines of Snakemake's log file, by its own formatter."""
    from snakemake.logging import DefaultFormatter, logger

    handler = logging.Handler()
    handler.lines = []
    handler.emit = lambda record: handler.lines.append(DefaultFormatter(quiet=None).format(record))
    logger.addHandler(handler)
    yield lambda: "\n".join(handler.lines)
    logger.removeHandler(handler)


EXECUTORS = (OSPoolExecutor, Dispatcher, LocalExecutor, _PlainSlurm)


def told_by(kind, job, msg, **more):
    """Have an executor of ours report an error; Snakemake's base class logs it."""

    class Base:
        def print_job_error(self, job_info, msg=None, **kwargs):
            job_info.job.log_error(msg, **kwargs)

    reporter = type("Reporter", (kind.__mro__[1] if kind is not _PlainSlurm else kind, Base), {})()
    info = SimpleNamespace(job=job, external_jobid="42")
    reporter.print_job_error(info, msg, **more)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_the_message_that_snakemake_gets_is_harmless(kind, log):
    told_by(kind, Part(rule="map"), f"osgpilot: exit status 1\n{HOSTILE}\n")
    assert is_harmless(log())
    assert "FAILED rule map: exit status 1\n" in log()


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize("message", ["Slurm says FAILED", "", None])
def test_a_failed_group_shows_rules_message_and_log(kind, log, message):
    group = Group(name="g", groupid="g", jobs=[Part(rule="map"), Part(rule="sort")])
    told_by(kind, group, message, aux_logs=["slurm.log", None])
    assert "None" not in log()
    assert "group job g (map, sort): " in log()
    assert (message or "an unknown reason") in log()
    assert "log: slurm.log" in log()
    assert "external_jobid: 42" in log()
    assert log().count("rule map") == 2
    cause = message or "it failed for an unknown reason"
    assert f"FAILED group g (map; sort): {cause}\n" in log()


def test_a_tty_gets_our_colours(run):
    reported = CliRunner(env={"FORCE_COLOR": "1", "TERM": "xterm-256color"}).invoke(
        main, ["status"]
    )
    assert COLOURS.search(reported.output)


def test_every_executor_of_ours_reports_in_this_way():
    from snakemake_executor_plugin_osgpilot.executor.job_reports import Reporting

    assert all(issubclass(kind, Reporting) for kind in EXECUTORS)
    assert all(kind.print_job_error is Reporting.print_job_error for kind in EXECUTORS)


def test_texts_of_the_command_itself_are_not_changed():
    reported = CliRunner().invoke(main, ["doctor", "--list"])
    assert reported.exit_code == 0
    assert "\\x" not in reported.output
