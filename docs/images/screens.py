"""Take the pictures of docs/screens.md and docs/screens-run.md: `python docs/images/screens.py`.

Starts a local pool, and in it does as a user what the example workflow is for: a site file, the
checks, a plan, a run that is looked at while it goes on, a report, a run that is killed and what is
left of it. Everything that is shown was printed by the real programs. Needs what the pool and the
tests in a browser need (`./tests/run` installs it), and some minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from camera import HEIGHT, Camera, Terminal, camera, drawing, plain

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.local_pool.session import exec_argv

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = HERE / "screens"
PAGE, RUN_PAGE = HERE.parent / "screens.md", HERE.parent / "screens-run.md"
NAME = "screens"
HOME = "/home/alice/example-workflow"
OSGPILOT = (
    sys.executable,
    "-c",
    "from snakemake_executor_plugin_osgpilot.cli import main; main(prog_name='osgpilot')",
)
BYTES_MAX = 150_000
MADE = "<!-- Made by docs/images/screens.py from a run on a local pool: run it again to change. -->"

RUN = "snakemake --quiet rules host reason progress"
SCREENS = {
    "pool-up": (
        "osgpilot pool up",
        "A pool of real Slurm, HTCondor and Apptainer on this machine, to try everything in.",
    ),
    "site-init": (
        "osgpilot site init",
        "Queries Slurm, asks you for the rest, and writes `site.yaml`.",
    ),
    "site-file": ("cat site.yaml", "The file that was written."),
    "site-check": (
        "osgpilot site check",
        "Compares the file with its schema and with the cluster. Here, the file has 40 cores.",
    ),
    "doctor": (
        "osgpilot doctor",
        "Checks all prerequisites of a run, on this host and on a compute node. One check fails,\n"
        "and its line says how to fix it.",
    ),
    "plan": (
        "osgpilot plan",
        "Shows what a run would do. Before the first run, the runtimes of jobs are unknown, so it\n"
        "shows only limits.",
    ),
    "run": (
        RUN,
        "A run. The last line shows its progress, and the time to go as soon as it is known.",
    ),
    "explain": (
        "osgpilot explain map",
        "Explains why jobs wait, at the same time in another terminal.",
    ),
    "status": ("osgpilot status", "Shows the progress of the run; with `--watch`, continuously."),
    "run-end": (RUN, "The end of the run, 47 jobs later."),
    "status-end": (
        "osgpilot status",
        "Shows after the run what ran in each Slurm job, and how many of the charged core-hours\n"
        "were used.",
    ),
    "report": (
        "osgpilot report",
        "Shows where the core-hours went, as a page ([contents](how-to/report.md)).",
    ),
    "plan-again": (
        "osgpilot plan -- --forceall",
        "The plan of the same run again: the runtimes of jobs are now known.",
    ),
    "status-known": (
        "osgpilot status",
        "A later run: the runtimes of jobs, and so the time to go, are known from the first run.",
    ),
    "cleanup": (
        "osgpilot cleanup",
        "Snakemake was killed. The same command would resume the run; this command removes what\n"
        "is left of it.",
    ),
    "simulate": (
        "osgpilot simulate --workload rounds --jobs 300 --seeds 3",
        "A workflow of 300 jobs on a simulated cluster, compared with lower bounds.",
    ),
}
"""What is shown, in the order of the pages: the command, and what it is for."""

BEFORE = ("pool-up", "site-init", "site-file", "site-check", "doctor", "plan")
"""Shown on the first page; all others are on the second one."""


@dataclass
class Album:
    """Pictures, and what stands on those of terminals."""

    camera: Camera
    scratch: Path
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        """Draw a terminal with what the command printed, and keep it."""
        svg = drawing(text.strip("\n"), f"$ {SCREENS[name][0]}")
        self.texts[name] = plain(text).strip("\n")
        self._shoot(name, f'<body style="margin:0">{svg}', "svg", 1240)

    def add_page(self, name: str, html: str) -> None:
        """Photograph a page that the command wrote, on a light and on a dark screen."""
        self._shoot(name, html, "body", 1100)
        self._shoot(f"{name}-dark", html, "body", 1100, "dark")

    def _shoot(
        self, name: str, html: str, selector: str, width: int, scheme: str = "light"
    ) -> None:
        page, picture = self.scratch / f"{name}.html", OUT / f"{name}.png"
        page.write_text(html, encoding="utf-8")
        self.camera.shoot(page, picture, selector, width, scheme)
        size = picture.stat().st_size
        print(f"{picture.relative_to(ROOT)}: {size // 1000} kB", flush=True)
        assert size < BYTES_MAX, f"{picture} is too large for a page"

    def page(self) -> str:
        """Return the page that shows what comes before a run."""
        return (
            f"# Every command in pictures\n\n{MADE}\n\n"
            "Every command on one real run: the example workflow on a "
            "[local pool](how-to/local-pool.md), in a\nterminal of 100 columns. Their purpose "
            "is explained in [My first site](tutorial/my-first-site.md).\n"
            + "".join(self._part(name) for name in BEFORE)
            + "\nThe run itself, and what comes after it, is on [the next page](screens-run.md).\n"
        )

    def run_page(self) -> str:
        """Return the page that shows a run, and what comes after it."""
        return (
            f"# A run in pictures\n\n{MADE}\n\n"
            "The run that was set up on [the page before](screens.md).\n"
            + "".join(self._part(name) for name in SCREENS if name not in BEFORE)
        )

    def _part(self, name: str) -> str:
        command, about = SCREENS[name]
        picture = f"![{command}](images/screens/{name}.png)\n"
        text = self.texts.get(name, "")
        folded = f"<details><summary>As text</summary>\n\n```text\n{text}\n```\n\n</details>\n"
        return f"\n## {command}\n\n{about}\n\n{picture}" + (f"\n{folded}" if text else "")


def inside(*argv: str, folder: str = HOME) -> list[str]:
    """Return the command line that runs `argv` as alice on the login node."""
    return exec_argv(NAME, "login", "alice", folder, argv)


def tool(*argv: str, folder: str = HOME, **more: bytes) -> str:
    """Return what a command prints that is not shown."""
    done = subprocess.run(inside(*argv, folder=folder), capture_output=True, check=False, **more)
    return done.stdout.decode()


def until(condition: Callable[[], object], what: str, patience_s: float = 240) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what}"
        time.sleep(0.3)


def shown(*argv: str, status: int = 0) -> str:
    """Return what `argv` prints inside, in a terminal."""
    terminal = Terminal(inside(*argv))
    ended = terminal.wait()
    assert ended == status, f"{argv} ended with {ended}:\n{terminal.text}"
    return terminal.text


def last_lines(text: str) -> str:
    """Return what is still on the terminal."""
    return "\n".join(text.rstrip("\n").split("\n")[-HEIGHT:])


def ready(album: Album) -> None:
    """A site file, checked; the doctor; a plan."""
    terminal = Terminal(
        inside("osgpilot", "site", "init", "--central-manager", "ap.localpool:9618")
    )
    for question, answer in (
        ("Name of the site", "LocalPool"),
        ("Name of the resource", "LocalPool-Slurm"),
        ("OSG project", "TestProject"),
        ("Access point", ""),
        ("File with the token", ""),
        ("Pilot container", "/opt/sif/pilot.sif"),
    ):
        until(lambda question=question: question in terminal.text, question)
        terminal.type(f"{answer}\n")
    assert terminal.wait() == 0, terminal.text
    album.add("site-init", terminal.text)
    album.add("site-file", tool("cat", "site.yaml"))
    album.add("site-check", wrong_site())
    album.add("doctor", leaky_token())
    album.add("plan", shown("osgpilot", "plan"))


def wrong_site() -> str:
    good = tool("cat", "site.yaml")
    write("site.yaml", good.replace("    cores: 4\n", "    cores: 40\n", 1))
    text = shown("osgpilot", "site", "check", status=1)
    write("site.yaml", good)
    return text


def leaky_token() -> str:
    token = "/home/alice/osg-token/flock.opensciencegrid.org"
    tool("chmod", "644", token)
    text = shown("osgpilot", "doctor", status=1)
    tool("chmod", "600", token)
    return text


def write(path: str, text: str) -> None:
    tool("sh", "-c", 'cat > "$1"', "-", path, input=text.encode())


def status() -> dict[str, object]:
    answer = tool("osgpilot", "status", "--json")
    found: dict[str, object] = json.loads(answer) if answer else {}
    return found


def progress(name: str) -> int:
    return int(status().get("progress", {}).get(name, 0))  # type: ignore[attr-defined]


def run(album: Album) -> None:
    """A run, looked at from its own terminal and from another one."""
    snakemake = Terminal(inside(*RUN.split()))
    until(lambda: progress("waiting") > 30 or snakemake.ended, "jobs that wait")
    explained = shown("osgpilot", "explain", "map")
    until(lambda: progress("done") > 12 or snakemake.ended, "jobs that have ended")
    seen = shown("osgpilot", "status")
    going = last_lines(snakemake.text)
    assert snakemake.wait() == 0, snakemake.text
    album.add("run", going)
    album.add("status", seen)
    album.add("explain", explained)
    album.add("run-end", last_lines(snakemake.text))
    album.add("status-end", shown("osgpilot", "status"))
    album.add("plan-again", shown("osgpilot", "plan", "--", "--forceall"))
    tool("osgpilot", "report")
    album.add_page("report", tool("cat", "osgpilot-report.html"))


def leavings(album: Album) -> None:
    """A run whose Snakemake is killed, and what is left of it."""
    snakemake = Terminal(inside(*RUN.split(), "--forceall"))
    until(lambda: status().get("state") == "running" or snakemake.ended, "a run")
    until(lambda: progress("done") > 8 or snakemake.ended, "jobs that have ended")
    album.add("status-known", shown("osgpilot", "status"))
    tool("pkill", "-KILL", "-u", "alice", "-f", "bin/snakemake")
    snakemake.wait()
    album.add("cleanup", shown("osgpilot", "cleanup", "--yes"))


def simulation(album: Album) -> None:
    """What would be, in virtual time."""
    album.add("simulate", shown(*SCREENS["simulate"][0].split()))


def pool_up(album: Album) -> None:
    """A pool, with the example workflow in alice's home."""
    terminal = Terminal([*OSGPILOT, "pool", "up", "--name", NAME, "--work", str(ROOT)])
    assert terminal.wait() == 0, terminal.text
    text = terminal.text.replace(f"--name {NAME}", "").replace(str(ROOT), "~/osgpilot")
    album.add("pool-up", text.replace(repr(NAME), "'default'"))
    files = subprocess.run(
        ["tar", "-c", "-C", str(ROOT), "--exclude=.snakemake", "--exclude=results",
         "example-workflow"],
        capture_output=True, check=True,
    )  # fmt: skip
    tool("tar", "-x", folder="/home/alice", input=files.stdout)
    tool("rm", "site.yaml")


def main(argv: Sequence[str]) -> None:
    """Take all pictures and write the pages."""
    if argv:
        raise InputError("there is nothing to choose: all pictures are of one run")
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, camera() as browser:
        album = Album(browser, Path(scratch))
        try:
            for part in (pool_up, ready, run, leavings, simulation):
                part(album)
        finally:
            subprocess.run([*OSGPILOT, "pool", "down", "--name", NAME], check=False)
    PAGE.write_text(album.page(), encoding="utf-8")
    RUN_PAGE.write_text(album.run_page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
