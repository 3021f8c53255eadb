"""Parse the facts of a cluster from the output of Slurm's commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import OutcomeUnknownError

_KEY = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_]*)=")
_GPU = re.compile(r"gpu(?::([A-Za-z0-9_.-]+))?:(\d+)(?:\(|,|$)")
_AWAY = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "FUTURE", "INVALID", "INVALID_REG",
    "MAINT", "NOT_RESPONDING", "UNKNOWN",
}  # fmt: skip
"""States of nodes that run no jobs now. Nodes of a cloud that are powered down come when needed."""

_ENDLESS = ("UNLIMITED", "INFINITE", "NONE", "")


@dataclass(frozen=True)
class Nodes:
    """A Slurm partition: its permitted users (empty: anybody) and limits (None: no limit).

    With `whole_nodes`, a job gets all cores of its node, whatever it asks for;
    `memory_per_core_mb` is the most that a core may have: a job that wants more gets more cores.
    """

    name: str
    is_default: bool = False
    is_up: bool = True
    walltime_max_min: int | None = None
    cores_max: int | None = None
    memory_max_mb: int | None = None
    groups: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    denied_accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    is_for_root: bool = False
    preempts: bool = False
    is_hidden: bool = False
    denied_qos: tuple[str, ...] = ()
    needs_reservation: bool = False
    nodes_min: int = 1
    whole_nodes: bool = False
    memory_per_core_mb: int | None = None

    def cores_for_memory(self, cores: int, memory_mb: int, how: str) -> int:
        """Return the cores that Slurm gives a request for memory (`how`: `slurm.memory` of the site
        file), at least those that it asks for.
        """
        most_mb = self.memory_per_core_mb
        if not most_mb or how == "none":
            return cores
        if how == "cpu":
            # Slurm multiplies the cores
            return cores * max(1, _ceil_div(_ceil_div(memory_mb, cores), most_mb))
        return max(cores, _ceil_div(memory_mb, most_mb))

    def takes_qos(self, qos: str) -> bool:
        """Return True if jobs with this QOS may run here."""
        return (not self.qos or qos in self.qos) and qos not in self.denied_qos


@dataclass(frozen=True)
class Node:
    """A compute node: resources for jobs. `gpus` are numbers by type ("": unknown type).

    `memory_mb` is 0 if Slurm was not told it; `free_mb` is what the node itself reports as free.
    """

    name: str
    cores: int
    memory_mb: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    is_there: bool = True
    free_mb: int = 0

    @property
    def gpu_count(self) -> int:
        return sum(self.gpus.values())


@dataclass(frozen=True)
class Association:
    """An account that the user may charge, in one partition or (empty) in all."""

    account: str
    partition: str = ""
    qos: tuple[str, ...] = ()
    walltime_max_min: int | None = None
    default_qos: str = ""


@dataclass(frozen=True)
class ClusterFacts:
    """Facts of a cluster; `associations` is None if it has no accounting.

    `groups` are the user's; `scratch` is the local disk of the nodes according to Slurm (TmpFS).
    `parents` has the account above each account, as far as known.
    """

    name: str
    version: str
    partitions: tuple[Nodes, ...]
    nodes: tuple[Node, ...]
    associations: tuple[Association, ...] | None = None
    groups: tuple[str, ...] = ()
    scratch: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)

    def partition(self, name: str) -> Nodes | None:
        """Return the partition of this name; the default one for an empty name."""
        wanted = (p for p in self.partitions if p.name == name or (not name and p.is_default))
        return next(wanted, None)

    def nodes_of(self, name: str) -> tuple[Node, ...]:
        """Return the nodes of a partition, reduced to its limits."""
        limits = self.partition(name)
        if limits is None:
            return ()
        return tuple(
            replace(
                n,
                cores=min(n.cores, limits.cores_max or n.cores),
                memory_mb=min(n.memory_mb, limits.memory_max_mb or n.memory_mb),
            )
            for n in self.nodes
            if limits.name in n.partitions
        )

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that the user may charge; none if unknown."""
        return tuple(dict.fromkeys(a.account for a in self.associations or ()))

    def may_use(self, partition: Nodes) -> str:
        """Return why the user may not use a partition, empty if nothing is known against it."""
        if partition.is_for_root:
            return "it is for root alone"
        if partition.groups and not set(partition.groups) & set(self.groups):
            return f"it is for the groups {', '.join(partition.groups)}"
        if partition.nodes_min > 1:
            return f"its jobs have at least {partition.nodes_min} nodes, pilots have one"
        if not self.accounts or self.accounts_in(partition):
            return ""
        if partition.accounts:
            return f"it is for the accounts {', '.join(partition.accounts)}"
        if denied := set(self.accounts) & set(partition.denied_accounts):
            return f"it denies the accounts {', '.join(sorted(denied))}"
        return "you have no account for it"

    def accounts_in(self, partition: Nodes) -> tuple[str, ...]:
        """Return the user's accounts that a partition takes."""
        own = (a for a in self.associations or () if a.partition in ("", partition.name))
        return tuple(
            dict.fromkeys(a.account for a in own if self.takes_account(partition, a.account))
        )

    def takes_account(self, partition: Nodes, account: str) -> bool:
        """Return True if a partition takes an account, or one above it (slurm.conf(5))."""
        lineage = self._lineage(account)
        if partition.accounts:
            return bool(lineage & set(partition.accounts))
        return not lineage & set(partition.denied_accounts)

    def _lineage(self, account: str) -> set[str]:
        found: set[str] = set()
        while account and account not in found:
            found.add(account)
            account = self.parents.get(account, "")
        return found

    def association(self, partition: Nodes, account: str) -> Association | None:
        """Return the association that applies to an account in a partition, None if unknown."""
        own = [a for a in self.associations or () if not account or a.account == account]
        exact = (a for a in own if a.partition == partition.name)
        return next(exact, next((a for a in own if not a.partition), None))


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def partitions(scontrol_output: str, cluster: Mapping[str, str] | None = None) -> tuple[Nodes, ...]:
    """Parse the output of `scontrol --oneliner show partition` (scontrol(1)).

    What a partition does not limit itself, the configuration of the `cluster` does.
    """
    common = cluster or {}
    return tuple(
        _partition({**keys, **_inherited(keys, common)})
        for keys in records(scontrol_output, "PartitionName")
    )


def _inherited(keys: Mapping[str, str], cluster: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that a partition has from the configuration of its cluster.

    `scontrol` shows `MaxMemPerNode=UNLIMITED` for a partition that takes either of the cluster's
    limits on memory.
    """
    limits = ("MaxMemPerCPU", "MaxMemPerNode")
    found: dict[str, str] = {}
    if all(_number(keys.get(name, "")) is None for name in limits):
        found = {name: cluster[name] for name in limits if name in cluster}
    if cluster.get("SelectType") == "select/linear":
        found["OverSubscribe"] = "EXCLUSIVE"
    return found


def nodes(scontrol_output: str) -> tuple[Node, ...]:
    """Parse the output of `scontrol --oneliner show node`."""
    return tuple(_node(keys) for keys in records(scontrol_output, "NodeName"))


def config(scontrol_output: str) -> dict[str, str]:
    """Parse the output of `scontrol show config`."""
    pairs = (line.split("=", 1) for line in scontrol_output.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


ASSOCIATION = "format=account,partition,qos,maxwall,defaultqos,cluster"
PARENT = "format=account,parentname,cluster"


def associations(sacctmgr_output: str, cluster: str = "") -> tuple[Association, ...]:
    """Parse `sacctmgr --parsable2 show assoc` with the columns `ASSOCIATION`.

    Those of other clusters, which share the accounting, are left out.
    """
    return tuple(
        Association(account, partition, _names(qos), minutes(walltime), default_qos)
        for account, partition, qos, walltime, default_qos, where in _rows(sacctmgr_output, 6)
        if not cluster or where.lower() in ("", cluster.lower())
    )


def parents(sacctmgr_output: str, cluster: str = "") -> dict[str, str]:
    """Parse the columns `PARENT`: the account above each account."""
    return {
        account: parent
        for account, parent, where in _rows(sacctmgr_output, 3)
        if parent and (not cluster or where.lower() in ("", cluster.lower()))
    }


def _rows(sacctmgr_output: str, columns: int) -> Iterable[list[str]]:
    for line in _lines(sacctmgr_output):
        parts = line.split("|")
        if len(parts) != columns:
            raise OutcomeUnknownError(
                f"sacctmgr printed a line that cannot be read: {line[:200]!r}"
            )
        yield parts


def _lines(text: str) -> Iterable[str]:
    """Return the lines; where a cluster was named, there is one with its name before them."""
    lines = filter(None, map(str.strip, text.splitlines()))
    return (line for line in lines if not _HEADER.fullmatch(line))


_HEADER = re.compile(r"CLUSTER: *\S+")


def records(text: str, first: str) -> Iterable[dict[str, str]]:
    """Return the `KEY=VALUE` pairs of each line. Raises `OutcomeUnknownError` unless it begins with
    `first`.

    A value may contain blanks and equal signs: the next key follows a blank.
    """
    for line in _lines(text):
        found = list(_KEY.finditer(line))
        if not found or found[0][1] != first:
            raise OutcomeUnknownError(
                f"scontrol printed a line that cannot be read: {line[:200]!r}"
            )
        ends = [match.start() for match in found[1:]] + [len(line)]
        yield {
            match[1]: line[match.end() : end].strip()
            for match, end in zip(found, ends, strict=True)
        }


def minutes(text: str) -> int | None:
    """Parse a time limit of Slurm (`2-00:00:00`, `10:00`); return minutes, None for no limit."""
    if text.upper() in _ENDLESS:
        return None
    days, _, clock = text.rpartition("-")
    try:
        hours, mins, secs = ([0, 0] + [int(part) for part in clock.split(":")])[-3:]
        if days and clock.count(":") < 2:
            # after days, hours come first
            hours, mins, secs = ([int(part) for part in clock.split(":")] + [0, 0])[:3]
        return (int(days or 0) * 24 + hours) * 60 + mins + (secs > 0)
    except ValueError as error:
        raise OutcomeUnknownError(
            f"Slurm printed a time that cannot be read: {text[:80]!r}"
        ) from error


def gpus(gres: str) -> dict[str, int]:
    """Return the GPUs in a node's generic resources (`gpu:a100:4(S:0-1),lscratch:1`) by type."""
    found: dict[str, int] = {}
    for kind, number in _GPU.findall(gres):
        found[kind] = found.get(kind, 0) + int(number)
    return found


def _partition(keys: Mapping[str, str]) -> Nodes:
    return Nodes(
        keys["PartitionName"],
        keys.get("Default") == "YES",
        keys.get("State", "UP") == "UP",
        minutes(keys.get("MaxTime", "")),
        _number(keys.get("MaxCPUsPerNode", "")),
        _number(keys.get("MaxMemPerNode", "")),
        _names(keys.get("AllowGroups", "ALL")),
        _names(keys.get("AllowAccounts", "ALL")),
        _names(keys.get("DenyAccounts", "")),
        _names(keys.get("AllowQos", "ALL")),
        keys.get("RootOnly") == "YES",
        keys.get("PreemptMode", "OFF") not in ("OFF", "GANG"),
        keys.get("Hidden") == "YES",
        _names(keys.get("DenyQos", "")),
        keys.get("ReqResv") == "YES",
        _number(keys.get("MinNodes", "")) or 1,
        keys.get("OverSubscribe", keys.get("Shared", "")).startswith("EXCLUSIVE"),
        _number(keys.get("MaxMemPerCPU", "")),
    )


def _node(keys: Mapping[str, str]) -> Node:
    try:
        cores = int(keys.get("CPUEfctv") or keys["CPUTot"])
        # 1 is Slurm's default
        memory_mb = max(0, int(keys["RealMemory"]) - (_number(keys.get("MemSpecLimit", "")) or 0))
        memory_mb = 0 if memory_mb == 1 else memory_mb
    except (KeyError, ValueError) as error:
        raise OutcomeUnknownError(f"scontrol reports no size of node {keys['NodeName']}") from error
    return Node(
        keys["NodeName"],
        cores,
        memory_mb,
        gpus(keys.get("Gres", "")),
        _names(keys.get("Partitions", "")),
        _is_there(keys.get("State", "")),
        _number(keys.get("FreeMem", "")) or 0,
    )


def _is_there(state: str) -> bool:
    """Return True for the state of a node that runs jobs: `MIXED`, not `DOWN*+DRAIN` or `IDLE*`."""
    first, *flags = state.split("+")
    words = {word.rstrip("*~#!%$@^-") for word in (first, *flags)}
    return "*" not in first and not words & _AWAY


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) else None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.strip().split(",")))
    return () if names in (("ALL",), ("(null)",), ("N/A",)) else names
