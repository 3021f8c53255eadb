"""Kills Snakemake again and again in one workflow, and compares the end with a run left alone.

Runs inside the local pool, by hand. Each kill comes at a random moment after the start of a life
(with a seed, so that it can be repeated). Reported are the kills, the executions of every job, and
whether all outputs are correct. `--load N` keeps N processes busy beside it: what takes longer
leaves windows open for longer. Of a job that ran more than once, all attempts are printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from conftest import SITE, nothing_left

from snakemake_executor_plugin_osgpilot.htcondor.submit_description import NOTE

WORKFLOW = """
rule all:
    input: "sum"

rule one:
    output: "one/{{n}}"
    log: "log/{{n}}"
    shell: "echo one-{{wildcards.n}} >> {place}/ran; sleep 0.$((RANDOM % 10)); "
           "echo note > {{log}}; seq {{wildcards.n}} 1000 > {{output}}"

rule two:
    input: "one/{{n}}"
    output: directory("two/{{n}}"), touch("done/{{n}}")
    shell: "echo two-{{wildcards.n}} >> {place}/ran; mkdir -p {{output[0]}}; "
           "sort {{input}} > {{output[0]}}/sorted; ln -s sorted {{output[0]}}/link"

rule three:
    input: expand("two/{{n}}", n=range({jobs}))
    output: "sum"
    shell: "echo three >> {place}/ran; cat two/*/sorted > {{output}}"
"""

PATIENCE_S = 600
SKEW_S = 1.0


class Trial:
    """One workflow in a folder of its own; `lives` counts its starts."""

    def __init__(self, place: Path, name: str, jobs: int) -> None:
        self.folder, self.place = place / name, place / f"{name}-shared"
        self.folder.mkdir()
        self.place.mkdir()
        (self.folder / "Snakefile").write_text(WORKFLOW.format(place=self.place, jobs=jobs))
        (self.folder / "site.yaml").write_text(yaml.safe_dump(SITE))
        self.lives = 0

    def start(self) -> subprocess.Popen[bytes]:
        self.lives += 1
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [
                    sys.executable, "-m", "snakemake", "--executor", "osgpilot", "--nolock",
                    "--rerun-incomplete", "--jobs", "unlimited", "--shared-fs-usage", "none",
                    "--max-jobs-per-timespan", "100000/1s", "--seconds-between-status-checks", "1",
                    "--osgpilot-project", "TestProject", "--osgpilot-offload", "always",
                    "--osgpilot-site", "site.yaml",
                    "--osgpilot-shared-prefixes", str(self.place), "--osgpilot-max-pilots", "1",
                    "--default-resources", "mem_mb=500", "disk_mb=100",
                ],
                cwd=self.folder, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip

    def run(self) -> None:
        """Run to the end."""
        if self.start().wait(PATIENCE_S) != 0:
            raise SystemExit((self.folder / "said").read_text()[-3000:])

    def keep_event_logs(self) -> None:
        """Copy the event logs of all runs, which are removed when a run ends."""
        for log in (self.folder / ".snakemake" / "osgpilot").glob("2*/jobs.log"):
            shutil.copy(log, self.folder / f"{log.parent.name}.log")

    def executions(self) -> Counter[str]:
        return Counter((self.place / "ran").read_text().split())

    def outputs(self) -> dict[str, str]:
        """Return a digest of every file of the workflow, and where links lead."""
        found = {}
        for name in ("one", "two", "done", "log", "sum"):
            top = self.folder / name
            for path in (top, *sorted(top.rglob("*"))):
                if path.is_symlink():
                    found[str(path.relative_to(self.folder))] = str(path.readlink())
                elif path.is_file() and path.name != ".snakemake_timestamp":
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[str(path.relative_to(self.folder))] = digest
        return found


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Have so many processes keep the machine busy meanwhile."""
    spin = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(spin) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def attempts(trial: Trial, rules: set[str]) -> Iterator[str]:
    """Tell what journal and event log have of all jobs of `rules` that were submitted twice."""
    for run in sorted((trial.folder / ".snakemake" / "osgpilot").glob("2*/")):
        log = trial.folder / f"{run.name}.log"
        events = log.read_text(errors="replace").split("\n...\n") if log.exists() else []
        with closing(sqlite3.connect(run / "journal.sqlite")) as journal:
            rows = journal.execute(
                "SELECT identity, key, rule, digest, job_id, over FROM jobs WHERE identity IN "
                "(SELECT identity FROM jobs GROUP BY identity HAVING count(*) > 1) ORDER BY 1, 2"
            ).fetchall()
        for identity, key, rule, digest, job_id, over in rows:
            if rule not in rules:
                continue
            yield f"{rule} {identity[:6]}: key {key}, digest {digest[:6]}, {job_id=}, {over=}"
            ids = {_log_id(event) for event in events if f"{NOTE}{key}" in event}
            yield from (f"    {_line(event)}" for event in events if _log_id(event) in ids)


def _log_id(event: str) -> str:
    """Return the job of an event, as the log has it: `005 (012.003.000) date time text`."""
    return event.partition("(")[2].partition(")")[0]


def _line(event: str) -> str:
    return " ".join(event.split())[:150]


def kill_often(trial: Trial, kills: int, chance: random.Random, longest_s: float) -> bool:
    """Kill `kills` lives of the workflow, each at a random moment; return whether one ended."""
    for number in range(kills):
        process = trial.start()
        after_s = chance.uniform(SKEW_S, longest_s)
        try:
            status = process.wait(after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            trial.keep_event_logs()
            made = len(list((trial.folder / "one").glob("*")))
            print(f"kill {number + 1} after {after_s:.1f} s, {made} first outputs", flush=True)
        else:
            print(f"life {number + 1} ended by itself with {status}", flush=True)
            return True
    return False


def differs(trial: Trial, calm: Trial) -> bool:
    """Tell what became of a trial; return whether that is not what became of one left alone."""
    ran, once = trial.executions(), calm.executions()
    more = {job: count for job, count in ran.items() if count != once[job]}
    same = trial.outputs() == calm.outputs()
    runs = len(list((trial.folder / ".snakemake" / "osgpilot").glob("2*/")))
    print(f"lives {trial.lives}, runs {runs}")
    print(f"jobs {len(once)}, executions {ran.total()}, not as often as undisturbed: {more}")
    print(f"outputs as undisturbed: {same}; nothing left: {nothing_left()}", flush=True)
    said = (trial.folder / "said").read_text()
    print(*(line for line in said.splitlines() if "resubmitted" in line), sep="\n")
    if same and not more and ran.keys() == once.keys() and nothing_left():
        return False
    print(said)
    print(*attempts(trial, {job.partition("-")[0] for job in more}), sep="\n")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one trial for each")
    parser.add_argument("--longest-s", type=float, default=8.0, help="of a life that is killed")
    parser.add_argument("--load", type=int, default=0, help="processes that keep the machine busy")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=Path.home()) as temporary:
        place = Path(temporary)
        calm = Trial(place, "calm", arguments.jobs)
        calm.run()
        for seed in arguments.seed:
            trial, chance = Trial(place, f"killed-{seed}", arguments.jobs), random.Random(seed)
            begun_s = time.monotonic()
            with busy(arguments.load):
                if not kill_often(trial, arguments.kills, chance, arguments.longest_s):
                    trial.run()
            print(f"seed {seed}: {time.monotonic() - begun_s:.0f} s")
            failed += differs(trial, calm)
    raise SystemExit(min(failed, 1))


if __name__ == "__main__":
    main()
