"""Query Slurm for the partitions, nodes and accounts of the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import slurm_facts as facts
from ..config.slurm_facts import ClusterFacts
from ..errors import OutcomeUnknownError
from .host import Host

SCONTROL = ("scontrol", "--all", "--oneliner", "show")
"""Hidden partitions are included: pilots may use one."""


def survey(host: Host) -> ClusterFacts:
    """Return the facts that Slurm reports about the cluster. Raises `OutcomeUnknownError`.

    Runs a fixed number of commands; accounts are left out if Slurm has no accounting.
    """
    config = facts.config(_answer(host, ["scontrol", "show", "config"]))
    who, *groups = _answer(host, ["id", "-nG"]).split() or [""]
    return ClusterFacts(
        config.get("ClusterName", ""),
        config.get("SLURM_VERSION", ""),
        facts.partitions(_answer(host, [*SCONTROL, "partition"])),
        facts.nodes(_answer(host, [*SCONTROL, "node"])),
        _associations(host),
        (who, *groups),
        config.get("TmpFS", ""),
    )


def _associations(host: Host) -> tuple[facts.Association, ...] | None:
    user = _answer(host, ["id", "-nu"]).strip()
    fields = "format=account,partition,qos,maxwall"
    try:
        text = _answer(
            host, ["sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"user={user}", fields]
        )
    except OutcomeUnknownError:
        return None
    return facts.associations(text)


def _answer(host: Host, argv: Sequence[str]) -> str:
    done = host.run(argv)
    if done.status:
        message = " ".join(done.err.split()) or f"exit status {done.status}"
        raise OutcomeUnknownError(f"{' '.join(argv[:4])}: {message}")
    return done.out
