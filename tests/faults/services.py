"""Faults of the services: access point, central manager, Slurm's controller, network."""

from __future__ import annotations

import time

from .fault import fault
from .world import World

KILL_DAEMONS = """
for daemon; do
    pkill -KILL --parent "$(cat /run/condor/condor_master.pid)" --full "$daemon" || exit 1
done
"""
"""Only those that the host's own master started: pilots on login run daemons of the same names."""

CENTRAL_MANAGER = "10.99.0.1"


@fault()
def schedd(world: World) -> None:
    """The schedd of the access point in use is killed; its master starts it again."""
    world.root(KILL_DAEMONS, "condor_schedd")


@fault()
def central_manager(world: World) -> None:
    """Collector and negotiator are killed; their master starts them again."""
    world.root(KILL_DAEMONS, "condor_collector", "condor_negotiator", host="ap")


@fault()
def slurmctld(world: World) -> None:
    """Slurm's controller is killed, and started again after five minutes."""
    world.root("pool-svc slurmctld kill")
    time.sleep(world.lasts_s(300, short_s=45))
    world.root("pool-svc slurmctld start")


@fault()
def network(world: World) -> None:
    """The network between access point and central manager is cut for three minutes."""
    world.root("ip route add blackhole $1/32", CENTRAL_MANAGER)
    time.sleep(world.lasts_s(180, short_s=40))
    world.root("ip route del blackhole $1/32", CENTRAL_MANAGER)
