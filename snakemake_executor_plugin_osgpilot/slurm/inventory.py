"""Query Slurm for the partitions, nodes and accounts of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..config import slurm_facts as facts
from ..config.site import SlurmOptions
from ..config.site_template import Entry, Trial, chosen, entries
from ..config.slurm_facts import ClusterFacts
from ..errors import OutcomeUnknownError
from ..pilots.batch_system import Allocation
from . import commands
from .error_messages import failure
from .host import Host
from .remote_script import message

SCONTROL = ("scontrol", "--all", "--oneliner", "show")
"""Hidden partitions are included: pilots may use one."""


def survey(host: Host) -> ClusterFacts:
    """Return the facts that Slurm reports about the cluster. Raises `OutcomeUnknownError`.

    Runs a fixed number of commands; accounts are left out if Slurm has no accounting.
    """
    config = _config(host)
    who, *groups = _answer(host, ["id", "-nG"]).split() or [""]
    # a cluster that is named is asked with its own configuration
    name = config.get("ClusterName", "")
    own = _associations(host, name)
    return ClusterFacts(
        name,
        config.get("SLURM_VERSION", ""),
        partitions(host, config),
        facts.nodes(_answer(host, [*SCONTROL, "node"])),
        own,
        (who, *groups),
        config.get("TmpFS", ""),
        _parents(host, name) if own else {},
    )


def partitions(host: Host, config: Mapping[str, str] | None = None) -> tuple[facts.Nodes, ...]:
    """Return the partitions of the cluster with this configuration (None: it is asked for).

    Raises `OutcomeUnknownError`.
    """
    known = _config(host) if config is None else config
    return facts.partitions(_answer(host, [*SCONTROL, "partition"]), known)


def _config(host: Host) -> dict[str, str]:
    return facts.config(_answer(host, ["scontrol", "show", "config"]))


def try_pilots(host: Host, cluster: ClusterFacts, account: str) -> Trial:
    """Ask Slurm whether it would take the pilots of a site file to be; nothing is submitted.

    Only Slurm knows all its rules, and those of the site's own plugins. A partition that is refused
    makes room for the next. Where memory may not be requested, the other ways are tried.
    """
    knows_memory = any(node.memory_mb for node in cluster.nodes)
    trial = Trial("node" if knows_memory else "none")
    asked: set[str] = set()
    while True:
        listed = chosen(entries(cluster, account, trial.refused))
        new = next((entry for entry in listed if entry.name not in asked), None)
        if new is None:
            return trial
        asked.add(new.name)
        if why := _refusal(host, new, account, trial.memory):
            trial = _after_refusal(host, new, account, trial, why)


def _after_refusal(host: Host, entry: Entry, account: str, trial: Trial, why: str) -> Trial:
    if "mem" in why.lower():
        for how in ("cpu", "none"):
            if how != trial.memory and not _refusal(host, entry, account, how):
                return replace(trial, memory=how)
    return replace(trial, refused={**trial.refused, entry.name: why})


def _refusal(host: Host, entry: Entry, account: str, memory: str) -> str:
    """Return why Slurm refuses the largest pilot of an entry; empty if it does not, or is silent.

    No answer is no refusal.
    """
    queue = {"account": entry.account or account, "qos": entry.qos}
    wanted = Allocation(
        "osgpilot-init", "init", entry.cores, entry.memory_mb, entry.walltime_max_min, Path("/tmp"),
        partition=entry.name, queue=queue,
    )  # fmt: skip
    argv = commands.sbatch_test_only(wanted, SlurmOptions(memory=memory), Path("/tmp"))
    done = host.run([*argv[:-2], "--wrap=true"])
    said = message(done)
    if done.status == 0 or isinstance(failure("sbatch", said), OutcomeUnknownError):
        return ""
    return said


SACCTMGR = ("sacctmgr", "--noheader", "--parsable2", "show", "assoc")


def _associations(host: Host, cluster: str) -> tuple[facts.Association, ...] | None:
    user = _answer(host, ["id", "-nu"]).strip()
    try:
        text = _answer(host, [*SACCTMGR, f"user={user}", facts.ASSOCIATION])
    except OutcomeUnknownError:
        return None
    return facts.associations(text, cluster)


def _parents(host: Host, cluster: str) -> dict[str, str]:
    """Return the account above each account; none where users may not see others' accounts."""
    try:
        return facts.parents(_answer(host, [*SACCTMGR, "user=", facts.PARENT]), cluster)
    except OutcomeUnknownError:
        return {}


def _answer(host: Host, argv: Sequence[str]) -> str:
    done = host.run(argv)
    if done.status:
        raise OutcomeUnknownError(f"{' '.join(argv[:4])}: {message(done)}")
    return done.out
