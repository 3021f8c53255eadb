"""Faults of the services: access point, central manager, Slurm's controller, network."""

from __future__ import annotations

import time

from .fault import pool_fault
from .world import Round

KILL_DAEMONS = """
for daemon; do
    pkill -KILL --parent "$(cat /run/condor/condor_master.pid)" --full "$daemon" || exit 1
done
"""
"""Only those that the host's own master started: pilots on login run daemons of the same names."""

CENTRAL_MANAGER = "10.99.0.1"


@pool_fault()
def schedd(round_: Round) -> None:
    """The schedd of the access point in use is killed; its master starts it again."""
    round_.root(KILL_DAEMONS, "condor_schedd")


@pool_fault()
def central_manager(round_: Round) -> None:
    """Collector and negotiator are killed; their master starts them again."""
    round_.root(KILL_DAEMONS, "condor_collector", "condor_negotiator", host="ap")


@pool_fault()
def slurmctld(round_: Round) -> None:
    """Slurm's controller is killed, and started again after five minutes."""
    round_.root("pool-svc slurmctld kill")
    time.sleep(round_.lasts_s(300, short_s=45))
    round_.root("pool-svc slurmctld start")


@pool_fault()
def network(round_: Round) -> None:
    """The network between access point and central manager is cut for three minutes."""
    round_.root("ip route add blackhole $1/32", CENTRAL_MANAGER)
    time.sleep(round_.lasts_s(180, short_s=40))
    round_.root("ip route del blackhole $1/32", CENTRAL_MANAGER)
