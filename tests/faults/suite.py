"""Does harm to workflows on pools of their own and counts what became of their jobs.

python -m faults.suite [--runs N] [--only NAME] [--seed S] [--jobs N] [--short]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from pool.conftest import started
from rich.console import Console
from rich.table import Table

from . import (  # noqa: F401  # they put their faults on the list
    pilots,
    services,
    slurm_commands,
    snakemake_process,
    storage,
)
from .fault import FAULTS, Fault, NotStruckError
from .world import Verdict, World


def main() -> int:
    """Run the suite as the command line says; the exit status says whether all was well."""
    asked = arguments()
    chosen = [each for each in FAULTS.values() if not asked.only or each.name in asked.only]
    place = Path(tempfile.mkdtemp(prefix="osgpilot-faults-"))
    undisturbed = one_run(None, asked, 0, place)
    print(f"undisturbed: {describe(undisturbed)}", flush=True)
    verdicts: defaultdict[str, list[Verdict]] = defaultdict(list)
    for number in range(asked.runs):
        for each in chosen:
            try:
                verdict = one_run(each, asked, number, place)
            except (NotStruckError, AssertionError) as error:
                verdict = Verdict(left=[f"the fault could not be made: {error}"])
            verdicts[each.name].append(verdict)
            print(f"{each.name} {number + 1}/{asked.runs}: {describe(verdict)}", flush=True)
    bad = undisturbed.bad or any(v.bad for each in verdicts.values() for v in each)
    if bad:
        print(f"what was said is in {place}")
    else:
        shutil.rmtree(place)
    report(verdicts, undisturbed)
    return int(bad)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each fault")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="this fault only")
    parser.add_argument("--seed", default="1", help="decides moments and victims")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--short", action="store_true", help="long faults pass sooner")
    return parser.parse_args()


def one_run(each: Fault | None, asked: argparse.Namespace, number: int, place: Path) -> Verdict:
    """Run the workflow on a new pool, with one fault or none."""
    name = each.name if each else "undisturbed"
    folder = place / f"{name}-{number + 1}"
    folder.mkdir()
    with started(f"faults-{os.getpid()}", folder) as pool:
        chance = random.Random(f"{asked.seed}/{name}/{number}")
        world = World(pool, folder, asked.jobs, chance)
        world.short = asked.short
        try:
            return harmed(world, each)
        finally:
            world.stop_watching()


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


def describe(verdict: Verdict) -> str:
    """Return a verdict in one line, and what is bad about it in some more."""
    line = (
        f"lost {len(verdict.lost)}, duplicated {len(verdict.duplicated)}, left "
        f"{len(verdict.left)}, run again {verdict.again}, {verdict.makespan_s:.0f} s, "
        f"exit status {', '.join(map(str, verdict.statuses))}"
    )
    parts = {"lost": verdict.lost, "duplicated": verdict.duplicated, "left": verdict.left}
    return "\n".join([line, *(f"  {k}: {', '.join(v[:8])}" for k, v in parts.items() if v)])


def report(verdicts: dict[str, list[Verdict]], undisturbed: Verdict) -> None:
    """Print the table and the line of sums."""
    table = Table(title=f"{undisturbed.makespan_s:.0f} s undisturbed")
    for column in ("fault", "runs", "lost", "duplicated", "left behind", "run again", "starts"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    table.add_column("added seconds", justify="right")
    sums = [0, 0, 0]
    for name, each in verdicts.items():
        counts = [sum(len(getattr(v, k)) for v in each) for k in ("lost", "duplicated", "left")]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        again = sum(v.again for v in each)
        starts = statistics.median(len(v.statuses) for v in each)
        added_s = statistics.median(v.makespan_s for v in each) - undisturbed.makespan_s
        cells = (name, len(each), *counts, again, f"{starts:g}", f"{added_s:.0f}")
        table.add_row(*map(str, cells))
    Console(width=110).print(table)
    runs = sum(map(len, verdicts.values()))
    print(f"faults runs {runs} lost {sums[0]} duplicated {sums[1]} left {sums[2]}")


if __name__ == "__main__":
    sys.exit(main())
