"""Faults of pilots and of the nodes under them."""

from __future__ import annotations

from collections.abc import Callable

from .fault import NotStruckError, fault, pool_fault
from .world import Round, World

POWER_LOSS = """
family() {
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
    echo "$1"
}
dead=$(cat "/run/slurmd-$1.pid") allocations=
for process in $(pgrep -f slurm_script); do
    grep -qz "^SLURMD_NODENAME=$1$" "/proc/$process/environ" || continue
    dead+=" $(family "$process")"
    allocations+=" $(tr '\\0' '\\n' < "/proc/$process/environ" | sed -n 's/^SLURM_JOB_ID=//p')"
done
kill -KILL $dead
for allocation in $allocations; do
    # pilots that were started meanwhile
    for _ in 1 2 3; do
        left=$(grep -ls "osg-pilot[.]$allocation[.]" /proc/[0-9]*/mountinfo | cut -d / -f 3)
        [ -z "$left" ] || kill -KILL $left
    done
    rm -rf "/var/tmp/osg-pilot.$allocation".*
done
"""
"""Kills the slurmd of the node $1 and all pilots there, whosever they are, and empties its disk."""

POWER_BACK = """
slurmd -N "$1"
for _ in {1..60}; do
    [[ $(sinfo -h -n "$1" -o %t | head -n 1) == down* ]] || exit 0
    # it may have come back by itself meanwhile
    scontrol update nodename="$1" state=resume || true
    sleep 0.5
done
exit 1
"""


def running_pilots(world: World) -> list[tuple[str, str]]:
    """Return the allocation id and the node of each pilot that runs, at least one."""
    listed: list[tuple[str, str]] = []

    def look() -> bool:
        shown = world.root("squeue --all --noheader --states=RUNNING --format='%A %N %j'")
        rows = [line.split(maxsplit=2) for line in shown.splitlines()]
        # by the whole of its name: other jobs may have names that look alike
        ours = tuple(f"osgpilot-{run}-" for run in world.runs)
        listed[:] = [
            (row[0], row[1])
            for row in rows
            if len(row) == 3 and row[2].startswith(ours) and row[2].rpartition("-")[2].isdigit()
        ]
        return bool(listed)

    if not world.wait_until(look, 60):
        raise NotStruckError("there was no pilot")
    return sorted(listed)


def running_pilot(world: World) -> tuple[str, str]:
    """Return the allocation id and the node of one pilot that runs."""
    return world.random.choice(running_pilots(world))


@pool_fault()
def node(round_: Round) -> None:
    """A node loses slurmd, pilots and disk at once; Slurm calls it down and later has it back."""
    names, spared = [f"n{number}" for number in range(1, 5)], list(round_.struck)
    round_.random.shuffle(names)
    dead = []
    for name in names:
        hit = {world: [a for a, at in _pilots_of(world) if at == name] for world in round_.struck}
        if any(hit[world] for world in spared):
            round_.root(POWER_LOSS, name)
            round_.root("scontrol update nodename=$1 state=down reason=dead", name)
            dead.append(name)
            spared = [world for world in spared if not hit[world]]
        # the last one stays
        if not spared or len(dead) == len(names) - 1:
            break
    for world in spared:
        world.missed = "it had no pilot on a node that died"
    since = round_.fraction
    round_.wait_until(
        lambda: (
            round_.fraction >= min(1.0, since + 0.2)
            or not any(world.running for world in round_.worlds)
        ),
        120,
    )
    for name in dead:
        round_.root(POWER_BACK, name)


def _pilots_of(world: World) -> list[tuple[str, str]]:
    try:
        return running_pilots(world)
    except NotStruckError:
        return []


@fault()
def pilot_killed(world: World) -> None:
    """All processes of a pilot are killed at once."""
    allocation, _ = running_pilot(world)
    world.alice("scancel --signal=KILL --full $1", allocation)


@fault()
def drained_pilot(world: World) -> None:
    """Somebody else asks all pilots of a workflow to take no more jobs."""
    for allocation, _ in running_pilots(world):
        world.alice("scancel --batch --signal=USR1 $1", allocation)


def long_jobs(seconds: int) -> Callable[[World], None]:
    """Return what has a workflow go on for longer than Slurm or the plugin take to look."""

    def prepare(world: World) -> None:
        world.write(f"{world.shared}/before-each", f"sleep {seconds}\n")

    return prepare


@fault(prepare=long_jobs(3))
def pilot_at_walltime(world: World) -> None:
    """Slurm ends a pilot because its walltime, which an administrator cut, is over."""
    allocation, _ = running_pilot(world)
    world.root("scontrol update JobId=$1 TimeLimit=1", allocation)

    def over() -> bool:
        return not world.root("squeue --all --noheader --states=RUNNING --jobs=$1", allocation)

    if not world.wait_until(over, 180):
        raise NotStruckError("the workflow ended before its pilot")


def allow_retries(world: World) -> None:
    world.options += ["--retries", "3"]


def retries_elsewhere(world: World) -> None:
    allow_retries(world)
    # jobs fail fast there, and so it takes more than its share
    world.pilots = 4


@fault(prepare=retries_elsewhere)
def bad_node(world: World) -> None:
    """Every job fails on one of the nodes from now on; rules have three retries."""
    if not world.wait_until(lambda: len({node for _, node in running_pilots(world)}) > 1, 30):
        raise NotStruckError("all pilots are on one node, which nothing tells from a bad rule")
    _, name = running_pilot(world)
    world.write(f"{world.shared}/bad-node", f'^OSGPILOT_NODE = "{name}"$\n')
    if not world.wait_until(lambda: "Error in rule" in world.said, 120):
        raise NotStruckError(f"no job met {name}")


TOKEN = "osg-token/flock.opensciencegrid.org"


def own_token(world: World) -> None:
    world.alice("cp -a ~/osg-token $1", world.private)
    world.site["token"] = f"{world.private}/{TOKEN}"


@fault(prepare=own_token)
def expired_token(world: World) -> None:
    """The token of pilots expires, and a pilot is lost; later there is a good token again."""
    token = f"{world.private}/{TOKEN}"
    create = "condor_token_create -identity pilot@localpool -key POOL -lifetime 1"
    old = world.root(f"{create} -authz ADVERTISE_STARTD -authz ADVERTISE_MASTER", host="ap")
    good = world.root("cat $1", token)
    world.write(token, old, user="root")
    allocation, _ = running_pilot(world)
    world.alice("scancel $1", allocation)
    world.wait_for(world.fraction + 0.2)
    world.write(token, good, user="root")
