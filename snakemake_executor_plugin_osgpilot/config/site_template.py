"""Create a site file from the facts of a cluster and the user's answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..common.counting import count_of
from ..errors import InputError
from .site_check import largest_group, longest_min, shape_of
from .slurm_facts import ClusterFacts, Node, Nodes

CHOSEN_MAX = 3
"""Maximum number of partitions; more pilot types do not improve a plan."""

MEMORY_MIN_MB = 500
"""The least that a site file may name."""

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
    cluster: str = ""
    central_manager: str = ""
    access_point: str = ""


@dataclass(frozen=True)
class Trial:
    """Slurm's answers about the pilots of a new site file (`sbatch --test-only`).

    `memory` is the way in which the site wants memory requested (`slurm.memory`), `refused` the
    partitions of which Slurm refuses pilots, with its message.
    """

    memory: str = "node"
    refused: Mapping[str, str] = field(default_factory=dict)


NO_TRIAL = Trial()


@dataclass(frozen=True)
class Entry:
    """A partition of the file, with its largest pilot; with `why_not` it becomes a comment.

    `account` and `qos` are set where they differ from those of the site. With `whole`, pilots get
    whole nodes, so that smaller ones than `cores` would be charged the same.
    """

    name: str
    cores: int
    memory_mb: int
    walltime_max_min: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    why_not: str = ""
    account: str = ""
    qos: str = ""
    whole: bool = False


def main_account(cluster: ClusterFacts, wanted: str = "") -> str:
    """Return the account of the site file: the one that most partitions take, empty if unknown."""
    taken = Counter(a for p in cluster.partitions if p.is_up for a in cluster.accounts_in(p))
    return wanted or max(cluster.accounts, key=lambda a: taken[a], default="")


def entries(
    cluster: ClusterFacts, account: str = "", refused: Mapping[str, str] | None = None
) -> list[Entry]:
    """Return the partitions in order of preference: the default, then by number of nodes.

    `refused` are those of which Slurm itself refuses pilots, with its message.
    """
    counts = {p.name: len(cluster.nodes_of(p.name)) for p in cluster.partitions}
    order = sorted(cluster.partitions, key=lambda p: (not p.is_default, -counts[p.name], p.name))
    found = [_entry(p, cluster, account) for p in order if counts[p.name]]
    for index, each in enumerate(found):
        if not each.why_not and (why := (refused or {}).get(each.name)):
            found[index] = replace(each, why_not=f"Slurm refuses pilots there: {why}")
    plain = [each for each in found if not each.why_not and not each.gpus]
    return list(_chosen(found, cluster, has_plain=bool(plain)))


def chosen(listed: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are no comments."""
    return [entry for entry in listed if not entry.why_not]


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
        yield replace(entry, why_not=why)


def _entry(partition: Nodes, cluster: ClusterFacts, account: str) -> Entry:
    nodes = cluster.nodes_of(partition.name)
    node = largest_group(nodes)
    own_account, qos, why_queue = _queue(partition, cluster, account)
    limits = (partition.walltime_max_min, longest_min(cluster, partition, own_account or account))
    limit = min((each for each in limits if each is not None), default=None)
    why = cluster.may_use(partition) or ("" if partition.is_up else "it takes no jobs now")
    why = why or why_queue
    if not why and partition.is_hidden:
        why = "Slurm hides it from its users"
    if not why and not any(each.is_there for each in nodes):
        why = "none of its nodes runs jobs now"
    if not why and limit is not None and limit < WALLTIME_MIN:
        why = f"its limit of {limit} minutes is too short for pilots"
    memory_mb = node.memory_mb or _unconfigured_mb(nodes)
    if partition.memory_per_core_mb:
        memory_mb = min(memory_mb, node.cores * partition.memory_per_core_mb)
    return Entry(
        partition.name,
        node.cores,
        max(MEMORY_MIN_MB, memory_mb),
        min(WALLTIME_USUAL_MIN, limit or WALLTIME_USUAL_MIN),
        dict(node.gpus),
        tuple(_notes(partition, nodes, limit)),
        why,
        own_account,
        qos,
        partition.whole_nodes,
    )


def _queue(partition: Nodes, cluster: ClusterFacts, account: str) -> tuple[str, str, str]:
    """Return account and QOS of a partition where they differ from the site's, and why it has none
    that it takes.
    """
    if partition.needs_reservation:
        return "", "", "it takes jobs of a reservation alone; with one, add `reservation: NAME`"
    takes = cluster.accounts_in(partition)
    own = "" if not takes or account in takes else takes[0]
    known = cluster.association(partition, own or account)
    default = (known.default_qos or (known.qos[0] if len(known.qos) == 1 else "")) if known else ""
    if known is None or not known.qos or (default and partition.takes_qos(default)):
        return own, "", ""
    fits = [qos for qos in known.qos if partition.takes_qos(qos)]
    if not fits:
        asked = f"the QOS {', '.join(partition.qos)}" if partition.qos else "none of your QOS"
        return own, "", f"it takes {asked}; yours are {', '.join(known.qos)}"
    restricts = bool(partition.qos or partition.denied_qos)
    return own, fits[0] if restricts else "", ""


def _unconfigured_mb(nodes: tuple[Node, ...]) -> int:
    """Return the memory of nodes of which Slurm does not know it: what was free on some."""
    return max((node.free_mb for node in nodes), default=0) // 1000 * 1000


def _notes(partition: Nodes, nodes: tuple[Node, ...], limit: int | None) -> Iterable[str]:
    for (cores, memory_mb, gpus), count in Counter(map(shape_of, nodes)).most_common(4):
        with_gpus = "".join(f", {n} GPUs {kind}".rstrip() for kind, n in gpus)
        memory = f"{memory_mb} MB ({memory_mb // max(1, cores)} a core)"
        if not memory_mb:
            memory = "memory that Slurm does not know: correct `memory_mb`"
        yield f"{count_of(count, 'node')} with {count_of(cores, 'core')}, {memory}{with_gpus}"
    yield "no limit of time" if limit is None else f"its limit is {limit} minutes"
    if partition.whole_nodes:
        yield "pilots get, and are charged, whole nodes"
    elif partition.memory_per_core_mb:
        yield f"a pilot with more than {partition.memory_per_core_mb} MB a core gets more cores"
    if partition.preempts:
        yield "pilots there may be preempted: their jobs then run again"


def text(cluster: ClusterFacts, answers: Answers, schema: str, trial: Trial = NO_TRIAL) -> str:
    """Return a site file with the known values, and comments for the others.

    `schema` is the location of the JSON Schema for editors, `trial` what Slurm said of pilots.
    Raises `InputError` if pilots cannot use any partition.
    """
    account = main_account(cluster, answers.account)
    listed = entries(cluster, account, trial.refused)
    if all(entry.why_not for entry in listed):
        reasons = "; ".join(f"{entry.name}: {entry.why_not}" for entry in listed) or "there is none"
        raise InputError(f"no partition of {cluster.name} can be used by pilots ({reasons})")
    parts = [_head(cluster, schema), _names(cluster, answers), _files(answers, cluster.scratch)]
    parts += [_slurm(cluster, answers, account, trial.memory), _partitions(listed), _TAIL]
    return "\n".join(parts)


def _head(cluster: ClusterFacts, schema: str) -> str:
    return (
        f"# yaml-language-server: $schema={schema}\n"
        f"# The cluster {cluster.name} (Slurm {cluster.version}) as a place where pilots run.\n"
        "# Written by `osgpilot site init`; review it, then run: osgpilot site check, doctor\n"
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


def _slurm(cluster: ClusterFacts, answers: Answers, account: str, memory: str) -> str:
    lines = ["slurm:"]
    if answers.ssh:
        lines.append(f"  ssh: {scalar(answers.ssh)}")
    if answers.cluster:
        lines.append(f"  cluster: {scalar(answers.cluster)}")
    if account:
        others = [each for each in cluster.accounts if each != account]
        also = f"    # you also have: {', '.join(others)}" if others else ""
        lines.append(f"  account: {scalar(account)}{also}")
    else:
        lines.append("  # account: NAME      # this cluster reports none")
    qos = sorted({q for own in cluster.associations or () for q in own.qos})
    lines.append(f"  # qos: NAME          # {'yours: ' + ', '.join(qos) if qos else 'if needed'}")
    if memory != "node":
        lines.append(f"  memory: {memory}")
    if all(line.lstrip().startswith("#") for line in lines[1:]):
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
        if entry.whole:
            own.append(f"    smallest_cores: {entry.cores}")
        own += [
            f"    {name}: {scalar(value)}"
            for name, value in (("account", entry.account), ("qos", entry.qos))
            if value
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
