"""Programs that are started for a run, and how they are ended from another thread."""

import os
import signal
import subprocess
import threading
import time

import pytest

from snakemake_executor_plugin_osgpilot.common import subprocesses as programs
from snakemake_executor_plugin_osgpilot.common.subprocesses import Interrupt, run
from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError


@pytest.fixture
def killed(monkeypatch):
    """What is killed by number."""
    seen = []
    monkeypatch.setattr(programs, "_kill_session", lambda process: seen.append(process.pid))
    return seen


def test_a_program_that_was_too_slow_is_not_ended_again_later(killed, monkeypatch):
    interrupt = Interrupt()
    really = lambda process: (killed.append(process.pid), process.kill())  # noqa: E731
    monkeypatch.setattr(programs, "_kill_session", really)
    with pytest.raises(OutcomeUnknownError):
        run(["sleep", "600"], timeout_s=0.1, interrupt=interrupt)
    (number,) = killed
    interrupt.now()
    assert killed == [number], "by now, it may be the number of another program"
    assert not interrupt.came


def test_a_program_whose_output_cannot_be_had_is_not_ended_again_later(killed, monkeypatch):
    interrupt = Interrupt()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", broken)
    with pytest.raises(KeyboardInterrupt):
        run(["true"], timeout_s=5, interrupt=interrupt)
    before = len(killed)
    interrupt.now()
    assert len(killed) == before


def test_one_that_has_ended_by_itself_is_left_alone(killed):
    interrupt = Interrupt()
    process = subprocess.Popen(["true"], start_new_session=True)
    with interrupt.ends(process):
        # it has ended, and who waits for it does not know yet
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        interrupt.now()
    assert killed == []
    assert not interrupt.came


def test_one_that_runs_is_ended_with_all_it_started(tmp_path):
    interrupt, alive = Interrupt(), tmp_path / "alive"

    def when_it_runs():
        while not alive.exists():
            time.sleep(0.01)
        interrupt.now()

    other = threading.Thread(target=when_it_runs)
    other.start()
    line = f"timeout 600 sh -c 'while sleep 0.1; do touch {alive}; done'"
    done = run(["sh", "-c", line], timeout_s=60, interrupt=interrupt)
    other.join()
    assert done.returncode == -signal.SIGKILL
    assert interrupt.came
    alive.unlink()
    time.sleep(0.3)
    assert not alive.exists()
