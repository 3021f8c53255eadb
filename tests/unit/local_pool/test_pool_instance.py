"""Queries of a running pool's processes while they come and go."""

import subprocess
from pathlib import Path

import psutil

from snakemake_executor_plugin_osgpilot.local_pool.instance import host_processes

# one that is PID 1 of the host ap has a parent to be found by; the other child nobody waits for
FAMILY = "sh -c 'sleep 60; :' {folder}/host.sh ap & sh -c : & exec sleep 60"


def test_a_process_that_has_just_ended_hides_no_host(tmp_path: Path):
    line = ["sh", "-c", FAMILY.format(folder=tmp_path)]
    with subprocess.Popen(line, start_new_session=True) as supervisor:
        family = psutil.Process(supervisor.pid)
        try:
            while not any(p.status() == psutil.STATUS_ZOMBIE for p in family.children()):
                assert supervisor.poll() is None
            while len(family.children(recursive=True)) < 3:
                assert supervisor.poll() is None
            assert set(host_processes(supervisor.pid)) == {"ap"}
        finally:
            for process in [*family.children(recursive=True), family]:
                process.kill()
