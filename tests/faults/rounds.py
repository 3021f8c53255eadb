"""One round: workflows on one pool at the same time, one fault or none, and a verdict on each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from pool.conftest import Pool

from .fault import FAULTS, Fault, NotStruckError
from .remains import EVERY_S, Leftovers
from .table import Trial
from .world import Round, Verdict, World

NOBODYS_WITHIN_S = 30.0
"""Maximum time until everything that belongs to no workflow is gone, after they were judged."""


def play(pool: Pool, trials: Sequence[Trial], attempt: int = 0) -> list[Verdict]:
    """Run workflows on a pool, have the fault that they name happen, and judge each."""
    remains = Leftovers(pool)
    worlds = [_world(pool, trial, attempt, remains) for trial in trials]
    first = trials[0]
    chance = random.Random(f"{first.seed}/{first.fault}/round {first.number}/{attempt}")
    fault = FAULTS.get(first.fault)
    with ThreadPoolExecutor(len(worlds)) as threads, ExitStack() as undo:
        for world in worlds:
            undo.callback(world.abandon)
        if fault and fault.pool_act:
            list(threads.map(partial(_begin, fault), worlds))
            _strike(Round(worlds, chance), fault)
            verdicts = list(threads.map(partial(_judged, fault), worlds))
        else:
            verdicts = list(threads.map(partial(_alone, fault), worlds))
    known = [text for verdict in verdicts for text in verdict.left]
    verdicts[0].left += [text for text in nobodys(remains) if text not in known]
    return verdicts


def _world(pool: Pool, trial: Trial, attempt: int, remains: Leftovers) -> World:
    folder = pool.work / f"{trial.fault}-{trial.number + 1}-{attempt}"
    folder.mkdir()
    # another moment, where the first one could not be made use of
    again = f"/{attempt}" if attempt else ""
    chance = random.Random(f"{trial.seed}/{trial.fault}/{trial.number}{again}")
    world = World(pool, folder, trial.jobs, chance, remains)
    world.short = trial.short
    return world


def _begin(fault: Fault | None, world: World) -> None:
    world.alice("mkdir -p $1", world.private)
    if fault:
        fault.prepare(world)
    world.set_up()
    world.start()


def _strike(round_: Round, fault: Fault) -> None:
    """Do harm to the pool at a moment of all workflows; note those that it came too late for."""
    assert fault.pool_act
    moment = round_.random.uniform(fault.earliest, fault.latest)
    round_.wait_for(moment)
    for world in round_.worlds:
        if not world.under_way:
            world.missed = "the workflow was not under way"
        world.note(f"{fault.name} at {world.done()} of {world.jobs} outputs")
    if round_.struck:
        fault.pool_act(round_)
    for world in round_.worlds:
        world.note("healed")


def _alone(fault: Fault | None, world: World) -> Verdict:
    """Run one workflow, with a fault of its own at a moment of its own."""

    def strike() -> None:
        if fault and fault.act:
            if not fault.from_start:
                world.wait_for(world.random.uniform(fault.earliest, fault.latest))
                if not world.under_way:
                    raise NotStruckError("the workflow was over")
            world.note(f"{fault.name} at {world.done()} of {world.jobs} outputs")
            fault.act(world)
            world.note("healed")

    return _judged(fault, world, lambda: (_begin(fault, world), strike()))


def _judged(
    fault: Fault | None, world: World, before: Callable[[], object] = lambda: None
) -> Verdict:
    """Do what comes before, then await the end and judge; there is a verdict in any case."""
    try:
        try:
            before()
        except NotStruckError as error:
            world.missed = str(error)
        return world.conclude(start_again=bool(fault and fault.start_again))
    except Exception as error:
        return Verdict(left=[f"no verdict: {type(error).__name__}: {error}"])


def nobodys(remains: Leftovers) -> list[str]:
    """Return what is still there after a while, whosever it is; all workflows have ended."""
    deadline_s = time.monotonic() + NOBODYS_WITHIN_S
    while (left := remains.look()) and time.monotonic() < deadline_s:
        time.sleep(EVERY_S)
    return [each.text for each in left]
