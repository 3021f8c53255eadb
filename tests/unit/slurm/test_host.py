"""Commands and files on their way to the host where Slurm is."""

import subprocess
import threading
import time
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import AbandonedError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host
from snakemake_executor_plugin_osgpilot.slurm.remote_script import answer, script


@pytest.fixture
def host():
    return Host(Here())


def test_status_and_output_are_those_of_the_command(host):
    reported = host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (reported.status, reported.out, reported.err) == (3, "out\n", "err\n")


def test_output_without_a_line_break_stays_as_it_is(host):
    assert host.run(["printf", "a\n\nb"]).out == "a\n\nb"


def test_files_are_there_before_the_command_and_private(host, tmp_path):
    path = tmp_path / "a b" / "it's"
    reported = host.run(["stat", "--printf=%a %s", str(path)], files={path: "two\nlines\n"})
    assert reported.out == "600 10"
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.read_text() == "two\nlines\n"


def test_what_the_command_makes_has_its_usual_permissions(host, tmp_path):
    usual = subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True).stdout
    assert host.run(["sh", "-c", "umask"], files={tmp_path / "f": ""}).out == usual


def test_a_file_written_again_is_new_although_it_did_not_change(host, tmp_path):
    path = tmp_path / "lease"
    path.touch()
    before = path.stat().st_mtime_ns
    time.sleep(0.02)
    host.run(["true"], files={path: ""})
    assert path.stat().st_mtime_ns > before


def test_without_its_files_the_command_is_not_run(host, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutcomeUnknownError, match=r"^files could not be written: .*file"):
        host.run(["touch", f"{tmp_path}/ran"], files={tmp_path / "file" / "x": ""})
    assert not (tmp_path / "ran").exists()


def test_a_command_ends_at_its_deadline(host, tmp_path):
    alive = tmp_path / "alive"
    with pytest.raises(OutcomeUnknownError, match="did not end in time"):
        host.run(["sh", "-c", f"while sleep 0.1; do touch {alive}; done"], timeout_s=1)
    alive.unlink()
    time.sleep(0.3)
    assert not alive.exists()


def test_a_command_that_hangs_is_ended_from_another_thread_with_all_it_started(host, tmp_path):
    alive, began_s = tmp_path / "alive", time.monotonic()

    def interrupt():
        while not alive.exists():
            time.sleep(0.01)
        host.interrupt()

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(AbandonedError, match="`sh` was interrupted"):
        host.run(["sh", "-c", f"while sleep 0.1; do touch {alive}; done"])
    other.join()
    assert time.monotonic() - began_s < 30
    alive.unlink()
    time.sleep(0.3)
    assert not alive.exists()
    assert host.run(["true"]).status == 0


def test_where_nothing_runs_there_is_nothing_to_interrupt(host):
    host.interrupt()
    assert host.run(["true"]).status == 0


@pytest.mark.parametrize("gone", ["/nowhere/sbatch", "osgpilot-no-such-command"])
def test_a_command_that_is_not_there_is_no_answer(host, gone):
    with pytest.raises(OutcomeUnknownError) as failed:
        host.run([gone])
    assert str(failed.value) == f"`{gone}` was not found"


def through_sh(text: str) -> str:
    return subprocess.run(["sh"], input=text, capture_output=True, text=True).stdout


def test_a_command_that_arrives_late_is_not_run(tmp_path):
    argv = ["touch", f"{tmp_path}/ran"]
    out = through_sh(script(argv, {}, mark="M", deadline_s=int(time.time()) - 1, within_s=60))
    with pytest.raises(OutcomeUnknownError, match="too late"):
        answer(out, "", mark="M", what="touch")
    assert not (tmp_path / "ran").exists()


class ClockAhead(Here):
    by_s = 0

    def shell(self):
        tools = f"date() {{ echo $(( $(command date +%s) + {self.by_s} )); }}"
        return ["sh", "-c", f'{tools}\neval "$(cat)"']


def test_a_clock_that_is_off_is_known_and_steady():
    host, seen = Host(there := ClockAhead()), []
    for there.by_s in (0, 600, 602, -600, 0):
        try:
            host.run(["true"])
        except OutcomeUnknownError:
            host.run(["true"])
        seen.append(host.ahead_s)
    assert seen[0] == seen[-1] == 0.0, "it may be the start time of a command"
    assert seen[1] == seen[2] == pytest.approx(600, abs=9)
    assert seen[3] == pytest.approx(-600, abs=9)


def test_changed_remote_clock_is_detected(monkeypatch):
    host = Host(there := ClockAhead())
    host.run(["true"])
    there.by_s = 10_000
    with pytest.raises(OutcomeUnknownError, match="too late"):
        host.run(["true"])
    assert host.run(["true"]).status == 0


WHOLE = "hello\n\nM 1700000000\nout\nM 0\n"


def test_greetings_of_a_login_are_no_output():
    assert answer(WHOLE, "", mark="M", what="x").out == "out"


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_half_an_answer_is_no_answer(length):
    with pytest.raises(
        OutcomeUnknownError, match="the connection broke during `sbatch`: client_loop: disconnect"
    ):
        answer(WHOLE[:length], "client_loop: disconnect\n", mark="M", what="sbatch")


def test_the_script_goes_by_standard_input_alone(host, monkeypatch):
    seen = []
    run = "snakemake_executor_plugin_osgpilot.slurm.host.run"

    def noted(argv, **more):
        seen.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(run, noted)
    with pytest.raises(OutcomeUnknownError):
        host.run(["sbatch", "--comment=x"], files={Path("/w/parameters"): "env A=b\n"})
    assert seen == [["sh"]]
