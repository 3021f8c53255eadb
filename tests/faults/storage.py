"""Faults of files: event log, outputs on their way, full disks."""

from __future__ import annotations

import time

from .fault import NotStruckError, fault
from .world import World

EVENT_LOG = '"$(ls -td .snakemake/osgpilot/*/ | head -1)"jobs.log'
UNKNOWN_EVENTS = (
    "098 (001.000.000) 2026-01-01 00:00:00 Something that nobody has heard of\n"
    "\tDetails: none\n...\n"
    "099 (999.000.000) 2026-01-01 00:00:00 Something else\n...\n"
)


@fault()
def event_log_truncated(world: World) -> None:
    """The run's event log is cut to nothing."""
    world.alice(f"truncate -s 0 {EVENT_LOG}")


@fault()
def unknown_events(world: World) -> None:
    """The event log has events of kinds that are not known."""
    world.alice(f'printf %s "$1" >> {EVENT_LOG}', UNKNOWN_EVENTS)


@fault()
def garbled_event_log(world: World) -> None:
    """The event log has lines that are no events."""
    world.alice(f"printf 'no event at all\\n...\\n005 (\\n' >> {EVENT_LOG}")


def small_working_folder(world: World) -> None:
    world.root(
        "mount -t tmpfs -o size=$2,uid=2001,gid=2001,mode=755 tmpfs $1", str(world.folder), "48m"
    )


@fault(prepare=small_working_folder, start_again=True)
def full_disk(world: World) -> None:
    """The disk of the working folder, with the run's folder on it, is full for a while."""
    world.alice("cat /dev/zero > filler 2> /dev/null; true")
    time.sleep(world.lasts_s(60, short_s=15))
    world.alice("rm filler")


@fault()
def read_only_run_folder(world: World) -> None:
    """Nothing can be written into the run's folder: no journal, no record, no sign of life."""
    run = world.alice("ls -td $PWD/.snakemake/osgpilot/2*/ | head -1")
    world.alice("chmod a-w $1", run)
    time.sleep(world.lasts_s(60, short_s=15))
    world.alice("chmod u+w $1", run)


def scratch(world: World) -> str:
    return f"/scratch/{world.folder.name}"


def small_scratch(world: World) -> None:
    make = "mkdir -p $1; mount -t tmpfs -o size=$2,mode=1777 tmpfs $1"
    world.root(make, scratch(world), "700m")
    world.site["scratch"] = scratch(world)


@fault(prepare=small_scratch, start_again=True)
def full_scratch(world: World) -> None:
    """The pilots' scratch disk is full for a while; commands that cannot write fail."""
    world.root("cat /dev/zero > $1/filler 2> /dev/null; true", scratch(world))
    time.sleep(world.lasts_s(60, short_s=15))
    world.root("rm $1/filler", scratch(world))


CUTTER = r"""
import os, pathlib, signal, sys, time

snakemake, wanted = map(int, sys.argv[1:])
deadline_s = time.monotonic() + 30
runs = pathlib.Path(".snakemake/osgpilot").iterdir()
jobs = max(runs, key=lambda run: run.stat().st_mtime) / "jobs"


def stopped():
    return pathlib.Path(f"/proc/{snakemake}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def whole():
    for job in os.listdir(jobs):
        back = jobs / job / "osgpilot-out"
        try:
            told = (back / ".osgpilot-manifest").read_bytes().split(b"\0")
            pairs = zip(told[:-2:2], told[1:-2:2])
            sizes = {name: int(size) for size, name in pairs if size.isdigit()}
            [name] = [name for name in sizes if not name.startswith(b".osgpilot-")]
            output = back / os.fsdecode(name)
            if output.stat().st_size == sizes[name]:
                yield output
        except (OSError, ValueError):
            continue


os.kill(snakemake, signal.SIGSTOP)
try:
    while not stopped():
        time.sleep(0.01)
    seen, cut = set(whole()), 0
    while cut < wanted and time.monotonic() < deadline_s:
        for output in [each for each in whole() if each not in seen][: wanted - cut]:
            os.truncate(output, output.stat().st_size // 2)
            seen.add(output)
            cut += 1
        time.sleep(0.01)
finally:
    os.kill(snakemake, signal.SIGCONT)
print(cut)
"""
"""Cuts outputs to their half that come whole while Snakemake is stopped. What was there before may
be in place already, under a second name of the same file."""


@fault()
def short_output(world: World) -> None:
    """Outputs that came back are cut to their half before they are put in place."""
    cut = world.pool.say("python3", "-c", CUTTER, world.snakemake, "4", folder=world.folder)
    if cut == "0" or not world.wait_until(lambda: "did not come back complete" in world.said, 60):
        raise NotStruckError("no output came back any more")
