"""Faults of an access point on another host than Snakemake's."""

from __future__ import annotations

import time

from .fault import fault
from .services import CENTRAL_MANAGER, KILL_DAEMONS
from .snakemake_process import ENDS_WITHIN_S
from .world import World

FAR, POLL_S = "ap.localpool", 2

TOKEN = "/home/alice/.condor/tokens.d/ap"
END_SESSIONS = "pkill -KILL -u alice -f snakemake_executor_plugin_osgpilot.access_point.worker"
"""A session outlives the token that it was begun with, and lasts as long as the process."""


def far_access_point(world: World) -> None:
    world.site["access_point"] = {"schedd": FAR, "poll_s": POLL_S}


@fault(prepare=far_access_point)
def far_schedd(world: World) -> None:
    """The schedd of an access point on another host is killed; its master starts it again."""
    world.root(KILL_DAEMONS, "condor_schedd", host="ap")


@fault(prepare=far_access_point)
def far_network(world: World) -> None:
    """The network between Snakemake, its pilots and an access point elsewhere is cut."""
    world.root("ip route add blackhole $1/32", CENTRAL_MANAGER)
    time.sleep(world.lasts_s(180, short_s=40))
    world.root("ip route del blackhole $1/32", CENTRAL_MANAGER)


@fault(prepare=far_access_point, start_again=True)
def far_snakemake_killed(world: World) -> None:
    """Snakemake is killed while its jobs are at an access point elsewhere, and started again."""
    world.root("kill -KILL $1", world.snakemake)
    world.await_end(ENDS_WITHIN_S)
    world.start()


@fault(prepare=far_access_point)
def far_token(world: World) -> None:
    """The user's token for an access point elsewhere expires; later there is a good one again."""
    good = world.alice("cat $1", TOKEN)
    create = "condor_token_create -identity alice@localpool -key POOL -lifetime 1"
    old = world.root(f"{create} -authz READ -authz WRITE", host="ap")
    world.write(TOKEN, old)
    time.sleep(2)
    world.root(END_SESSIONS)
    if not world.wait_until(lambda: "osgpilot: could not" in world.said, 120):
        world.note("nobody noticed the token")
    world.write(TOKEN, good)
