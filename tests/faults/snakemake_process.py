"""Faults of the Snakemake process itself."""

from __future__ import annotations

import time

from .fault import NotStruckError, fault
from .pilots import long_jobs, running_pilot
from .world import ENDS_WITHIN_S, World

NOTHING_LEFT_WITHIN_S = 30.0

STEPPING_CLOCK = """
import pathlib
import time

_time = time.time
_step_s = pathlib.Path(__file__).with_name("step_s")


def stepped():
    try:
        return _time() + float(_step_s.read_text())
    except (OSError, ValueError):
        return _time()


time.time = stepped
"""


def end_and_start_again(world: World, signal: str, target: str) -> None:
    """Send a signal, wait for an end that leaves nothing, and start again."""
    world.root('kill "-$1" -- "$2"', signal, target)
    if world.await_end(ENDS_WITHIN_S) == 0:
        raise NotStruckError(f"SIG{signal} came after the last job")
    world.remained += world.left_after(NOTHING_LEFT_WITHIN_S)
    world.start()


@fault(start_again=True)
def sigterm(world: World) -> None:
    """Snakemake gets SIGTERM; nothing may remain, and it is started again."""
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
    clock = f"{world.private}/clock"
    world.write(f"{clock}/sitecustomize.py", STEPPING_CLOCK)
    world.environment["PYTHONPATH"] = clock


@fault(prepare=stepping_clock)
def clock_step(world: World) -> None:
    """The clock, as Snakemake reads it, steps by an hour ahead or back, and later returns."""
    world.write(f"{world.private}/clock/step_s", str(world.random.choice((3600, -3600))))
    world.wait_for(world.fraction + 0.3)
    world.write(f"{world.private}/clock/step_s", "0")


AGE_LEASE = 'touch --date="1 hour ago" "$1/lease"'
"""A sign of life this old lets others take over a run, and has its pilots leave."""


def freeze(world: World) -> str:
    """Stop Snakemake and all it has started, for longer than its lease lasts; return its number.

    The lease is made old, as waiting takes a quarter of an hour.
    """
    holder = world.snakemake
    world.root('kill -STOP -- "-$1"', holder)
    world.alice(AGE_LEASE, f"{world.folder}/.snakemake/osgpilot/{world.runs[-1]}")
    return holder


@fault(prepare=long_jobs(3))
def lease_lost(world: World) -> None:
    """Snakemake is stopped for longer than its lease lasts, so its pilots leave, and continues."""
    holder = freeze(world)
    time.sleep(world.random.uniform(5, 60))
    world.root('kill -CONT -- "-$1"', holder)


@fault()
def frozen_holder(world: World) -> None:
    """Snakemake is stopped past its lease, one elsewhere takes over, the first continues."""
    holder = freeze(world)
    lease = world.seen(f".snakemake/osgpilot/{world.runs[-1]}/lease")
    world.start(elsewhere=True)
    try:
        # the holder of a run renews its lease
        if not world.wait_until(lambda: time.time() - lease.stat().st_mtime < 600, 120):
            raise NotStruckError("nobody took the run over")
        world.wait_for(world.fraction + world.random.uniform(0.0, 0.2))
        if not world.running:
            raise NotStruckError("the run was over before the first went on")
    finally:
        world.root('kill -CONT -- "-$1"', holder)


JOURNALS = {
    "no journal": "true",
    "an empty journal": ': > "$1/journal.sqlite"',
    "a journal without tables": 'head -c 4096 /dev/zero > "$1/journal.sqlite"',
    "half a journal": 'head -c 5000 "$2/journal.sqlite" > "$1/journal.sqlite"',
    "a journal without its run": """python3 - "$1" "$2" << 'END'
import sqlite3, sys
new, old = (sqlite3.connect(f"{folder}/journal.sqlite") for folder in sys.argv[1:])
with new:
    new.execute(f"PRAGMA user_version = {old.execute('PRAGMA user_version').fetchone()[0]}")
    for (text,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
        new.execute(text)
END""",
}
"""The remains of a journal after a kill or a full disk during its creation.

$1 is the folder of its run, $2 that of a whole one."""


@fault()
def empty_journal(world: World) -> None:
    """Snakemake is killed, and beside its run lies one whose journal was not made to its end."""
    world.root("kill -KILL $1", world.snakemake)
    world.await_end(ENDS_WITHIN_S)
    run = f"{world.folder}/.snakemake/osgpilot/{world.runs[-1]}"
    broken = (
        f"{world.folder}/.snakemake/osgpilot/20260101-000000-{world.random.randrange(16**6):06x}"
    )
    what = world.random.choice(sorted(JOURNALS))
    world.note(f"{broken} has {what}")
    world.alice(f'mkdir -p "$1/jobs" "$1/pilots"; chmod 700 "$1"; {JOURNALS[what]}', broken, run)
    world.start()


TIME_ZONES = (
    "NPT-5:45",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+14>-14",
    "<-11>11",
    "AEST-10AEDT,M10.1.0,M4.1.0",
)


def other_time_zone(world: World) -> None:
    """Have Snakemake on another host than Slurm, in a time zone that its host does not have."""
    world.host = "ap"
    world.site |= {
        "access_point": {"schedd": "ap.localpool", "poll_s": 2},
        "slurm": {"ssh": "login"},
    }
    world.environment["TZ"] = world.random.choice((*TIME_ZONES, clocks_go_back(time.time())))


def clocks_go_back(now_s: float) -> str:
    """Return a zone whose clocks have just gone back: they show the same times again."""
    # the day of the year and the hour, in UTC, at which the second of two like hours began
    changed = time.gmtime(now_s - 1800)
    summer = f"{changed.tm_hour + 1}:{changed.tm_min:02}"
    begins = max(0, changed.tm_yday - 100)
    return f"WET0WEST,{begins}/1,{changed.tm_yday - 1}/{summer}"


@fault(prepare=other_time_zone)
def time_zones(world: World) -> None:
    """Snakemake is in another time zone than Slurm, some with summer time; a pilot is killed."""
    allocation, _ = running_pilot(world)
    world.alice("scancel --signal=KILL --full $1", allocation)
