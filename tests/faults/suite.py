"""Does harm to workflows on pools of their own and counts what became of their jobs.

python -m faults.suite [--runs N] [--only NAME] [--seed S] [--jobs N] [--short] [--pools N]
                       [--record FILE]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pool.conftest import osgpilot, started

from . import (  # noqa: F401  # they put their faults on the list
    far,
    pilots,
    services,
    slurm_commands,
    snakemake_process,
    storage,
)
from .fault import FAULTS, Fault, NotStruckError
from .table import UNDISTURBED, Record, Trial, describe, report
from .world import Verdict, World

TRIES = 3
"""How often a fault is tried that could not be made, each time at another moment."""


def main() -> int:
    """Run the suite as the command line says; the exit status says whether all was well."""
    asked = arguments()
    # as Ctrl-C, for who gives a suite a time limit
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted, record = trials(asked), Record(asked.record)
    to_do = [trial for trial in wanted if trial not in record.verdicts]
    place = Path(tempfile.mkdtemp(prefix="osgpilot-faults-"))
    pools = ThreadPoolExecutor(asked.pools)
    runs = {pools.submit(one_run, trial, place / f"run{n}"): trial for n, trial in enumerate(to_do)}
    try:
        for each in as_completed(runs):
            record.add(runs[each], each.result())
            number = runs[each].number + 1
            said = describe(each.result())
            print(f"{runs[each].fault} {number}/{asked.runs}: {said}", flush=True)
    except KeyboardInterrupt:
        pools.shutdown(wait=False, cancel_futures=True)
        under_way = [place / f"run{n}" for n, each in enumerate(runs) if each.running()]
        give_up(record, wanted, under_way)
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
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--short", action="store_true", help="long faults pass sooner")
    parser.add_argument("--pools", type=int, default=1, help="runs at a time")
    parser.add_argument(
        "--record", type=Path, help="keep verdicts in this file, and do not repeat those in it"
    )
    return parser.parse_args()


def trials(asked: argparse.Namespace) -> list[Trial]:
    """Return all runs that are asked for, the one without a fault first."""
    how = (asked.seed, asked.jobs, asked.short)
    names = [name for name in FAULTS if not asked.only or name in asked.only]
    faulty = (Trial(name, number, *how) for number in range(asked.runs) for name in names)
    return [Trial(UNDISTURBED, 0, *how), *faulty]


def give_up(record: Record, wanted: list[Trial], under_way: list[Path]) -> None:
    """Say what is known so far, and end at once."""
    report(record.of(wanted))
    print("interrupted", file=sys.stderr)
    for place in under_way:
        osgpilot("pool", "down", "--name", pool_name(place))
    # threads wait for workflows whose pools are gone
    os._exit(130)


def pool_name(place: Path) -> str:
    return f"faults-{os.getpid()}-{place.name}"


def one_run(trial: Trial, place: Path) -> Verdict:
    """Run the workflow on a new pool, with one fault or none."""
    each = FAULTS.get(trial.fault)
    verdict = Verdict()
    for attempt in range(TRIES):
        folder = place / f"{trial.fault}-{trial.number + 1}-{attempt}"
        folder.mkdir(parents=True)
        with started(pool_name(place), folder) as pool:
            # another moment, where the first one could not be made use of
            again = f"/{attempt}" if attempt else ""
            chance = random.Random(f"{trial.seed}/{trial.fault}/{trial.number}{again}")
            world = World(pool, folder, trial.jobs, chance)
            world.short = trial.short
            try:
                return harmed(world, each)
            except NotStruckError as error:
                verdict = Verdict(left=[f"the fault could not be made: {error}"])
            except Exception as error:
                # one run that cannot be judged must not end the others
                return Verdict(left=[f"no verdict: {type(error).__name__}: {error}"])
            finally:
                world.stop_watching()
    return verdict


def harmed(world: World, each: Fault | None) -> Verdict:
    """Run a workflow, have the fault happen at its moment, and judge."""
    if each:
        each.prepare(world)
    world.set_up()
    world.start()
    if each:
        world.wait_for(world.random.uniform(each.earliest, each.latest))
        world.note(f"{each.name} at {world.done()} of {world.jobs} outputs")
        each.act(world)
        world.note("healed")
    return world.conclude(start_again=bool(each and each.start_again))


if __name__ == "__main__":
    sys.exit(main())
