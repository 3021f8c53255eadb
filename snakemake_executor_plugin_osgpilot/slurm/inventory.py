"""Ask Slurm what the cluster is like."""

from __future__ import annotations

from collections.abc import Sequence

from snakemake_executor_plugin_osgpilot.config import slurm_facts as facts
from snakemake_executor_plugin_osgpilot.config.slurm_facts import ClusterFacts
from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.slurm.host import Host

SCONTROL = ("scontrol", "--all", "--oneliner", "show")
"""Hidden partitions are shown, too: pilots may be meant for one."""


def survey(host: Host) -> ClusterFacts:
    """Return what Slurm tells its users of the cluster. Raises `OutcomeUnknownError`.

    Four commands, whatever the size of the cluster; accounts are left out where none are kept.
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
        said = " ".join(done.err.split()) or f"exit status {done.status}"
        raise OutcomeUnknownError(f"{' '.join(argv[:4])}: {said}")
    return done.out
