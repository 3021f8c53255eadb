"""Subprocesses of a run, and their interruption from another thread."""

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
    """The processes that are killed by number."""
    seen = []
    monkeypatch.setattr(programs, "_kill_session", lambda process: seen.append(process.pid))
    return seen


def test_program_that_timed_out_is_killed_once(killed, monkeypatch):
    interrupt = Interrupt()
    really = lambda process: (killed.append(process.pid), process.kill())  # noqa: E731
    monkeypatch.setattr(programs, "_kill_session", really)
    with pytest.raises(OutcomeUnknownError):
        run(["sleep", "600"], timeout_s=0.1, interrupt=interrupt)
    (number,) = killed
    interrupt.now()
    assert killed == [number], "by now, it may be the number of another program"
    assert not interrupt.came


def test_program_with_unreadable_output_is_killed_once(killed, monkeypatch):
    interrupt = Interrupt()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", broken)
    with pytest.raises(KeyboardInterrupt):
        run(["true"], timeout_s=5, interrupt=interrupt)
    before = len(killed)
    interrupt.now()
    assert len(killed) == before


def test_interrupt_ignores_program_that_has_ended(killed):
    interrupt = Interrupt()
    process = subprocess.Popen(["true"], start_new_session=True)
    with interrupt.ends(process):
        # it has ended, and who waits for it does not know yet
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        interrupt.now()
    assert killed == []
    assert not interrupt.came


def test_interrupt_kills_program_with_its_children(tmp_path):
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
