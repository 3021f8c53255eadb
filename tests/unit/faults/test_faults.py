"""The fault that cuts outputs: those that came and were not looked at yet, and no others."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.storage import CUTTER

WHOLE = b"0123456789"


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / ".snakemake/osgpilot/20260101-1/jobs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def snakemake():
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def comes_back(jobs, key):
    """Have a job bring its output back."""
    back = jobs / key / "osgpilot-out"
    back.mkdir(parents=True)
    (back / ".osgpilot-manifest").write_bytes(b"10\0o\0" + b"end\0")
    (back / "o").write_bytes(WHOLE)
    return back / "o"


def is_stopped(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_only_what_comes_while_snakemake_cannot_look_is_cut(jobs, snakemake, tmp_path):
    placed = tmp_path / "placed"
    os.link(comes_back(jobs, "000001"), placed)
    argv = [sys.executable, "-c", CUTTER, str(snakemake.pid), "2"]
    cutter = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE)
    came = []
    while cutter.poll() is None:
        if is_stopped(snakemake):
            came.append(comes_back(jobs, f"1{len(came):05}"))
        time.sleep(0.02)
    assert cutter.communicate() == (b"2\n", None)
    assert [each.stat().st_size for each in came].count(len(WHOLE) // 2) == 2
    assert placed.read_bytes() == WHOLE
    assert not is_stopped(snakemake)
