"""Faults of Slurm's commands, by programs of the same name that come first on Snakemake's PATH."""

from __future__ import annotations

from collections.abc import Callable

from snakemake_executor_plugin_osgpilot.local_pool.session import PATH

from .fault import fault
from .pilots import running_pilot
from .world import World

SHIM = """#!/bin/bash
# stands before the real @name@ and does harm while @name@-breaks is beside it
real=/usr/bin/@name@
[ -e @shims@/@name@-breaks ] || exec "$real" "$@"
echo >> @shims@/@name@-calls
call=$(wc -l < @shims@/@name@-calls)
RANDOM=$((@seed@ + call)); : $RANDOM
@harm@
exec "$real" "$@"
"""
FAILS = """
((RANDOM % 100 >= 30)) || {
    said=('Socket timed out on send/recv operation' 'Unable to contact slurm controller')
    said+=('Unspecified error' 'MaxJobCount limit reached')
    echo "sbatch: error: Batch job submission failed: ${said[RANDOM % 4]}" >&2
    exit 1
}
"""
HANGS = """
case $((call % 4)) in
    1) exec sleep 3600 ;;
    2) "$real" "$@" > /dev/null; exec sleep 3600 ;;
esac
"""
ANSWERS_GARBAGE = """
case $((call % 3)) in
    1) "$real" "$@" > /dev/null; echo 'Welcome to the cluster!'; exit ;;
    2) exit ;;
esac
"""
LEAVES_OUT = """
set -o pipefail
"$real" "$@" | while IFS= read -r row; do ((RANDOM % 100 < 30)) || printf '%s\\n' "$row"; done
exit
"""


def shims(world: World) -> str:
    return f"{world.private}/shims"


def breaking(name: str, harm: str) -> Callable[[World], None]:
    """Return what puts a program before the real one that does `harm`."""

    def prepare(world: World) -> None:
        text = SHIM.replace("@name@", name).replace("@harm@", harm)
        text = text.replace("@shims@", shims(world))
        seed = str(world.random.randrange(10_000))
        world.write(f"{shims(world)}/{name}", text.replace("@seed@", seed))
        world.alice("cd $1; chmod +x $2; touch $2-breaks $2-calls", shims(world), name)
        world.environment["PATH"] = f"{shims(world)}:{PATH}"

    return prepare


def trouble_with_sbatch(world: World) -> None:
    """Have new pilots needed while sbatch is broken, then heal it."""
    allocation, _ = running_pilot(world)
    world.alice("scancel $1", allocation)
    world.wait_for(world.fraction + 0.3)
    world.alice("rm $1/sbatch-breaks", shims(world))


@fault(prepare=breaking("sbatch", FAILS))
def sbatch_fails(world: World) -> None:
    """Three of ten calls of sbatch fail from the start on; a pilot is cancelled."""
    trouble_with_sbatch(world)


@fault(prepare=breaking("sbatch", HANGS))
def sbatch_hangs(world: World) -> None:
    """Half of the calls of sbatch hang, some after they took effect; a pilot is cancelled."""
    trouble_with_sbatch(world)


@fault(prepare=breaking("sbatch", ANSWERS_GARBAGE))
def sbatch_garbage(world: World) -> None:
    """Most answers of sbatch have no job id in them, took the job or not; a pilot is cancelled."""
    trouble_with_sbatch(world)


@fault(prepare=breaking("squeue", LEAVES_OUT))
def squeue_partial(world: World) -> None:
    """The answers of squeue lack three of ten rows until most of the outputs are there."""
    world.wait_for(0.6)
    world.alice("rm $1/squeue-breaks", shims(world))
