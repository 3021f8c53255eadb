"""A real pool of these tests' own; everything here runs on the machine that hosts it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import patience
import pytest

from snakemake_executor_plugin_osgpilot.local_pool.session import exec_argv
from snakemake_executor_plugin_osgpilot.local_pool.state import Running, find

KINDS = ("mnt", "net", "pid", "user", "uts", "ipc")
REPOSITORY = Path(__file__).parents[2]
MAIN = "from snakemake_executor_plugin_osgpilot.cli import main; main(prog_name='osgpilot')"

SITE = {
    "site": "LocalPool",
    "resource": "LocalPool-Slurm",
    "central_manager": "ap.localpool:9618",
    "token": "~/osg-token/flock.opensciencegrid.org",
    "image": "/opt/sif/pilot.sif",
    "pilot": {"cores": 4, "memory_mb": 3900, "walltime_min": 60, "idle_min": 1},
    "condor": {"UPDATE_INTERVAL": 5, "MASTER_UPDATE_INTERVAL": 5, "STARTD_CRON_base_PERIOD": "5s"},
}
SNAKEMAKE = (
    *("python", "-m", "snakemake", "--executor", "osgpilot", "--jobs", "unlimited"),
    *("--shared-fs-usage", "none", "--osgpilot-project", "TestProject"),
    *("--osgpilot-offload", "always"),
    *("--osgpilot-site", "site.yaml", "--default-resources", "mem_mb=500", "disk_mb=100"),
)

POWER_LOSS = """
family() {
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
    echo "$1"
}
kill -KILL $(cat "/run/slurmd-$1.pid") $(family "$2")
"""
"""Kills the slurmd of a node and the batch script of the pilot there, all at once."""


def osgpilot(*arguments: str, cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@dataclass(frozen=True)
class Pool:
    """A pool that is up."""

    name: str
    work: Path

    def argv(
        self,
        *argv: str,
        host: str = "login",
        user: str = "alice",
        folder: Path | str | None = None,
    ) -> list[str]:
        """Command line on this machine that runs `argv` inside."""
        return exec_argv(self.name, host, user, folder, argv)

    def run(
        self,
        *argv: str,
        host: str = "login",
        user: str = "alice",
        folder: Path | str | None = None,
        stdin: str = "",
    ) -> "subprocess.CompletedProcess[str]":
        """Run `argv` inside."""
        line = self.argv(*argv, host=host, user=user, folder=folder)
        return subprocess.run(line, input=stdin, capture_output=True, text=True, errors="replace")

    def say(self, *argv: str, **where: str) -> str:
        """Output of `argv`, which must succeed."""
        done = self.run(*argv, **where)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    @property
    def running(self) -> Running:
        """Its status."""
        running = find(self.name)
        assert running is not None
        return running


PATIENCE_S = 480.0
"""Maximum time of a run that ends without intervention."""


def until(question: Callable[[], object], within_s: float = 60.0, what: str = "it") -> None:
    """Ask until the answer is true."""
    patience.until(question, what, within_s)


def processes_in(namespaces: Sequence[str]) -> list[int]:
    """Processes of this machine that are in one of the namespaces ("net:[4026...]")."""
    wanted = set(namespaces)
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if any(_target(process / "ns" / kind) in wanted for kind in KINDS)
    ]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # another user's process, or one that has just ended
        return ""


@pytest.fixture(scope="session")
def built() -> None:
    """The images; takes minutes on a machine that has none yet."""
    done = osgpilot("pool", "build")
    assert done.returncode == 0, done.stderr


@contextmanager
def started(name: str, work: Path) -> Iterator[Pool]:
    """A pool that is up for as long as it is needed."""
    try:
        done = osgpilot("pool", "up", "--name", name, "--work", str(work))
        assert done.returncode == 0, done.stderr
        yield Pool(name, work)
    finally:
        osgpilot("pool", "down", "--name", name)


@pytest.fixture(scope="module")
def pool(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool with a working folder of its own."""
    with started(f"test-{os.getpid()}", tmp_path_factory.mktemp("work")) as pool:
        yield pool
