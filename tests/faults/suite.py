"""Does harm to workflows on pools of their own and counts what became of their jobs.

python -m faults.suite [--runs N] [--only NAME] [--seed S] [--jobs N] [--short] [--pools N]
                       [--together N] [--record FILE]
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from pool.conftest import Pool, osgpilot, started

from . import (  # noqa: F401  # they put their faults on the list
    far,
    intruders,
    pilots,
    services,
    slurm_commands,
    snakemake_process,
    storage,
)
from .fault import FAULTS
from .rounds import play
from .table import UNDISTURBED, Record, Trial, describe, report
from .world import Verdict

TRIES = 3
"""Maximum number of attempts to make a fault, each at another moment."""

WIDER = """
sed -i 's/CPUs=4 RealMemory=4000/CPUs=16 RealMemory=32000/; s/CR_CPU_Memory/&,CR_LLN/' \\
    /etc/slurm/slurm.conf
pool-svc slurmctld restart && pool-svc slurmd restart && pool-svc ready
"""
"""Has room for all pilots of a round, and spreads those of a workflow over the nodes; the CPUs of
Slurm's nodes are counted only."""


def main() -> int:
    """Run the suite as the command line says; the exit status says whether all was well."""
    asked = arguments()
    # as Ctrl-C, for who gives a suite a time limit
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted, record = trials(asked), Record(asked.record)
    place = Path(tempfile.mkdtemp(prefix="osgpilot-faults-"))
    rounds: queue.SimpleQueue[list[Trial]] = queue.SimpleQueue()
    to_do, begun_s = [t for t in wanted if t not in record.verdicts], time.monotonic()
    for each in in_rounds(to_do, asked.together):
        rounds.put(each)
    workers = [Worker(place / f"pool{n}") for n in range(asked.pools)]
    pools = ThreadPoolExecutor(asked.pools)
    try:
        for done in as_completed([pools.submit(each.work, rounds, record) for each in workers]):
            done.result()
    except KeyboardInterrupt:
        pools.shutdown(wait=False, cancel_futures=True)
        give_up(record, wanted, workers)
    took_min = (time.monotonic() - begun_s) / 60
    print(f"{len(to_do)} runs on {asked.pools} pool(s) took {took_min:.0f} min")
    bad = report(record.of(wanted))
    if bad:
        print(f"what was said is in {place}", file=sys.stderr)
    else:
        shutil.rmtree(place)
    return int(bad)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each fault")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="this fault only")
    parser.add_argument("--seed", default="1", help="decides moments and victims")
    parser.add_argument("--jobs", type=int, default=40, help="of each workflow")
    parser.add_argument("--short", action="store_true", help="long faults pass sooner")
    parser.add_argument("--pools", type=int, default=1, help="pools at a time")
    parser.add_argument("--together", type=int, default=5, help="runs on a pool at a time")
    parser.add_argument(
        "--record", type=Path, help="keep verdicts in this file, and do not repeat those in it"
    )
    return parser.parse_args()


def trials(asked: argparse.Namespace) -> list[Trial]:
    """Return all runs that are asked for, those without a fault first."""
    how = (asked.seed, asked.jobs, asked.short)
    names = [name for name in FAULTS if not asked.only or name in asked.only]
    calm = (Trial(UNDISTURBED, n, *how) for n in range(min(asked.runs, asked.together)))
    return [*calm, *(Trial(name, n, *how) for name in names for n in range(asked.runs))]


def in_rounds(to_do: Sequence[Trial], together: int) -> list[list[Trial]]:
    """Return runs that go together: of one fault, and not too many.

    The first round of every fault comes first, so that a suite that is interrupted has seen all.
    """
    by_name: dict[str, list[Trial]] = {}
    for trial in to_do:
        by_name.setdefault(trial.fault, []).append(trial)
    numbered = [
        (first, name, each[first : first + together])
        for name, each in by_name.items()
        for first in range(0, len(each), together)
    ]
    return [each for _, _, each in sorted(numbered, key=lambda item: item[0])]


def give_up(record: Record, wanted: Sequence[Trial], workers: Sequence[Worker]) -> None:
    """Say what is known so far, and end at once."""
    record.close()
    report(record.of(wanted))
    print("interrupted", file=sys.stderr)
    for worker in workers:
        osgpilot("pool", "down", "--name", worker.name)
    # threads wait for workflows whose pools are gone
    os._exit(130)


class Worker:
    """Plays rounds on a pool that stays up as long as each leaves it as it was."""

    def __init__(self, place: Path) -> None:
        self.place, self.name = place, f"faults-{os.getpid()}-{place.name}"
        self._up = ExitStack()
        self._pool: Pool | None = None

    def work(self, rounds: queue.SimpleQueue[list[Trial]], record: Record) -> None:
        """Play rounds until there are none."""
        self.place.mkdir()
        with self._up:
            while not rounds.empty():
                try:
                    trials = rounds.get_nowait()
                except queue.Empty:
                    break
                self._round(trials, record)

    def _round(self, trials: Sequence[Trial], record: Record) -> None:
        """Play a round, and again with those that the fault missed."""
        for attempt in range(TRIES):
            # the suite was interrupted: no new pool
            if record.closed:
                return
            verdicts = self._attempt(trials, attempt)
            if record.closed:
                return
            missed = []
            for trial, verdict in zip(trials, verdicts, strict=True):
                # losses count nevertheless
                if verdict.missed and not verdict.bad:
                    print(f"{trial.fault} {trial.number + 1}: {verdict.missed}", flush=True)
                    if attempt + 1 < TRIES:
                        missed.append(trial)
                        continue
                    verdict = Verdict(left=[f"the fault could not be made: {verdict.missed}"])
                record.add(trial, verdict)
                print(f"{trial.fault} {trial.number + 1}: {describe(verdict)}", flush=True)
            trials = missed
            if not trials:
                break

    def _attempt(self, trials: Sequence[Trial], attempt: int) -> list[Verdict]:
        try:
            verdicts = play(self._ready(), trials, attempt)
        except Exception as error:
            # a round that cannot be judged must not end the others
            text = f"no verdict: {type(error).__name__}: {error}"
            verdicts = [Verdict(left=[text]) for _ in trials]
        fault = FAULTS.get(trials[0].fault)
        if any(verdict.left for verdict in verdicts) or (fault and fault.leaves_traces):
            self._up.close()
            self._pool = None
        return verdicts

    def _ready(self) -> Pool:
        if self._pool is None:
            self._pool = self._up.enter_context(started(self.name, self.place))
            self._pool.say("bash", "-c", WIDER, user="root")
        return self._pool


if __name__ == "__main__":
    sys.exit(main())
