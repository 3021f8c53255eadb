"""Check a site file against the facts of the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .site import Partition, Site
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

    def keys(self, name: str) -> tuple[str | int, ...]:
        if self.index is not None:
            return ("partitions", self.index, name)
        walltime = {"walltime_max_min": "walltime_min"}
        return ("slurm", "partition") if name == "name" else ("pilot", walltime.get(name, name))

    def problem(self, name: str, value: object, what: str, fix: str) -> Problem:
        return Problem(self.keys(name), value, what, fix)


def problems(site: Site, cluster: ClusterFacts) -> list[Problem]:
    """Return the values that Slurm would reject, or leave pending without end."""
    listed = not site.has_fixed_pilots
    found: list[Problem] = []
    for index, partition in enumerate(site.partitions):
        place = _Place(partition, index if listed else None)
        found += _of_partition(place, site, cluster)
    if site.slurm.account and cluster.accounts and site.slurm.account not in cluster.accounts:
        found.append(
            Problem(
                ("slurm", "account"),
                site.slurm.account,
                "you have no such account",
                f"yours are {', '.join(cluster.accounts)}",
            )
        )
    return found


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
        yield from _use(place, site, cluster, there)
        yield from _walltime(place, site, cluster, there)
        yield from _size(place, cluster.nodes_of(name))


def _use(place: _Place, site: Site, cluster: ClusterFacts, there: Nodes) -> Iterator[Problem]:
    why = "" if there.is_up else "it takes no jobs at the moment"
    why = why or cluster.may_use(there)
    if why:
        others = [p.name for p in cluster.partitions if p.is_up and not cluster.may_use(p)]
        fix = f"use one of {', '.join(others)}" if others else "ask your administrators"
        yield place.problem("name", there.name, why, fix)
        return
    account, qos = site.slurm.account, site.slurm.qos
    if account and there.accounts and account not in there.accounts:
        yield Problem(
            ("slurm", "account"),
            account,
            f"partition {there.name} does not take it",
            f"it takes {', '.join(there.accounts)}",
        )
    if qos and there.qos and qos not in there.qos:
        yield Problem(
            ("slurm", "qos"),
            qos,
            f"partition {there.name} does not take it",
            f"it takes {', '.join(there.qos)}",
        )


def _walltime(place: _Place, site: Site, cluster: ClusterFacts, there: Nodes) -> Iterator[Problem]:
    wanted = max(place.partition.walltimes_min)
    for limit, whose in (
        (there.walltime_max_min, f"the limit of partition {there.name}"),
        (longest_min(cluster, there, site.slurm.account), "the limit of your account"),
    ):
        if limit is not None and wanted > limit:
            what = f"{whose} is {limit} minutes"
            yield place.problem("walltime_max_min", wanted, what, f"write {limit} or less")
            return


def longest_min(cluster: ClusterFacts, there: Nodes, account: str = "") -> int | None:
    """Return the maximum walltime of the user's accounts in minutes, None for no limit."""

    def counts(own: Association) -> bool:
        return own.partition in ("", there.name) and account in ("", own.account)

    limits = [own.walltime_max_min for own in cluster.associations or () if counts(own)]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _size(place: _Place, nodes: tuple[Node, ...]) -> Iterator[Problem]:
    want = place.partition
    if not nodes:
        yield place.problem("name", want.name, "it has no nodes", "use another partition")
        return
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
