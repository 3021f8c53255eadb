"""Check a site file against the facts of the cluster. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .site import QUEUE, Partition, Site
from .slurm_facts import Association, ClusterFacts, Node, Nodes


@dataclass(frozen=True)
class Problem:
    """An invalid value at `keys` of a site file, and its fix."""

    keys: tuple[str | int, ...]
    value: object
    what: str
    fix: str

    def __str__(self) -> str:
        return f"`{'.'.join(map(str, self.keys))}` is {self.value}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class _Place:
    """Position of the values of one partition in the site file."""

    partition: Partition
    index: int | None

    site: Site

    def keys(self, name: str) -> tuple[str | int, ...]:
        is_sites = name in QUEUE and getattr(self.site.slurm, name) == getattr(self.partition, name)
        if self.index is not None and not is_sites:
            return ("partitions", self.index, name)
        elsewhere = {"name": ("slurm", "partition"), "walltime_max_min": ("pilot", "walltime_min")}
        elsewhere |= {option: ("slurm", option) for option in QUEUE}
        return elsewhere.get(name, ("pilot", name))

    def problem(self, name: str, value: object, what: str, fix: str) -> Problem:
        return Problem(self.keys(name), value, what, fix)


def problems(site: Site, cluster: ClusterFacts) -> list[Problem]:
    """Return the values that Slurm would reject, or leave pending without end."""
    listed = not site.has_fixed_pilots
    found: list[Problem] = []
    for index, partition in enumerate(site.partitions):
        place = _Place(partition, index if listed else None, site)
        found += _of_partition(place, site, cluster)
    return list(dict.fromkeys(found))


def _of_partition(place: _Place, site: Site, cluster: ClusterFacts) -> Iterator[Problem]:
    # Slurm takes a list of names for one allocation: it starts where it can first
    for name in place.partition.name.split(","):
        there = cluster.partition(name)
        if there is None:
            known = ", ".join(p.name for p in cluster.partitions)
            if name:
                yield place.problem("name", name, "there is no such partition", f"known: {known}")
            else:
                what = "there is no default partition"
                yield place.problem("name", "not given", what, f"name one of {known}")
            continue
        yield from _use(place, cluster, there)
        yield from _walltime(place, cluster, there)
        yield from _size(place, site, cluster.nodes_of(there.name))
        yield from _memory_of_cores(place, site, there, cluster.nodes_of(there.name))


def _use(place: _Place, cluster: ClusterFacts, there: Nodes) -> Iterator[Problem]:
    why = "" if there.is_up else "it takes no jobs at the moment"
    why = why or cluster.may_use(there)
    if why:
        others = [p.name for p in cluster.partitions if p.is_up and not cluster.may_use(p)]
        fix = f"use one of {', '.join(others)}" if others else "ask your administrators"
        yield place.problem("name", there.name, why, fix)
        return
    if there.needs_reservation and not place.partition.reservation:
        fix = "name one with `reservation`; `scontrol show reservation` lists them"
        yield place.problem("name", there.name, "it takes jobs of a reservation alone", fix)
    yield from _account(place, cluster, there)


def _account(place: _Place, cluster: ClusterFacts, there: Nodes) -> Iterator[Problem]:
    account, qos = place.partition.account, place.partition.qos
    yours = cluster.accounts_in(there)
    refusal = f"partition {there.name} does not take it"
    if account and cluster.accounts and account not in cluster.accounts:
        fix = f"yours are {', '.join(cluster.accounts)}"
        yield place.problem("account", account, "you have no such account", fix)
        return
    if account and cluster.accounts and account not in yours:
        takes = there.accounts or yours
        fix = f"it takes {', '.join(takes)}" if takes else "ask your administrators"
        yield place.problem("account", account, refusal, fix)
    elif account and not cluster.takes_account(there, account):
        yield place.problem("account", account, refusal, f"it takes {', '.join(there.accounts)}")
    own = cluster.association(there, account)
    # Slurm takes a list, of which one applies
    for name in filter(None, qos.split(",")):
        if not there.takes_qos(name):
            others = there.qos or tuple(q for q in (own.qos if own else ()) if there.takes_qos(q))
            fix = f"it takes {', '.join(others)}" if others else "name another"
            yield place.problem("qos", name, refusal, fix)
        elif own and own.qos and name not in own.qos:
            yield place.problem("qos", name, "it is not yours", f"yours are {', '.join(own.qos)}")


def _walltime(place: _Place, cluster: ClusterFacts, there: Nodes) -> Iterator[Problem]:
    wanted = max(place.partition.walltimes_min)
    for limit, whose in (
        (there.walltime_max_min, f"the limit of partition {there.name}"),
        (longest_min(cluster, there, place.partition.account), "the limit of your account"),
    ):
        if limit is not None and wanted > limit:
            what = f"{whose} is {limit} minutes"
            yield place.problem("walltime_max_min", wanted, what, f"write {limit} or less")
            return


def _memory_of_cores(
    place: _Place, site: Site, there: Nodes, nodes: tuple[Node, ...]
) -> Iterator[Problem]:
    """Find memory that takes more cores than nodes have: `sbatch --test-only` grants it, `sbatch`
    does not.
    """
    want, limit_mb = place.partition, there.memory_per_core_mb or 0
    takes = there.cores_for_memory(want.cores, want.memory_mb, site.slurm.memory)
    most = max((node.cores for node in nodes), default=0)
    if want.cores <= most < takes:
        what = (
            f"a core gets at most {limit_mb} MB, so this takes {takes} cores, and its largest node "
            f"has {most}"
        )
        yield place.problem(
            "memory_mb", want.memory_mb, what, f"write {want.cores * limit_mb} or less"
        )


def longest_min(cluster: ClusterFacts, there: Nodes, account: str = "") -> int | None:
    """Return the maximum walltime of the user's accounts in minutes, None for no limit."""

    def counts(own: Association) -> bool:
        return own.partition in ("", there.name) and account in ("", own.account)

    limits = [own.walltime_max_min for own in cluster.associations or () if counts(own)]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def charges(site: Site, cluster: ClusterFacts) -> list[str]:
    """Return a line for each partition in which Slurm gives pilots more cores than they ask for."""
    return [line for partition in site.partitions if (line := _charge(partition, site, cluster))]


def _charge(partition: Partition, site: Site, cluster: ClusterFacts) -> str:
    there = cluster.partition(partition.name)
    nodes = cluster.nodes_of(there.name) if there else ()
    if there is None or not nodes:
        return ""
    name = f"partition {there.name}"
    node = largest_group(nodes)
    smallest = min(partition.smallest_cores, partition.cores)
    if there.whole_nodes or "--exclusive" in site.slurm.options:
        if smallest >= node.cores:
            return ""
        return (
            f"{name} gives whole nodes: a pilot of {smallest} cores is charged {node.cores}; write "
            f"`cores: {node.cores}` and `smallest_cores: {node.cores}`"
        )
    asked_mb = partition.memory_mb
    given = there.cores_for_memory(partition.cores, asked_mb, site.slurm.memory)
    if given <= partition.cores:
        return ""
    most_mb = partition.cores * (there.memory_per_core_mb or 0)
    return (
        f"{name} gives at most {there.memory_per_core_mb} MB with each core: a pilot of "
        f"{partition.cores} cores and {asked_mb} MB is charged {given} cores; write "
        f"`memory_mb: {most_mb}` or less"
    )


def largest_group(nodes: tuple[Node, ...]) -> Node:
    """Return a node of the kind that most nodes are of, of those that run jobs if any do."""
    there = tuple(node for node in nodes if node.is_there) or nodes
    kind, _ = Counter(map(shape_of, there)).most_common(1)[0]
    return next(node for node in there if shape_of(node) == kind)


def shape_of(node: Node) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """Return cores, memory and GPUs of a node."""
    return node.cores, node.memory_mb, tuple(sorted(node.gpus.items()))


def _size(place: _Place, site: Site, nodes: tuple[Node, ...]) -> Iterator[Problem]:
    want = place.partition
    if not nodes:
        yield place.problem("name", want.name, "it has no nodes", "use another partition")
        return
    knows_memory = any(n.memory_mb for n in nodes)
    if not knows_memory:
        nodes = tuple(replace(n, memory_mb=want.memory_mb) for n in nodes)
        if site.slurm.memory != "none":
            what = "Slurm does not know how much memory the nodes have"
            yield Problem(("slurm", "memory"), site.slurm.memory, what, "write none")
    gpus = [n.gpus.get(want.gpu_type, 0) if want.gpu_type else n.gpu_count for n in nodes]
    most = {
        "cores": (want.cores, max(n.cores for n in nodes), "cores"),
        "memory_mb": (want.memory_mb, max(n.memory_mb for n in nodes), "MB of memory"),
        "gpus": (want.gpus, max(gpus), f"GPUs{f' of type {want.gpu_type}' * bool(want.gpu_type)}"),
    }
    too_much = [(key, *what) for key, what in most.items() if what[0] > what[1]]
    for key, wanted, there, unit in too_much:
        what = f"its largest node has {there} {unit}"
        yield place.problem(key, wanted, what, f"write {there} or less")
    fits = (
        n.cores >= want.cores and n.memory_mb >= want.memory_mb and g >= want.gpus
        for n, g in zip(nodes, gpus, strict=True)
    )
    if not too_much and not any(fits):
        asked = f"{want.cores} cores, {want.memory_mb} MB and {want.gpus} GPUs"
        what = f"no node has {asked} together"
        yield place.problem("cores", want.cores, what, "write less of one of them")
