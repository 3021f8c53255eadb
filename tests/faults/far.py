"""Faults of an access point on another host than Snakemake's."""

from __future__ import annotations

import time

from .fault import fault, pool_fault
from .services import CENTRAL_MANAGER, KILL_DAEMONS
from .world import ENDS_WITHIN_S, Round, World

FAR, POLL_S = "ap.localpool", 2

TOKEN = "/home/alice/.condor/tokens.d/ap"
END_SESSIONS = "pkill -KILL -u alice -f snakemake_executor_plugin_osgpilot.htcondor.worker"
"""A session outlives the token that it was begun with, and lasts as long as the process."""


def far_access_point(world: World) -> None:
    world.site["access_point"] = {"schedd": FAR, "poll_s": POLL_S}


@pool_fault(prepare=far_access_point)
def far_schedd(round_: Round) -> None:
    """The schedd of an access point on another host is killed; its master starts it again."""
    round_.root(KILL_DAEMONS, "condor_schedd", host="ap")


@pool_fault(prepare=far_access_point)
def far_network(round_: Round) -> None:
    """The network between Snakemake, its pilots and an access point elsewhere is cut."""
    round_.root("ip route add blackhole $1/32", CENTRAL_MANAGER)
    time.sleep(round_.lasts_s(180, short_s=40))
    round_.root("ip route del blackhole $1/32", CENTRAL_MANAGER)


@fault(prepare=far_access_point, start_again=True)
def far_snakemake_killed(world: World) -> None:
    """Snakemake is killed while its jobs are at an access point elsewhere, and started again."""
    world.root("kill -KILL $1", world.snakemake)
    world.await_end(ENDS_WITHIN_S)
    world.start()


@pool_fault(prepare=far_access_point)
def far_token(round_: Round) -> None:
    """The user's token for an access point elsewhere expires; later there is a good one again."""
    good = round_.root("cat $1", TOKEN)
    create = "condor_token_create -identity alice@localpool -key POOL -lifetime 1"
    old = round_.root(f"{create} -authz READ -authz WRITE", host="ap")
    writer = round_.worlds[0]
    writer.write(TOKEN, old)
    time.sleep(2)
    round_.root(END_SESSIONS)

    def noticed(world: World) -> bool:
        return "osgpilot: could not" in world.said

    round_.wait_until(lambda: all(noticed(w) or not w.running for w in round_.struck), 120)
    for world in round_.struck:
        if not noticed(world):
            world.missed = "nobody noticed the token"
    writer.write(TOKEN, good)
