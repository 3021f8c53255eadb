"""Faults of pilots and of the nodes under them."""

from __future__ import annotations

from pool.conftest import POWER_LOSS

from .fault import NotStruckError, fault
from .workflow import SHARED
from .world import World

BATCH_SHELL = """
for process in $(pgrep -f slurm_script); do
    if grep -qz "^SLURM_JOB_ID=$1$" "/proc/$process/environ"; then echo "$process"; exit; fi
done
"""


def running_pilot(world: World) -> tuple[str, str]:
    """Return the allocation id and the node of one pilot that runs."""
    listed: list[list[str]] = []

    def look() -> bool:
        shown = world.alice("squeue --me --noheader --states=RUNNING --format='%A %N'")
        listed[:] = [line.split() for line in shown.splitlines()]
        return bool(listed)

    if not world.wait_until(look, 60):
        raise NotStruckError("there was no pilot")
    allocation, node = world.random.choice(sorted(listed))
    return allocation, node


@fault()
def node(world: World) -> None:
    """A node loses slurmd, pilot and disk at once; Slurm calls it down and later has it back."""
    allocation, name = running_pilot(world)
    batch = world.root(BATCH_SHELL, allocation)
    world.root(POWER_LOSS, name, batch)
    world.root("rm -rf /var/tmp/osg-pilot.$1.*", allocation)
    world.root("scontrol update nodename=$1 state=down reason=dead", name)
    world.wait_for(world.done() / world.jobs + 0.2)
    world.root("slurmd -N $1; scontrol update nodename=$1 state=resume", name)


@fault()
def pilot_killed(world: World) -> None:
    """All processes of a pilot are killed at once."""
    allocation, _ = running_pilot(world)
    world.alice("scancel --signal=KILL --full $1", allocation)


@fault()
def pilot_at_walltime(world: World) -> None:
    """Slurm ends a pilot because its walltime, which an administrator cut, is over."""
    allocation, _ = running_pilot(world)
    world.root("scontrol update JobId=$1 TimeLimit=1", allocation)


def allow_retries(world: World) -> None:
    world.options += ["--retries", "3"]


@fault(prepare=allow_retries)
def bad_node(world: World) -> None:
    """Every job fails on one of the nodes from now on; rules have three retries."""
    _, name = running_pilot(world)
    world.write(f"{SHARED}/bad-node", f'^OSGPILOT_NODE = "{name}"$\n')
    if not world.wait_until(lambda: "Error in rule" in world.said, 120):
        raise NotStruckError(f"no job met {name}")


TOKEN = "/home/alice/osg-token/flock.opensciencegrid.org"


@fault()
def expired_token(world: World) -> None:
    """The token of pilots expires, and a pilot is lost; later there is a good token again."""
    create = "condor_token_create -identity pilot@localpool -key POOL -lifetime 1"
    old = world.root(f"{create} -authz ADVERTISE_STARTD -authz ADVERTISE_MASTER", host="ap")
    good = world.root("cat $1", TOKEN)
    world.write(TOKEN, old, user="root")
    allocation, _ = running_pilot(world)
    world.alice("scancel $1", allocation)
    world.wait_for(world.done() / world.jobs + 0.2)
    world.write(TOKEN, good, user="root")
