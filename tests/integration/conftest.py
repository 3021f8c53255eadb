"""Runs inside the local pool, on its login host, as an ordinary user."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import patience
import preloaded
import pytest
import yaml
from tls import Trusted

from snakemake_executor_plugin_osgpilot.report.locate import Watched, find
from snakemake_executor_plugin_osgpilot.report.summary import view

PATIENCE_S = 480
"""Most time that a run or a command takes; less than the lease of a job (600 s)."""

SITE = {
    "site": "LocalPool",
    "resource": "LocalPool-Slurm",
    "central_manager": "ap.localpool:9618",
    "token": "~/osg-token/flock.opensciencegrid.org",
    "image": "/opt/sif/pilot.sif",
    "scratch": "/var/tmp",
    "slurm": {"partition": "compute"},
    "pilot": {
        "cores": 4,
        "memory_mb": 3900,
        "memory_headroom_mb": 100,
        "walltime_min": 60,
        "idle_min": 1,
    },
    "condor": {"UPDATE_INTERVAL": 5, "MASTER_UPDATE_INTERVAL": 5, "STARTD_CRON_base_PERIOD": "5s"},
}

PARTITIONS = {
    **{key: value for key, value in SITE.items() if key not in ("pilot", "slurm")},
    "pilot": {"memory_headroom_mb": 100, "idle_min": 2},
    "partitions": [
        {
            "name": "compute",
            "cores": 4,
            "memory_mb": 3900,
            "walltime_max_min": 120,
            "smallest_cores": 1,
        }
    ],
}


def tool(*argv: str) -> str:
    """Return what a command prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def pilots_in_slurm() -> list[str]:
    return tool("squeue", "--noheader", "--me", "--format=%A %j %T").splitlines()


def jobs_in_queue() -> list[str]:
    return tool("condor_q", "-allusers", "-af", "ClusterId", "ProcId", "JobStatus").splitlines()


def past_jobs(run: str) -> list[dict]:
    """Return the ads of a run's jobs that have left the queue, the newest first, without those that
    keep an image.

    The history has jobs of other tests, too: say whose are meant, never how many.
    """
    wanted = f'OSGPilotJobKey =!= undefined && OSGPilotWorkflow == "{run}"'
    return json.loads(tool("condor_history", "-json", "-constraint", wanted))


def until(condition: Callable[[], object], what: str, patience_s: float = 120) -> None:
    """Wait for a condition, not for a time."""
    patience.until(condition, what, patience_s)


PACES = (
    "brisk",
    pytest.param("pilot-real-time", marks=pytest.mark.real_time),
)
"""Intervals of pilots: those of the local pool, and those of the OSG pilot container."""

SITE_AT = {
    "brisk": SITE,
    "pilot-real-time": {
        **SITE,
        "pilot": {**SITE["pilot"], "idle_min": 10, "walltime_min": 15},
        "condor": {"REAL_INTERVALS": "true"},
    },
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_time: takes many minutes; only if selected by name")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "real-time" in config.option.keyword:
        return
    skipped = [item for item in items if item.get_closest_marker("real_time")]
    items[:] = [item for item in items if item not in skipped]
    config.hook.pytest_deselected(items=skipped)


SNAKEMAKE = (sys.executable, "-m", "snakemake")


class Workflow:
    """A working folder with a Snakefile, run by the real Snakemake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site_file = folder / "site.yaml"
        self.write_site(SITE)
        self._process: preloaded.Process | None = None

    def write_site(self, content: dict[str, object]) -> None:
        self.site_file.write_text(yaml.safe_dump(content))

    def snakefile(self, text: str) -> None:
        (self.folder / "Snakefile").write_text(text)

    def argv(self, *extra: str, project: str | None = "TestProject") -> list[str]:
        named = [] if project is None else ["--osgpilot-project", project]
        return [
            *SNAKEMAKE, "--executor", "osgpilot",
            "--jobs", "unlimited", "--shared-fs-usage", "none", *named,
            "--osgpilot-site", str(self.site_file), "--osgpilot-offload", "always",
            "--default-resources", "mem_mb=500", "disk_mb=100",
            *extra,
        ]  # fmt: skip

    def start(self, *extra: str, **named: str | None) -> preloaded.Process:
        argv = self.argv(*extra, **named)[len(SNAKEMAKE) :]
        self._process = preloaded.start(argv, self.folder, self.folder / "said")
        return self._process

    def run(self, *extra: str, **named: str | None) -> int:
        return self.start(*extra, **named).wait(PATIENCE_S)

    def run_beside(self, *extra: str) -> str:
        """Start another Snakemake in the same folder; return what it says, as it has to fail."""
        done = subprocess.run(
            self.argv(*extra), cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode != 0
        return done.stderr

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def record(self) -> dict:
        """Return the latest run as `osgpilot status --json` prints it."""
        watched = Watched(find(self.folder))
        return view(watched.look(), time.time(), alive=watched.is_alive()).plain()

    def past_jobs(self) -> list[dict]:
        """Return the ads of the latest run's jobs that have left the queue, the newest first."""
        return past_jobs(self.record()["run"])

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            print("still running when the test ended, had said:", self.said, sep="\n")
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class WebServer:
    """Serves a folder over HTTP and notes what it was asked for; files only while it is `open`.

    It answers what is sent to it, too, and notes who that says it is from (`sent_by`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.sent_by: list[str] = []
        self.open = threading.Event()
        self.open.set()
        noted = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=folder)  # type: ignore[arg-type]

            def log_request(self, *args: object) -> None:
                noted.asked.append(f"{self.command} {self.path}")

            def do_GET(self) -> None:
                noted.begun.append(self.path)
                noted.open.wait(PATIENCE_S)
                super().do_GET()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                noted.sent_by.append(self.headers["Authorization"])
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"accepted")

        self._server = http.server.ThreadingHTTPServer(("", 0), Handler)
        self.url = f"http://{socket.getfqdn()}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


def cycles(number: int) -> None:
    """Wait for so many negotiation cycles from now on: each offers every idle job to each slot."""
    for _ in range(number):
        reported = tool("condor_status", "-negotiator", "-af", "LastNegotiationCycleTime0")
        until(
            lambda before=reported: (
                tool("condor_status", "-negotiator", "-af", "LastNegotiationCycleTime0") != before
            ),
            "a negotiation cycle",
        )


LEFT_SHOWN = 10
"""Lines that are shown of what a test or a benchmark left behind."""


def nothing_left() -> bool:
    return not pilots_in_slurm() and not jobs_in_queue()


def sweep(patience_s: float = 120) -> None:
    """Take away what a failed test left behind, so that the next one starts clean."""
    if nothing_left():
        return
    listed = tool("condor_q", "-allusers", "-nobatch").splitlines()
    pilots, jobs = pilots_in_slurm(), jobs_in_queue()
    print(f"left behind: {len(pilots)} pilot(s), {len(jobs)} job(s), the first of them:")
    print(*pilots[:LEFT_SHOWN], *listed[:LEFT_SHOWN], sep="\n")
    subprocess.run(["condor_rm", "-all"], check=False, capture_output=True)
    subprocess.run(["scancel", "--me"], check=False, capture_output=True)
    until(
        lambda: (
            subprocess.run(["condor_rm", "-forcex", "-all"], check=False, capture_output=True)
            and nothing_left()
        ),
        "a clean pool",
        patience_s,
    )


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("www"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Trusted:
    return Trusted.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder outside the working folder that the pilots' nodes see, too."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        yield Path(folder)


@pytest.fixture
def full_cluster() -> Iterator[Callable[[], None]]:
    """Leave no room in Slurm, so that pilots and probes wait until this is called."""
    argv = ("sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 3600")
    hogs = [tool(*argv).strip() for _ in range(4)]
    states = ("squeue", "--noheader", f"--jobs={','.join(hogs)}", "--format=%T")
    until(lambda: tool(*states).split() == ["RUNNING"] * 4, "a full cluster")

    def free() -> None:
        subprocess.run(["scancel", *hogs], check=False, capture_output=True)
        until(lambda: not any(row.split()[0] in hogs for row in pilots_in_slurm()), "room in Slurm")

    yield free
    free()


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    made = Workflow(tmp_path)
    yield made
    made.stop()
    sweep()


@pytest.fixture
def local(workflow: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a run with the local executor."""
    return tmp_path_factory.mktemp("local")
