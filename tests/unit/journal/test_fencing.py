"""A process that lost its run stops at once and changes nothing."""

import itertools
import subprocess
import sys
import time

import pytest
from doubles import FakeAccessPoint, FakeSlurm

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RunTakenOverError
from snakemake_executor_plugin_osgpilot.journal.fencing import Guarded, Tenure
from snakemake_executor_plugin_osgpilot.journal.process import started

LOSER = """
import subprocess, sys, threading, time
from snakemake_executor_plugin_osgpilot.errors import RunTakenOverError
from snakemake_executor_plugin_osgpilot.journal.fencing import stop

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
try:
    # as Snakemake does, which tells failures and deletes outputs on its way out
    lost = RunTakenOverError("run r1 was taken over by process 7 on b")
    threading.Thread(target=stop, args=(lost,)).start()
    time.sleep(600)
finally:
    print("cleaned up", flush=True)
"""


def test_fenced_process_exits_with_one_line_and_no_cleanup():
    done = subprocess.run([sys.executable, "-c", LOSER], capture_output=True, text=True)
    child = done.stdout.strip()
    assert child.isdigit(), "nothing else was done"
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("osgpilot: run r1 was taken over by process 7 on b; this Snakemake")
    while started(int(child)):
        time.sleep(0.05)


@pytest.mark.parametrize(
    "error", [RunTakenOverError("it is gone"), OutcomeUnknownError("the disk is away")]
)
def test_each_request_checks_that_the_run_is_held(error):
    def check():
        if error:
            raise error

    there, slurm = FakeAccessPoint(), FakeSlurm()
    queue, cluster = Guarded(there, check), Guarded(slurm, check)
    asked = (
        lambda: queue.remove(None, "over"),
        lambda: queue.events(),
        lambda: cluster.kill(["1"]),
        lambda: cluster.look(),
    )
    for ask in asked:
        with pytest.raises(type(error)):
            ask()
    assert (there.removed_all, slurm.killed, slurm.looks) == (0, [], 0)
    assert queue.room == there.room
    error = None
    queue.remove(None, "over")
    cluster.kill(["1"])
    assert (there.removed_all, slurm.killed) == (1, ["1"])


def test_unknown_tenure_is_logged_once_per_period(logged):
    answers = iter([1, 0, 0, 1, 0, 1])

    def check():
        if not next(answers):
            raise OutcomeUnknownError("it is locked")

    tenure = Tenure(check, itertools.count().__next__)
    assert [tenure.is_certain() for _ in range(6)] == [True, False, False, True, False, True]
    assert logged.warnings == ["jobs that finish are processed later: it is locked"] * 2


def test_a_check_counts_for_a_moment_unless_it_failed():
    answers, times_s = iter([1, 0, 1]), [0.0, 0.1, 0.19, 0.3, 0.31, 0.4]

    def check():
        if not next(answers):
            raise OutcomeUnknownError("it is locked")

    tenure = Tenure(check, iter(times_s).__next__)
    assert [tenure.is_certain() for _ in times_s] == [True, True, True, False, True, True]
    assert not list(answers)
