"""Commands that find runs, jobs, logs and processes by name."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from histories import BEGUN_S, LIFE, pilot, queued, ran, served

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.cli.text_layout import columns
from snakemake_executor_plugin_osgpilot.journal.process import started, this_process
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY
from snakemake_executor_plugin_osgpilot.report import run_list
from snakemake_executor_plugin_osgpilot.run.cancel import interrupt

DONE = [LIFE, queued("a", "000001"), *ran("000001", 1, 60, 90), *served(1, BEGUN_S + 100)]
END = {"kind": "end", "at_s": BEGUN_S + 100, "live": 0, "detached": False, "interrupted": False}
FAILED = {"kind": "failed", "at_s": BEGUN_S + 91, "job": "000001",
          "text": "osgpilot: the command failed with exit status 3 (on n1)\n"}  # fmt: skip


@pytest.fixture
def osgpilot(tmp_path):
    def run(*argv):
        return CliRunner().invoke(main, [*argv, "--dir", str(tmp_path)])

    def write(name, *lines, at_s=None):
        folder = tmp_path / ".snakemake/osgpilot" / name
        folder.mkdir(parents=True, exist_ok=True)
        history = folder / HISTORY
        history.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if at_s:
            os.utime(history, (at_s, at_s))
        return folder

    run.write = write
    return run


def test_a_history_that_ended_is_replayed_for_a_list_only_once(osgpilot, monkeypatch):
    ended = osgpilot.write("20260101-1-aa", *DONE, END)
    first = json.loads(osgpilot("runs", "--json").output)
    monkeypatch.setattr(run_list, "Watched", None)
    (row,) = json.loads(osgpilot("runs", "--json").output)
    assert {**row, "bytes": 0} == {**first[0], "bytes": 0}
    monkeypatch.undo()
    osgpilot.write(ended.name, *DONE, FAILED, END)
    assert json.loads(osgpilot("runs", "--json").output)[0]["state"] == "failed"


@pytest.mark.parametrize("damage", [
    "", "[1]", "{", '{"of": 1}', "[" * 900, "\0", '{"state": "done"', "null",
])  # fmt: skip
def test_a_damaged_copy_of_what_is_listed_changes_nothing(osgpilot, damage):
    folder = osgpilot.write("20260101-1-aa", *DONE, END)
    first = osgpilot("runs").output
    (folder / run_list.KEPT).write_text(damage)
    assert osgpilot("runs").output == first


@pytest.mark.parametrize("wrong", [
    {"done": "all"}, {"took_s": None}, {"state": 7}, {"more": 1}, {"done": [1]},
])  # fmt: skip
def test_what_is_listed_has_the_right_types(osgpilot, wrong):
    folder = osgpilot.write("20260101-1-aa", *DONE, END)
    first = osgpilot("runs").output
    kept = folder / run_list.KEPT
    kept.write_text(json.dumps({**json.loads(kept.read_text()), **wrong}))
    assert osgpilot("runs").output == first


def test_a_run_that_did_not_end_is_replayed_for_each_list(osgpilot):
    folder = osgpilot.write("20260101-1-aa", *DONE)
    osgpilot("runs")
    assert not (folder / run_list.KEPT).exists()


def test_runs_are_listed_with_state_and_size_the_newest_first(osgpilot):
    osgpilot.write("20260101-1-aa", *DONE, END, at_s=1000)
    osgpilot.write("20260102-1-bb", *DONE, FAILED, END, at_s=2000)
    osgpilot.write("20260103-1-cc", *DONE, {**END, "interrupted": True}, at_s=3000)
    osgpilot.write("20260104-1-dd", {**LIFE, "version": 2}, at_s=4000)
    rows = json.loads(osgpilot("runs", "--json").output)
    assert [(row["run"][-2:], row["state"], row["done"], row["failed"]) for row in rows] == [
        ("dd", "unreadable", 0, 0), ("cc", "interrupted", 1, 0), ("bb", "failed", 0, 1),
        ("aa", "done", 1, 0),
    ]  # fmt: skip
    assert all(row["bytes"] > 100 for row in rows)
    lines = osgpilot("runs", "--last", "3").output.splitlines()
    assert lines[0].split() == [
        "run",
        "state",
        "took",
        "jobs",
        "done",
        "failed",
        "core-hours",
        "MB",
    ]
    assert lines[-1] == "and 1 earlier: --last 4"
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)


SECOND = {**LIFE, "run": "20260102-1-bb"}
IDLE = {**END, "to_come": 0}


NO_WORK = {
    "kind": "plan", "at_s": 1.0, "waiting": 0, "running": 0, "to_come": 0, "actions": [],
    "refusals": [],
}  # fmt: skip


@pytest.mark.parametrize("planned", [[], [NO_WORK]], ids=["at once", "after a decision"])
def test_a_run_with_nothing_to_do_does_not_hide_the_one_before_it(planned, osgpilot, tmp_path):
    osgpilot.write("20260101-1-aa", *DONE, END, at_s=1000)
    osgpilot.write("20260102-1-bb", SECOND, *planned, IDLE, at_s=2000)
    assert LIFE["run"] in osgpilot("status").output
    assert LIFE["run"] in osgpilot("report", "--out", str(tmp_path / "page.html")).output
    assert "20260102-1-bb" in osgpilot("status", "--run", "20260102").output


@pytest.mark.parametrize(
    "lines",
    [
        [SECOND],
        [SECOND, {**IDLE, "error": "the disk is full"}],
        [SECOND, {**IDLE, "interrupted": True}],
        [SECOND, {**IDLE, "to_come": 3}],
        [SECOND, IDLE, SECOND],
        [SECOND, {"kind": "steps", "done": 1, "total": 1}, IDLE],
        [SECOND, {**NO_WORK, "to_come": 3}, IDLE],
        [SECOND, queued("a", "000001"), IDLE],
    ],
    ids=[
        "begun",
        "error",
        "interrupted",
        "unfinished",
        "resumed",
        "local rules",
        "planned",
        "jobs",
    ],
)
def test_a_run_that_had_something_to_do_is_shown_although_no_job_ran(osgpilot, lines):
    osgpilot.write("20260101-1-aa", *DONE, END, at_s=1000)
    osgpilot.write("20260102-1-bb", *lines, at_s=2000)
    assert "20260102-1-bb" in osgpilot("status").output


def test_a_single_run_with_nothing_to_do_is_shown(osgpilot):
    osgpilot.write("20260102-1-bb", SECOND, IDLE)
    assert "20260102-1-bb" in osgpilot("status").output


def test_a_folder_without_runs_says_so(osgpilot):
    for command in ("runs", "status", "cancel"):
        missing = osgpilot(command)
        assert (missing.exit_code, missing.output.count("\n")) == (1, 1)
        assert "there is no run of osgpilot in" in missing.output


@pytest.mark.parametrize("command", ["status", "runs", "explain"])
def test_a_current_folder_that_was_deleted_is_named_in_one_line(tmp_path, monkeypatch, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    refused = CliRunner().invoke(main, [command])
    assert refused.exit_code == 1
    assert refused.output.splitlines()[-1].startswith("Error: the current folder no longer exists")


def test_runs_of_another_user_are_not_reported_as_missing(osgpilot, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/osgpilot"))
    assert "there is no run" in osgpilot("status").output
    (osgpilot.write("20260101-1-aa", *DONE) / HISTORY).unlink()
    refused = osgpilot("status")
    assert refused.exit_code == 1
    assert "are of another user" in refused.output
    assert "osgpilot cannot be read" in refused.output


def test_output_that_finds_no_room_is_one_line(osgpilot, tmp_path):
    osgpilot.write("20260101-1-aa", *DONE)
    command = "from snakemake_executor_plugin_osgpilot.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        refused = subprocess.run(
            [sys.executable, "-c", command, "status", "--dir", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert refused.returncode == 1
    assert refused.stderr == "Error: the output cannot be written: No space left on device\n"


def test_a_run_is_named_by_the_beginning_of_its_id(osgpilot):
    osgpilot.write("20260101-1-aa", *DONE, END)
    osgpilot.write("20260102-1-bb", *DONE, FAILED, END)
    assert osgpilot("status", "--run", "20260101").exit_code == 0
    assert osgpilot("status", "--run", "20260102-1-bb").exit_code == 3
    both = osgpilot("status", "--run", "2026")
    assert both.exit_code == 1
    assert "several runs begin with 2026: " in both.output
    assert "run 2027 is not in" in osgpilot("status", "--run", "2027").output


@pytest.fixture
def logged(osgpilot):
    folder = osgpilot.write(
        "20260101-1-aa", LIFE, queued("a", "000001", "000002"), *ran("000001", 1, 60, 90, 3),
        FAILED, {**queued("b", "000003"), "jobs": [["000003", "n=3", "7", "out/3"]]},
        pilot(4, "failed", BEGUN_S, failure="NODE_FAIL"),
    )  # fmt: skip
    for name, text in (
        ("jobs/000001/output", "first\n" * 90 + "password=opensesame\nno \x1b[2J gatk\n"),
        ("jobs/000003/output", "of b\n"),
        ("pilots/osgpilot-r-4/slurm.log", "slurmstepd: error\n"),
    ):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    osgpilot.folder = folder
    return osgpilot


def test_logs_of_a_job_a_rule_and_a_pilot_are_shown(logged):
    shown = logged("logs", "a")
    assert shown.exit_code == 0
    head, *lines = shown.output.splitlines()
    assert head.startswith("==> rule a (n=000001) (HTCondor job 1.1): failed, exit status 3: ")
    assert head.endswith("jobs/000001/output")
    assert len(lines) == 50
    assert lines[-1] == r"no \x1b[2J gatk"
    assert "opensesame" not in shown.output
    for name in ("7", "out/3", "000003", "b"):
        assert logged("logs", name).output.endswith("of b\n")
    for name in ("104", "osgpilot-r-4"):
        assert "slurmstepd: error" in logged("logs", name).output
    assert logged("logs", "a", "--paths").output.strip().endswith("jobs/000001/output")
    (entry,) = json.loads(logged("logs", "104", "--json").output)
    assert entry["of"] == "pilot 104: failed"


def test_the_log_of_the_rule_of_a_failed_job_is_shown_and_named(osgpilot, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.log").write_text("no such contig\n")
    failed = {**FAILED, "logs": ["logs/a.log", str(tmp_path / "logs/none.log")]}
    osgpilot.write("20260101-1-aa", *DONE, failed)
    shown = osgpilot("logs", "a")
    assert shown.exit_code == 0, shown.output
    assert shown.output.endswith("logs/a.log\nno such contig\n")
    assert "the log of the rule: logs/a.log" in osgpilot("explain", "a").output


def test_a_log_that_is_not_there_or_a_link_is_not_shown(logged, tmp_path):
    assert "has no rule, job or pilot 'c'" in logged("logs", "c").output
    assert logged("logs", "000002").exit_code == 1
    (tmp_path / "secret").write_text("mine\n")
    (logged.folder / "jobs/000002").mkdir()
    (logged.folder / "jobs/000002/output").symlink_to(tmp_path / "secret")
    missing = logged("logs", "000002")
    assert missing.exit_code == 1
    assert "there is no output here" in missing.output


RUNNER = """
import signal, sys, time
from pathlib import Path
path, line = Path(sys.argv[1]), sys.argv[2]
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    with path.open("a") as file:
        file.write(line + "\\n")
"""


@pytest.fixture
def live(osgpilot):
    """A run that a process drives, which ends it on Ctrl-C."""
    folder = osgpilot.write("20260101-1-aa", *DONE)
    end = json.dumps({**END, "interrupted": True})
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(folder / HISTORY), end], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    holder = asdict(this_process()) | {"pid": process.pid, "started": started(process.pid)}
    osgpilot.write("20260101-1-aa", {**LIFE, "holder": holder}, *DONE[1:])
    osgpilot.holder = holder
    yield osgpilot
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_live_run_is_cancelled_from_another_terminal(live):
    assert "nothing was cancelled" in live("cancel").output
    assert json.loads(live("status", "--json").output)["state"] == "running"
    ended = live("cancel", "--yes")
    assert (ended.exit_code, ended.output) == (0, "run 20260101-1-aa: interrupted\n")
    assert live("status").exit_code == 3
    again = live("cancel", "--yes")
    assert again.exit_code == 1
    assert "is not live" in again.output


def test_only_the_process_of_the_run_gets_the_signal(live):
    elsewhere = {**LIFE, "holder": {**live.holder, "host": "other"}}
    folder = live.write("20260101-1-aa", elsewhere, *DONE[1:])
    (folder / "lease").touch()
    refused = live("cancel", "--yes")
    assert refused.exit_code == 1
    assert "on other: cancel it there" in refused.output
    live.write("20260101-1-aa", {**LIFE, "holder": {**live.holder, "started": "1"}}, *DONE[1:])
    assert "is not live" in live("cancel", "--yes").output


def test_a_run_in_the_background_that_ignores_ctrl_c_is_terminated():
    text = "trap '' INT; echo ready; exec sleep 60"
    with subprocess.Popen(["bash", "-c", text], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        holder = replace(this_process(), pid=process.pid, started=started(process.pid))
        assert not interrupt("r1", holder)
        assert process.wait(30) == -signal.SIGTERM


def test_columns_are_aligned_without_trailing_blanks():
    rows = [("name", "n"), ("a", "10"), ("long name", "")]
    assert list(columns(rows, right=(1,))) == ["name        n", "a          10", "long name"]


def test_watching_takes_the_whole_terminal_and_gives_it_back(live, tmp_path):
    main_end, terminal_end = pty.openpty()
    fcntl.ioctl(terminal_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal_end)
    code = "from snakemake_executor_plugin_osgpilot.cli import main; main()"
    argv = [
        sys.executable,
        "-c",
        code,
        "status",
        "--watch",
        "--every",
        "60",
        "--dir",
        str(tmp_path),
    ]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        argv, stdin=terminal_end, stdout=terminal_end, stderr=terminal_end, env=environment
    ) as process:
        shown = b""

        def wait_for(text):
            nonlocal shown
            while text not in shown:
                ready, _, _ = select.select([main_end], [], [], 60)
                assert ready, shown
                shown += os.read(main_end, 65536)

        wait_for(b"q quit")
        assert b"\x1b[?1049h" in shown
        assert b"[rules]  pilots  events" in shown
        os.write(main_end, b"\t")
        wait_for(b"rules  [pilots]  events")
        os.write(main_end, b"q")
        wait_for(b"\x1b[?1049l")
        wait_for(b"ran in Slurm jobs")
        assert process.wait(60) == 0
    assert termios.tcgetattr(terminal_end) == before
    os.close(main_end)
    os.close(terminal_end)


@pytest.mark.parametrize(
    ("words", "typed", "offered"),
    [
        (["logs", "--dir", "{folder}"], "", {"a", "b", "104"}),
        (["explain", "--dir", "{folder}"], "1", {"104"}),
        (["status", "--dir", "{folder}", "--run"], "2026", {"20260101-1-aa"}),
        (["doctor", "--only"], "proj", {"project"}),
    ],
)
def test_the_shell_completes_runs_rules_pilots_and_checks(logged, tmp_path, words, typed, offered):
    argv = [word.replace("{folder}", str(tmp_path)) for word in words]
    completion = ShellComplete(main, {}, "osgpilot", "_OSGPILOT_COMPLETE")
    assert {item.value for item in completion.get_completions(argv, typed)} == offered
