"""Up, down, and what is left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.local_pool.paths import instance_folder
from snakemake_executor_plugin_osgpilot.local_pool.state import find

from .conftest import KINDS, Pool, osgpilot, processes_in, until


def own_namespaces(pool: Pool) -> list[str]:
    """All namespaces of the pool, none of which is this machine's."""
    pids = [pool.running.supervisor, *pool.running.hosts.values()]
    seen = {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for pid in pids for kind in KINDS}
    return sorted(seen - {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS})


def assert_nothing_left(name: str, namespaces: list[str]) -> None:
    until(lambda: not processes_in(namespaces), 60, "end of all processes")
    assert str(instance_folder(name)) not in Path("/proc/self/mountinfo").read_text()
    assert not instance_folder(name).exists()


@pytest.fixture
def second(pool: Pool, tmp_path: Path):
    """Another pool beside the first."""
    name = f"{pool.name}-b"
    done = osgpilot("pool", "up", "--name", name, "--work", str(tmp_path))
    assert done.returncode == 0, done.stderr
    yield Pool(name, tmp_path)
    osgpilot("pool", "down", "--name", name)


def test_up_means_every_node_is_idle_and_both_access_points_answer(pool: Pool):
    status = json.loads(osgpilot("pool", "status", "--name", pool.name, "--json").stdout)
    assert status["nodes"] == [f"n{number} idle" for number in (1, 2, 3, 4)]
    assert status["access_points"] == ["ap.localpool", "login.localpool"]


def test_up_twice_says_it_is_up(pool: Pool):
    before = pool.running
    again = osgpilot("pool", "up", "--name", pool.name)
    assert again.returncode == 0
    assert "is up already" in again.stdout
    assert pool.running == before


HANGS_ONCE = """
import logging, pathlib, sys
from snakemake_executor_plugin_osgpilot.common.log_output import attached
from snakemake_executor_plugin_osgpilot.local_pool import instance

patience_s, instance.READY_WITHIN_S = instance.READY_WITHIN_S, 0

class Patient(logging.Handler):
    def emit(self, record):
        print(record.getMessage())
        instance.READY_WITHIN_S = patience_s

with attached(Patient()):
    instance.up(sys.argv[1], [pathlib.Path(sys.argv[2])])
"""


def test_a_start_that_hangs_is_reported_and_tried_once_more(pool: Pool, tmp_path: Path):
    name = f"{pool.name}-late"
    line = [sys.executable, "-c", HANGS_ONCE, name, str(tmp_path)]
    try:
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("the pool is not ready after 0 s: login waits for ")
        assert Pool(name, tmp_path).say("hostname") == "login"
    finally:
        osgpilot("pool", "down", "--name", name)


def test_two_pools_do_not_see_each_other(pool: Pool, second: Pool):
    assert not set(own_namespaces(pool)) & set(own_namespaces(second))
    pool.say("sbatch", "--wrap", "sleep 30")
    assert second.say("squeue", "-h") == ""
    assert pool.say("squeue", "-h") != ""
    pool.say("scancel", "-u", "alice")


def test_pools_share_the_environments_that_alice_packed(pool: Pool, second: Pool):
    environments = "/home/alice/.cache/osgpilot/environments"
    name = f"python-of-{pool.name}.sif"
    pool.say("sh", "-c", f"echo packed > {environments}/{name}")
    try:
        assert second.say("cat", f"{environments}/{name}") == "packed"
        assert (
            second.say("stat", "-c", "%U", environments, f"{environments}/{name}").split()
            == ["alice"] * 2
        )
        assert second.run("touch", f"{environments}/{name}", user="bob").returncode != 0
    finally:
        pool.say("rm", f"{environments}/{name}")


def test_down_leaves_no_process_mount_namespace_or_file(second: Pool):
    namespaces = own_namespaces(second)
    assert processes_in(namespaces)
    done = osgpilot("pool", "down", "--name", second.name)
    assert done.returncode == 0, done.stderr
    assert_nothing_left(second.name, namespaces)


def test_down_works_after_the_supervisor_was_killed(second: Pool):
    namespaces = own_namespaces(second)
    os.kill(second.running.supervisor, signal.SIGKILL)
    until(lambda: not processes_in(namespaces), 60, "end of all processes")
    assert find(second.name) is None
    done = osgpilot("pool", "down", "--name", second.name)
    assert done.returncode == 0, done.stderr
    assert_nothing_left(second.name, namespaces)


def test_up_works_after_the_supervisor_was_killed(second: Pool):
    os.kill(second.running.supervisor, signal.SIGKILL)
    until(lambda: find(second.name) is None, 60, "end of the supervisor")
    again = osgpilot("pool", "up", "--name", second.name, "--work", str(second.work))
    assert again.returncode == 0, again.stderr
    assert "is up after" in again.stdout


CANCELLED = """
cd /tmp
job=$(sbatch --parsable --mem=10 --nodes=2 --ntasks=2 --wrap='setsid sleep 60 & exec sleep 60')
until [ "$(squeue --noheader --jobs="$job" --format=%T)" = RUNNING ] && pgrep -x -f 'sleep 60' >&2
do sleep 0.2; done
scancel "$job"
while squeue --noheader --jobs="$job" --states=RUNNING,COMPLETING | grep -q .; do sleep 0.2; done
pgrep -x -f 'sleep 60'
sinfo --noheader --Node --partition=compute --format=%T
"""


# a Slurm that crashes soon may have forgotten that the job was cancelled, and run it again
@pytest.mark.parametrize("user", ["root", "alice"])
def test_the_end_of_a_job_ends_its_processes_and_drains_no_node(pool: Pool, user: str):
    done = pool.run("timeout", "60", "sh", "-c", CANCELLED, user=user)
    assert done.stdout.split() == ["idle"] * 4, done.stderr


def test_down_of_nothing_is_no_error(pool: Pool):
    done = osgpilot("pool", "down", "--name", f"{pool.name}-none")
    assert done.returncode == 0
    assert "was not up" in done.stdout


@pytest.mark.parametrize("service", ["condor", "slurmctld", "slurmd", "munge"])
def test_a_service_comes_back_after_a_crash(pool: Pool, service: str):
    pool.say("pool-svc", service, "kill", user="root")
    pool.say("pool-svc", service, "start", user="root")
    pool.say("timeout", "180", "pool-svc", "ready", user="root")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--name", "Not A Name"], "--name"),
        (["exec", "--name", "not-there", "--", "true"], "osgpilot pool up --name not-there"),
        (["up", "--name", "not-there", "--work", "/usr"], "hide the pool's own files"),
        (["up", "--name", "not-there", "--work", "/no/such"], "no such folder"),
    ],
)
def test_refusals_are_one_line_that_says_what_to_do(arguments: list[str], words: str):
    done = osgpilot("pool", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
