"""Create a site file from the facts of a cluster and the user's answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from .site_check import longest_min
from .slurm_facts import ClusterFacts, Node, Nodes

CHOSEN_MAX = 3
"""Maximum number of partitions; more pilot types do not improve a plan."""

WALLTIME_MIN, WALLTIME_USUAL_MIN = 30, 2880
"""Partitions with a shorter limit are not used; pilots rarely profit from a longer walltime."""

IMAGE = "docker://hub.osg-htc.org/osg-htc/ospool-ep:25-release"
"""The OSG's pilot container (OSG documentation, containers for execution points)."""


@dataclass(frozen=True)
class Answers:
    """Answers of the user; empty if not given."""

    site: str = ""
    resource: str = ""
    project: str = ""
    token: str = ""
    image: str = ""
    account: str = ""
    ssh: str = ""
    central_manager: str = ""
    access_point: str = ""


@dataclass(frozen=True)
class Entry:
    """A partition of the file, with its largest pilot; with `why_not` it becomes a comment."""

    name: str
    cores: int
    memory_mb: int
    walltime_max_min: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    why_not: str = ""


def entries(cluster: ClusterFacts, account: str = "") -> list[Entry]:
    """Return the partitions in order of preference: the default, then by number of nodes."""
    counts = {p.name: len(cluster.nodes_of(p.name)) for p in cluster.partitions}
    order = sorted(cluster.partitions, key=lambda p: (not p.is_default, -counts[p.name], p.name))
    found = [_entry(p, cluster, account) for p in order if counts[p.name]]
    plain = [each for each in found if not each.why_not and not each.gpus]
    return list(_chosen(found, cluster, has_plain=bool(plain)))


def _chosen(found: list[Entry], cluster: ClusterFacts, *, has_plain: bool) -> Iterable[Entry]:
    taken: dict[frozenset[str], str] = {}
    for entry in found:
        names = frozenset(node.name for node in cluster.nodes_of(entry.name))
        same = next((name for others, name in taken.items() if names <= others), "")
        why = entry.why_not
        if not why and entry.gpus and has_plain:
            why = "for rules that use GPUs"
        elif not why and same:
            why = f"it has the same nodes as {same}"
        elif not why and len(taken) == CHOSEN_MAX:
            why = "there are enough others"
        if not why:
            taken[names] = entry.name
        yield _with_reason(entry, why)


def _with_reason(entry: Entry, why: str) -> Entry:
    return Entry(**{**vars(entry), "why_not": why})


def _entry(partition: Nodes, cluster: ClusterFacts, account: str) -> Entry:
    nodes = cluster.nodes_of(partition.name)
    (cores, memory_mb, gpus), _ = Counter(map(_shape, nodes)).most_common(1)[0]
    limits = (partition.walltime_max_min, longest_min(cluster, partition, account))
    limit = min((each for each in limits if each is not None), default=None)
    why = cluster.may_use(partition) or ("" if partition.is_up else "it takes no jobs now")
    if not why and partition.is_hidden:
        why = "Slurm hides it from its users"
    if not why and limit is not None and limit < WALLTIME_MIN:
        why = f"its limit of {limit} minutes is too short for pilots"
    return Entry(
        partition.name,
        cores,
        memory_mb,
        min(WALLTIME_USUAL_MIN, limit or WALLTIME_USUAL_MIN),
        dict(gpus),
        tuple(_notes(partition, nodes, limit)),
        why,
    )


def _shape(node: Node) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    return node.cores, node.memory_mb, tuple(sorted(node.gpus.items()))


def _notes(partition: Nodes, nodes: tuple[Node, ...], limit: int | None) -> Iterable[str]:
    for (cores, memory_mb, gpus), count in Counter(map(_shape, nodes)).most_common(4):
        with_gpus = "".join(f", {n} GPUs {kind}".rstrip() for kind, n in gpus)
        yield (
            f"{count} node(s) with {cores} cores, {memory_mb} MB "
            f"({memory_mb // max(1, cores)} a core){with_gpus}"
        )
    yield "no limit of time" if limit is None else f"its limit is {limit} minutes"
    if partition.preempts:
        yield "pilots there may be preempted: their jobs then run again"


def text(cluster: ClusterFacts, answers: Answers, schema: str, scratch: str = "") -> str:
    """Return a site file with the known values, and comments for the others.

    `schema` is the location of the JSON Schema for editors, `scratch` Slurm's scratch folder.
    Raises `InputError` if pilots cannot use any partition.
    """
    account = answers.account or next(iter(cluster.accounts), "")
    listed = entries(cluster, account)
    if all(entry.why_not for entry in listed):
        reasons = "; ".join(f"{entry.name}: {entry.why_not}" for entry in listed) or "there is none"
        raise InputError(f"no partition of {cluster.name} can be used by pilots ({reasons})")
    parts = [_head(cluster, schema), _names(cluster, answers), _files(answers, scratch)]
    parts += [_slurm(cluster, answers, account), _partitions(listed), _TAIL]
    return "\n".join(parts)


def _head(cluster: ClusterFacts, schema: str) -> str:
    return (
        f"# yaml-language-server: $schema={schema}\n"
        f"# The cluster {cluster.name} (Slurm {cluster.version}) as a place where pilots run.\n"
        "# Written by `osgpilot site init`; go over it, then: osgpilot site check, doctor\n"
    )


def _names(cluster: ClusterFacts, answers: Answers) -> str:
    site = answers.site or cluster.name
    lines = [
        "# The names under which the cluster is registered with the OSG, in Topology.",
        f"site: {scalar(site)}",
        f"resource: {scalar(answers.resource or f'{site}-Slurm')}",
    ]
    if answers.central_manager:
        lines.append(f"central_manager: {scalar(answers.central_manager)}")
    lines.append("# The OSG project that jobs and pilots are accounted to.")
    if answers.project:
        lines.append(f"project: {scalar(answers.project)}")
    else:
        lines.append("# project: Institution_PILastname")
    lines += [
        "# Where jobs are sent, by the schedd's name as `condor_status -schedd` shows it; without",
        "# this, to the access point of the host on which Snakemake runs.",
    ]
    if answers.access_point:
        lines += ["access_point:", f"  schedd: {scalar(answers.access_point)}"]
    else:
        lines += ["# access_point:", "#   schedd: NAME"]
    return "\n".join(lines) + "\n"


def _files(answers: Answers, scratch: str) -> str:
    hint = f" Slurm takes {scratch} for it." if scratch else ""
    return (
        "# Lets pilots join the pool; `osgpilot doctor --mail` has a mail that asks for one.\n"
        "# It has to be readable by you alone, and by you on compute nodes.\n"
        f"token: {scalar(answers.token or '~/osg-token/flock.opensciencegrid.org')}\n"
        "# The pilot container: a file that compute nodes see, or an image that they can fetch.\n"
        f"image: {scalar(answers.image or IMAGE)}\n"
        f"# A real disk of the compute node, neither shared nor in memory.{hint}\n"
        "scratch: /var/tmp\n"
        "# What makes `apptainer` known on compute nodes, where it is not.\n"
        "# setup: [module load apptainer]\n"
    )


def _slurm(cluster: ClusterFacts, answers: Answers, account: str) -> str:
    lines = ["slurm:"]
    if answers.ssh:
        lines.append(f"  ssh: {scalar(answers.ssh)}")
    if account:
        others = [each for each in cluster.accounts if each != account]
        also = f"    # you also have: {', '.join(others)}" if others else ""
        lines.append(f"  account: {scalar(account)}{also}")
    else:
        lines.append("  # account: NAME      # this cluster reports none")
    qos = sorted({q for own in cluster.associations or () for q in own.qos})
    lines.append(f"  # qos: NAME          # {'yours: ' + ', '.join(qos) if qos else 'if needed'}")
    if len(lines) == 3 and all(line.lstrip().startswith("#") for line in lines[1:]):
        lines[0] = "# slurm:"
    return "\n".join(lines) + "\n"


def _partitions(listed: list[Entry]) -> str:
    lines = [
        "# The largest pilot in each partition; smaller ones are halves, quarters and so on of it.",
        "partitions:",
    ]
    for entry in sorted(listed, key=lambda each: bool(each.why_not)):
        lines += [f"  # {note}" for note in entry.notes]
        own = [
            f"  - name: {scalar(entry.name)}",
            f"    cores: {entry.cores}",
            f"    memory_mb: {entry.memory_mb}",
            f"    walltime_max_min: {entry.walltime_max_min}",
        ]
        for kind, count in entry.gpus.items():
            mark = "" if entry.why_not else "# "
            own.append(f"    {mark}gpus: {count}" + (f"   # of type {kind}" if kind else ""))
            if kind:
                own.append(f"    {mark}gpu_type: {scalar(kind)}")
            break
        if entry.why_not:
            lines.append(f"  # Not used: {entry.why_not}.")
            own = [f"  # {line.removeprefix('  ')}" for line in own]
        lines += own
    return "\n".join(lines) + "\n"


def scalar(value: str) -> str:
    """Return a text as a YAML scalar, quoted if necessary."""
    import yaml

    quoted: str = yaml.safe_dump(value, width=10_000)
    return quoted.removesuffix("...\n").strip()


_TAIL = """\
# pilot:
#   memory_headroom_mb: 200    # what the pilot keeps for itself
#   idle_min: 30               # minutes without a job after which a pilot ends itself
"""
