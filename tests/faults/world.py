"""Workflows on one pool: started, watched, done harm to, and judged at the end."""

from __future__ import annotations

import copy
import hashlib
import os
import random
import re
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import yaml
from pool.conftest import SITE, SNAKEMAKE, Pool

from .remains import EVERY_S, Leftovers
from .workflow import finished, snakefile, twice, wanted

PATIENCE_S = 750.0
"""Maximum time of Snakemake without a new output; a job lease lasts 600 s."""

LEFT_WITHIN_S = 150.0
"""How long after the end pilots that nobody tells to end may take: idle_min is one minute, and they
look at it once a minute."""

ENDS_WITHIN_S = 200.0
"""Maximum time until the end of a Snakemake that was signalled, or whose run was taken over."""

STARTS_MAX, NEARLY_OVER = 4, 0.7
WATCH_EVERY_S = 0.5
PILOTS, PILOT = 2, {"cores": 2, "memory_mb": 1900}

ELSEWHERE = (
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("setpriv", "--reuid=2001", "--regid=2001", "--init-groups"),
    *("env", "HOME=/home/alice", "USER=alice", "LOGNAME=alice"),
)
"""As root: what follows runs as the user where process numbers are others, as on another host."""


@dataclass
class Verdict:
    """The result of a workflow. `again` counts executions that ended beyond the first of each job,
    `statuses` has the exit status of every start of Snakemake. `missed` says why the fault did not
    strike the workflow, if it did not.
    """

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    again: int = 0
    makespan_s: float = 0.0
    statuses: list[int] = field(default_factory=list)
    missed: str = ""

    @property
    def bad(self) -> bool:
        return bool(self.lost or self.duplicated or self.left)


class World:
    """A workflow of `jobs` jobs in `folder`, and the pool it runs on, perhaps beside others.

    `site`, `options`, `environment`, `limits`, `host` and `pilots` (how many) may be changed before
    `start`. `random` decides all that is left to chance; `short` asks for faults that pass soon.
    `remained` takes what was still there when it should not have been, before the end. What is in
    `afterwards` is done when Snakemake has ended; what is in `judges` returns what else was lost.
    """

    def __init__(
        self, pool: Pool, folder: Path, jobs: int, chance: random.Random, remains: Leftovers
    ) -> None:
        self.pool, self.folder, self.jobs, self.random = pool, folder, jobs, chance
        self.short = False
        self.host = "login"
        self.site = {**copy.deepcopy(SITE), "pilot": {**SITE["pilot"], **PILOT}}  # type: ignore[dict-item]
        self.pilots = PILOTS
        self.options = ["--rerun-incomplete", "--nolock"]
        self.environment: dict[str, str] = {}
        self.limits: tuple[str, ...] = ()
        self.statuses: list[int] = []
        self.remained: list[str] = []
        self.missed = ""
        self.afterwards: list[Callable[[], object]] = []
        self.judges: list[Callable[[], list[str]]] = []
        self.private = f"/home/alice/{folder.name}"
        self.shared = f"{self.private}/shared"
        self._remains = remains
        self._inside = Path(f"/proc/{pool.running.hosts['login']}/root")
        self._wanted = wanted(jobs)
        self._said: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier: list[subprocess.Popen[bytes]] = []
        self._begun_s = self._ended_s = 0.0
        self._settled: dict[str, tuple[int, int]] = {}
        self._changed: set[str] = set()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def lasts_s(self, full_s: float, *, short_s: float) -> float:
        """Return how long a fault is to last."""
        return short_s if self.short else full_s

    def alice(self, script: str, *arguments: str) -> str:
        """Run a script as the user on the login host; return what it printed."""
        return self.pool.say("bash", "-c", script, "-", *arguments, folder=self.folder)

    def root(self, script: str, *arguments: str, host: str = "login") -> str:
        """Run a script as root on a host; return what it printed."""
        return self.pool.say("bash", "-c", script, "-", *arguments, host=host, user="root")

    def write(self, path: str, text: str, user: str = "alice") -> None:
        """Write a file on the login host; `path` may be relative to the working folder."""
        done = self.pool.run(
            *("bash", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "-", path),
            user=user, folder=self.folder, stdin=text,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def set_up(self) -> None:
        """Make the workflow, in a folder that may not be seen from outside the pool."""
        self.write("Snakefile", snakefile(self.jobs, self.shared))
        self.write("site.yaml", yaml.safe_dump(self.site))
        for host in {"login", self.host}:
            self.pool.say("mkdir", "-p", self.shared, host=host)

    def start(self, *, elsewhere: bool = False) -> None:
        """Start Snakemake, for the first time or again; always with the same command.

        `elsewhere` starts it where the process that ran before cannot be seen.
        """
        said = self.folder.with_name(f"{self.folder.name}-said-{len(self._said) + 1}")
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        command = (*SNAKEMAKE, *self.options, "--osgpilot-max-pilots", str(self.pilots))
        command += ("--osgpilot-shared-prefixes", self.shared)
        # in a session of its own: a signal to its process group has to find nobody else
        env = ("setsid", "--wait", *self.limits, "env", "--default-signal=INT", *variables)
        where, user = (ELSEWHERE, "root") if elsewhere else ((), "alice")
        argv = self.pool.argv(*where, *env, *command, host=self.host, user=user, folder=self.folder)
        if self.running:
            assert self._process is not None
            self._earlier.append(self._process)
        with said.open("ab") as file:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self._said.append(said)
        if not self._watcher.is_alive():
            self._begun_s = time.monotonic()
            self._watcher.start()

    @property
    def snakemake(self) -> str:
        """The process id of Snakemake inside, which is that of its process group, too."""
        assert self._process is not None
        (child,) = psutil.Process(self._process.pid).children()
        status = Path(f"/proc/{child.pid}/status").read_text()
        found = re.search(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)
        assert found, status
        return found[1]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def under_way(self) -> bool:
        """True if some jobs have ended, and others have not: a fault would have an effect."""
        return self.running and 0 < self.done() < self.jobs - 1

    @property
    def said(self) -> str:
        """The output of the present start of Snakemake."""
        return self._said[-1].read_text(errors="replace")

    @property
    def all_said(self) -> str:
        """The output of all starts of Snakemake."""
        return "".join(said.read_text(errors="replace") for said in self._said)

    def note(self, text: str) -> None:
        """Write a line of ours among what Snakemake prints."""
        with self._said[-1].open("a") as file:
            file.write(f"== {text}\n")

    @property
    def runs(self) -> list[str]:
        """The ids of the runs in the working folder, the latest last."""
        return sorted(path.name for path in self.seen(".snakemake/osgpilot").glob("2*"))

    def seen(self, path: str) -> Path:
        """Return where a path of the login host, or below the working folder, is seen from here.

        Absolute links in there would lead to places of this machine: never follow them.
        """
        return self._inside / str(self.folder / path).lstrip("/")

    def done(self) -> int:
        """Return how many outputs are there."""
        return len(self._outputs())

    @property
    def fraction(self) -> float:
        """The share of the outputs that exist."""
        return self.done() / self.jobs

    def wait_for(self, fraction: float) -> None:
        """Wait until so many of the outputs are there, or Snakemake has ended."""
        self.wait_until(lambda: self.fraction >= fraction)

    def wait_until(self, question: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
        """Wait until the answer is true or Snakemake has ended; return whether it is true."""
        deadline_s = time.monotonic() + within_s
        while not (answer := bool(question())) and self.running and time.monotonic() < deadline_s:
            time.sleep(WATCH_EVERY_S / 2)
        return answer

    def await_end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait until Snakemake has ended, by force if it makes nothing new; return its status."""
        assert self._process is not None
        since_s, before = time.monotonic(), self.done()
        while self.running:
            if self.done() != before:
                since_s, before = time.monotonic(), self.done()
            if time.monotonic() - since_s > patience_s:
                self.note(
                    f"killed by the fault suite after {patience_s:.0f} s without a new output"
                )
                self._process.kill()
            time.sleep(WATCH_EVERY_S / 2)
        self.statuses.append(self._process.returncode)
        self._ended_s = time.monotonic()
        return self._process.returncode

    def left(self) -> list[str]:
        """Return what of the workflow is still there, one line each."""
        names = (*self.runs, str(self.folder), self.private)
        return [each.text for each in self._remains.look() if each.belongs_to(names)]

    def left_after(self, within_s: float = LEFT_WITHIN_S) -> list[str]:
        """Return what is still there when nothing is, or after a while."""
        deadline_s = time.monotonic() + within_s
        while (left := self.left()) and time.monotonic() < deadline_s:
            time.sleep(EVERY_S)
        return left

    def conclude(self, *, start_again: bool) -> Verdict:
        """Wait for the end and judge; `start_again` Snakemake where the fault may end it."""
        status = self.await_end()
        while status != 0 and start_again and len(self._said) < STARTS_MAX:
            self.start()
            status = self.await_end()
        self._end_earlier()
        self.stop_watching()
        self._look()
        for act in self.afterwards:
            act()
        lives = [said.read_text(errors="replace") for said in self._said]
        lost = [path for path, text in self._wanted.items() if self._digest(path) != text]
        ended = [len(path.read_bytes().splitlines()) for path in self._counters()]
        return Verdict(
            lost=lost + [each for judge in self.judges for each in judge()],
            duplicated=sorted(twice(lives) | self._changed),
            left=self.remained + self.left_after(),
            again=sum(ended) - len(ended),
            makespan_s=self._ended_s - self._begun_s,
            statuses=self.statuses,
            missed=self.missed,
        )

    def abandon(self) -> None:
        """End what still runs, without a verdict."""
        self.stop_watching()
        for process in (*self._earlier, self._process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def stop_watching(self) -> None:
        """Look at outputs no more."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _end_earlier(self) -> None:
        """See the end of a Snakemake whose run another one has taken over."""
        for process in self._earlier:
            try:
                self.statuses.append(process.wait(ENDS_WITHIN_S))
            except subprocess.TimeoutExpired:
                self.remained.append("a Snakemake that has lost its run goes on")
                process.kill()
                self.statuses.append(process.wait())

    def _watch(self) -> None:
        while not self._over.wait(WATCH_EVERY_S):
            # a suite that is interrupted takes the pool away
            with suppress(OSError):
                self._look()

    def _look(self) -> None:
        """Note outputs that were replaced after Snakemake had called their jobs finished."""
        reported = [
            path for said in self._said for path in finished(said.read_text(errors="replace"))
        ]
        here = self._outputs()
        for path in reported:
            identity = here.get(path, (0, 0))
            if self._settled.setdefault(path, identity) != identity:
                self._changed.add(path)

    def _outputs(self) -> dict[str, tuple[int, int]]:
        """Return the outputs that are there, with what tells a file from one that replaces it."""
        found = {}
        for path in self._wanted:
            with suppress(OSError):
                state = self.seen(path).lstat()
                if stat.S_ISREG(state.st_mode):
                    found[path] = (state.st_ino, state.st_mtime_ns)
        return found

    def _digest(self, path: str) -> str:
        try:
            file = os.open(self.seen(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return ""
        with open(file, "rb") as content:  # noqa: PTH123
            return hashlib.file_digest(content, hashlib.md5).hexdigest()

    def _counters(self) -> Iterator[Path]:
        for kind in ("each", "gather"):
            yield from self.seen(self.shared).glob(f"{kind}-*")


class Round:
    """Workflows that are under way on one pool at the same time, and what is done to that pool."""

    def __init__(self, worlds: Sequence[World], chance: random.Random) -> None:
        self.worlds, self.random = worlds, chance
        self.root = worlds[0].root
        self.lasts_s = worlds[0].lasts_s

    @property
    def struck(self) -> list[World]:
        """The workflows that the fault strikes."""
        return [world for world in self.worlds if not world.missed]

    def wait_for(self, fraction: float) -> None:
        """Wait until so many of all outputs are there, and some of every workflow.

        Workflows are not in step: the last ones are not waited for when the first would be over.
        """

        def answer() -> bool:
            made = [world.fraction for world in self.worlds]
            begun = all(made) and sum(made) >= fraction * len(made)
            return begun or max(made) >= NEARLY_OVER or not any(w.running for w in self.worlds)

        self.wait_until(answer)

    def wait_until(self, question: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
        """Wait until the answer is true; return whether it is."""
        deadline_s = time.monotonic() + within_s
        while not (answer := bool(question())) and time.monotonic() < deadline_s:
            time.sleep(WATCH_EVERY_S / 2)
        return answer

    @property
    def fraction(self) -> float:
        """The share of all outputs that exist."""
        return sum(world.fraction for world in self.worlds) / len(self.worlds)
