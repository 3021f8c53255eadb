"""One workflow on a pool of its own: started, watched, done harm to, and judged at the end."""

from __future__ import annotations

import copy
import random
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pool.conftest import SITE, SNAKEMAKE, Pool

from snakemake_executor_plugin_osgpilot.errors import Unavailable

from .workflow import SHARED, finished, snakefile, twice, wanted

PATIENCE_S = 750.0
"""How long Snakemake may go on without a new output; a job lease lasts 600 s."""

LEFT_WITHIN_S = 150.0
"""How long after the end pilots that nobody tells to end may take: idle_min is one minute, and they
look at it once a minute."""

STARTS_MAX = 4
WATCH_EVERY_S = 0.5
PILOTS = 4

QUEUED = r"""
queue=$(condor_q -allusers -af:j JobStatus HoldReason) || echo "condor_q does not answer"
[ -z "$queue" ] || sed 's/^/job /' <<< "$queue"
"""
LEFT = r"""
allocations=$(squeue --noheader) || echo "squeue does not answer"
[ -z "$allocations" ] || sed 's/^/allocation /' <<< "$allocations"
find /var/tmp /scratch -maxdepth 1 -name 'osg-pilot.*' -printf 'folder %p\n' 2>/dev/null
ps -u alice -o stat=,args= | grep -v ^Z | sed 's/^/process /'
"""
"""Names what is there that belongs to nobody once Snakemake has ended; run as root."""


@dataclass
class Verdict:
    """What a workflow came to. `again` counts executions that ended beyond the first of each job,
    `statuses` has the exit status of every start of Snakemake."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    again: int = 0
    makespan_s: float = 0.0
    statuses: list[int] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return bool(self.lost or self.duplicated or self.left)


class World:
    """A workflow of `jobs` jobs in `folder`, and the pool it runs on.

    `site`, `options` and `environment` may be changed before `start`. `random` decides all that is
    left to chance; `short` asks for faults that pass soon. `remained` takes what was
    still there when it should not have been, before the end.
    """

    def __init__(self, pool: Pool, folder: Path, jobs: int, chance: random.Random) -> None:
        self.pool, self.folder, self.jobs, self.random = pool, folder, jobs, chance
        self.short = False
        self.site = copy.deepcopy(SITE)
        self.options = ["--osgpilot-max-pilots", str(PILOTS), "--rerun-incomplete", "--nolock"]
        self.environment: dict[str, str] = {}
        self.statuses: list[int] = []
        self.remained: list[str] = []
        self._wanted = wanted(jobs)
        self._said: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._begun_s = self._ended_s = 0.0
        self._identities: dict[str, str] = {}
        self._settled: dict[str, str] = {}
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
        self.write("Snakefile", snakefile(self.jobs))
        self.write("site.yaml", yaml.safe_dump(self.site))
        self.alice("rm -rf $1; mkdir $1", SHARED)

    def start(self) -> None:
        """Start Snakemake, for the first time or again; always with the same command."""
        said = self.folder.with_name(f"{self.folder.name}-said-{len(self._said) + 1}")
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        command = (*SNAKEMAKE, *self.options, "--osgpilot-shared-prefixes", SHARED)
        # in a session of its own: a signal to its process group has to find nobody else
        env = ("setsid", "--wait", "env", "--default-signal=INT", *variables)
        argv = self.pool.argv(*env, *command, folder=self.folder)
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
        return self.root("pgrep -o -u alice -f '^[^ ]*python -m snakemake --executor'")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """What the present start of Snakemake has printed."""
        return self._said[-1].read_text(errors="replace")

    def note(self, text: str) -> None:
        """Write a line of ours among what Snakemake prints."""
        with self._said[-1].open("a") as file:
            file.write(f"== {text}\n")

    def done(self) -> int:
        """Return how many outputs are there."""
        return len(self._identities)

    def wait_for(self, fraction: float) -> None:
        """Wait until so many of the outputs are there, or Snakemake has ended."""
        self.wait_until(lambda: self.done() >= fraction * self.jobs)

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
        queues = [self.root(QUEUED, host=host) for host in ("login", "ap")]
        return [line for said in (*queues, self.root(LEFT)) for line in said.splitlines()]

    def left_after(self, within_s: float = LEFT_WITHIN_S) -> list[str]:
        """Return what is still there when nothing is, or after a while."""
        deadline_s = time.monotonic() + within_s
        while (left := self.left()) and time.monotonic() < deadline_s:
            time.sleep(2)
        return left

    def conclude(self, *, start_again: bool) -> Verdict:
        """Wait for the end and judge; `start_again` Snakemake where the fault may end it."""
        status = self.await_end()
        while status != 0 and start_again and len(self._said) < STARTS_MAX:
            self.start()
            status = self.await_end()
        self.stop_watching()
        with suppress(AssertionError):
            self._look()
        here = dict(
            reversed(line.split(maxsplit=1))
            for line in self.alice("find out -type f | xargs -r md5sum").splitlines()
        )
        lives = [said.read_text(errors="replace") for said in self._said]
        ended = int(self.alice("cat $1/each-* $1/gather-* 2>/dev/null | wc -l", SHARED))
        files = int(self.alice("ls $1 | grep -c -e ^each -e ^gather || true", SHARED))
        return Verdict(
            lost=[path for path, text in self._wanted.items() if here.get(path) != text],
            duplicated=sorted(twice(lives) | self._changed),
            left=self.remained + self.left_after(),
            again=ended - files,
            makespan_s=self._ended_s - self._begun_s,
            statuses=self.statuses,
        )

    def stop_watching(self) -> None:
        """Look at outputs no more."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(WATCH_EVERY_S):
            # a suite that is interrupted takes the pool away
            with suppress(AssertionError, Unavailable):
                self._look()

    def _look(self) -> None:
        """Note outputs that were replaced after Snakemake had called their jobs finished."""
        told = [path for said in self._said for path in finished(said.read_text(errors="replace"))]
        listed = self.alice(r"[ ! -d out ] || find out -type f -printf '%p %i %T@\n'")
        self._identities = dict(line.split(maxsplit=1) for line in listed.splitlines())
        for path in told:
            identity = self._identities.get(path, "none")
            if self._settled.setdefault(path, identity) != identity:
                self._changed.add(path)
