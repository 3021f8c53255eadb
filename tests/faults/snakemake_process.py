"""Faults of the Snakemake process itself."""

from __future__ import annotations

from .fault import NotStruckError, fault
from .world import World

ENDS_WITHIN_S, NOTHING_LEFT_WITHIN_S = 200.0, 30.0

CLOCK = "/home/alice/clock"
STEPPING_CLOCK = f"""
import pathlib
import time

_time = time.time
_step_s = pathlib.Path("{CLOCK}/step_s")


def stepped():
    try:
        return _time() + float(_step_s.read_text())
    except (OSError, ValueError):
        return _time()


time.time = stepped
"""


def end_and_start_again(world: World, signal: str, target: str) -> None:
    """Send a signal, wait for an end that leaves nothing, and start once more."""
    world.root('kill "-$1" -- "$2"', signal, target)
    if world.await_end(ENDS_WITHIN_S) == 0:
        raise NotStruckError(f"SIG{signal} came after the last job")
    world.remained += world.left_after(NOTHING_LEFT_WITHIN_S)
    world.start()


@fault(start_again=True)
def sigterm(world: World) -> None:
    """Snakemake is told to end by SIGTERM; nothing may remain, and it is started again."""
    end_and_start_again(world, "TERM", world.snakemake)


@fault(start_again=True)
def ctrl_c(world: World) -> None:
    """Ctrl-C: SIGINT to its process group; nothing may remain, and it is started again."""
    end_and_start_again(world, "INT", f"-{world.snakemake}")


@fault(start_again=True)
def snakemake_killed(world: World) -> None:
    """Snakemake is killed, and the same command is given again at once."""
    world.root("kill -KILL $1", world.snakemake)
    world.await_end(ENDS_WITHIN_S)
    world.start()


def stepping_clock(world: World) -> None:
    world.write(f"{CLOCK}/sitecustomize.py", STEPPING_CLOCK)
    world.environment["PYTHONPATH"] = CLOCK


@fault(prepare=stepping_clock)
def clock_step(world: World) -> None:
    """The clock, as Snakemake reads it, steps by an hour ahead or back, and later returns."""
    world.write(f"{CLOCK}/step_s", str(world.random.choice((3600, -3600))))
    world.wait_for(world.done() / world.jobs + 0.3)
    world.write(f"{CLOCK}/step_s", "0")
