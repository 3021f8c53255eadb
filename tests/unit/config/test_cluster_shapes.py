"""Ten kinds of clusters: the first site file is accepted by the check and by Slurm."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.config import site_template as draft
from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.config.site_check import charges, problems
from snakemake_executor_plugin_osgpilot.config.site_template import Answers
from snakemake_executor_plugin_osgpilot.config.slurm_facts import partitions
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.slurm import commands
from snakemake_executor_plugin_osgpilot.slurm.inventory import survey, try_pilots
from snakemake_executor_plugin_osgpilot.slurm.remote_script import Answer

OPEN = "AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=2-00:00:00 State=UP"


def partition(name, **keys):
    """Return a line of `scontrol show partition`; `keys` replace those of an open one."""
    pairs = dict(pair.split("=") for pair in OPEN.split()) | keys
    return f"PartitionName={name} " + " ".join(f"{k}={v}" for k, v in pairs.items())


def nodes(names, partitions, cores=64, memory_mb=256_000, state="IDLE", **keys):
    more = " ".join(f"{key}={value}" for key, value in keys.items())
    return "\n".join(
        f"NodeName={name} CPUTot={cores} RealMemory={memory_mb} {more} State={state} "
        f"Partitions={partitions}"
        for name in names.split()
    )


@dataclass
class Cluster:
    """A cluster as its commands show it; `grants` is the rule by which Slurm takes a request.

    It gets the options of `sbatch` by name, and returns why it refuses, empty if it does not.
    """

    partitions: list[str]
    nodes: list[str]
    associations: str | None = None
    parents: str = ""
    config: str = "ClusterName = home\nSLURM_VERSION = 24.11.5\nSelectType = select/cons_tres"
    grants: object = lambda options: ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def run(self, argv):
        argv = list(argv)
        if argv[0] == "sbatch":
            return self._sbatch(argv)
        texts = {
            ("scontrol", "show", "config"): self.config,
            ("id", "-nG"): "me users",
            ("id", "-nu"): "me",
        }
        out = texts.get(tuple(argv))
        if out is None and argv[0] == "scontrol":
            out = "\n".join(self.partitions if argv[-1] == "partition" else self.nodes)
        if argv[0] == "sacctmgr":
            if self.associations is None:
                return Answer(1, "", "sacctmgr: error: accounting is not enabled", 0)
            out = self.parents if "user=" in argv else self.associations
        return Answer(0, out, "", 0)

    def _sbatch(self, argv):
        options = dict(re.fullmatch(r"--([^=]+)=?(.*)", each).groups() for each in argv[1:])
        self.asked.append(options)
        why = self.grants(options)
        if why:
            return Answer(1, "", f"sbatch: error: {why}", 0)
        return Answer(0, "", "sbatch: Job 7 to start at 2026-01-02T03:04:05 using 4 processors", 0)


def no_memory_option(options):
    return "--mem is not supported here" if {"mem", "mem-per-cpu"} & options.keys() else ""


def configured_memory(options):
    return "Memory specification can not be satisfied" if "mem" in options else ""


def right_account(options):
    account = "m12_g" if options["partition"] == "gpu" else "m12"
    return "" if options["account"] == account else "Invalid account or account/partition"


def right_qos(options):
    return "" if options.get("qos") == "batch" else "Invalid qos specification"


def no_debug(options):
    return "the plugin takes no such jobs in debug" if options["partition"] == "debug" else ""


SHAPES = {
    "memory may not be requested, as at TACC": (
        Cluster(
            [partition("normal", Default="YES", OverSubscribe="EXCLUSIVE")],
            [nodes("c1 c2", "normal", 56, 190_000)],
            grants=no_memory_option,
        ),
        ["  memory: none", "    cores: 56", "    smallest_cores: 56"],
    ),
    "an account for each kind of node, as on Perlmutter": (
        Cluster(
            [partition("gpu", AllowAccounts="m12_g"), partition("regular", DenyAccounts="m12_g")],
            [nodes("c1 c2 c3", "regular", 128), nodes("g1", "gpu", 64, Gres="gpu:a100:4")],
            "m12||normal|||home\nm12_g||normal|||home\n",
            grants=right_account,
        ),
        ["  account: m12 ", "account: m12_g"],
    ),
    "whole nodes": (
        Cluster([partition("batch", OverSubscribe="EXCLUSIVE")], [nodes("c1 c2", "batch")]),
        ["    smallest_cores: 64", "  # pilots get, and are charged, whole nodes"],
    ),
    "hidden partitions": (
        Cluster(
            [partition("main"), partition("secret", Hidden="YES", Default="YES")],
            [nodes("c1", "main"), nodes("s1 s2 s3", "secret")],
        ),
        ["  - name: main", "  # Not used: Slurm hides it from its users."],
    ),
    "nodes of a cloud, which are switched off": (
        Cluster(
            [partition("cloud", Default="YES")],
            [nodes("c1 c2", "cloud", 16, 60_000, "IDLE+CLOUD+POWERED_DOWN")],
        ),
        ["    cores: 16"],
    ),
    "parts of GPUs": (
        Cluster(
            [partition("gpu")],
            [nodes("g1", "gpu", 48, Gres="gpu:a100:2(S:0-1),gpu:a100_1g.5gb:14")],
        ),
        ["    # gpus: 2   # of type a100", "    # gpu_type: a100"],
    ),
    "accounts below those that a partition names": (
        Cluster(
            [partition("bio", AllowAccounts="biology"), partition("chem", AllowAccounts="chem")],
            [nodes("b1", "bio"), nodes("k1 k2", "chem")],
            "lab7||normal|||home\nother||normal|||elsewhere\n",
            "lab7|department|home\ndepartment|biology|home\nbiology|root|home\n",
        ),
        ["  - name: bio", "  # Not used: it is for the accounts chem.", "  account: lab7\n"],
    ),
    "partitions by QOS alone": (
        Cluster(
            [partition("work", AllowQos="batch,long"), partition("vip", AllowQos="vip")],
            [nodes("c1 c2", "work"), nodes("v1 v2 v3", "vip")],
            "lab||normal,batch||normal|home\n",
            grants=right_qos,
        ),
        ["    qos: batch", "  # Not used: it takes the QOS vip; yours are normal, batch."],
    ),
    "a federation with accounts of another cluster": (
        Cluster(
            [partition("main", AllowAccounts="here")],
            [nodes("c1", "main")],
            "there||normal|||other\nhere||normal|||HOME\n",
        ),
        ["  account: here\n"],
    ),
    "memory that was not configured": (
        Cluster(
            [partition("main", Default="YES")],
            [nodes("c1 c2", "main", 32, 1, FreeMem="125432")],
            grants=configured_memory,
        ),
        ["  memory: none", "    memory_mb: 125000", "memory that Slurm does not know"],
    ),
    # and some that only show what is left out
    "partitions that no pilot can use": (
        Cluster(
            [
                partition("a", ReqResv="YES"),
                partition("b", MinNodes="2"),
                partition("debug", Default="YES"),
                partition("down"),
                partition("main", MaxMemPerCPU="2000"),
            ],
            [
                nodes("a1", "a"),
                nodes("b1", "b"),
                nodes("d1", "debug"),
                nodes("x1", "down", 4, state="DOWN*"),
                nodes("m1", "main", 8, 64_000) + "\n" + nodes("m2 m3", "main", 4, state="DOWN"),
            ],
            grants=no_debug,
        ),
        [
            "# Not used: it takes jobs of a reservation alone; with one, add `reservation: NAME`.",
            "  # Not used: its jobs have at least 2 nodes, pilots have one.",
            "# Not used: Slurm refuses pilots there: sbatch: error: the plugin takes no such",
            "  # Not used: none of its nodes runs jobs now.",
            "  - name: main\n    cores: 8\n    memory_mb: 16000\n",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_first_site_file_is_accepted_by_the_check_and_by_slurm(tmp_path, name):
    cluster, parts = SHAPES[name]
    facts = survey(cluster)
    trial = try_pilots(cluster, facts, draft.main_account(facts))
    text = draft.text(facts, Answers(), "/s.json", trial)
    for part in parts:
        assert part in text
    path = tmp_path / "site.yaml"
    path.write_text(text)
    site = load(path)
    assert problems(site, facts) == []
    assert charges(site, facts) == []
    assert site.partitions
    for kind in kinds(site):
        wanted = Allocation(
            "n", "r", kind.offer.shape.cores, kind.memory_mb, 60, Path("/"),
            partition=kind.partition.name, queue=kind.partition.queue,
        )  # fmt: skip
        argv = commands.sbatch_test_only(wanted, site.slurm, Path("/x"))[:-2]
        assert cluster.run(argv).status == 0, shlex.join(argv)


@pytest.mark.parametrize("cores", [36, 48, 64, 7])
def test_no_smaller_pilot_has_more_memory_for_a_core_than_the_largest(tmp_path, cores):
    """Slurm would give it more cores, where `MaxMemPerCPU` is all that the largest asks for."""
    there = Cluster([partition("p", MaxMemPerCPU="4000")], [nodes("c1", "p", cores, 4000 * cores)])
    facts = survey(there)
    path = tmp_path / "site.yaml"
    path.write_text(draft.text(facts, Answers(), "/s.json"))
    found = kinds(load(path))
    assert found[0].memory_mb == 4000 * cores
    for kind in found:
        asked = kind.offer.shape.cores
        assert facts.partitions[0].cores_for_memory(asked, kind.memory_mb, "node") == asked


CLUSTER = {"MaxMemPerCPU": "2000", "SelectType": "select/cons_tres"}
LIMITS = {
    "of the cluster": ({"MaxMemPerNode": "UNLIMITED"}, CLUSTER, (2000, None, False)),
    "of the cluster's nodes": (
        {"MaxMemPerNode": "UNLIMITED"}, {"MaxMemPerNode": "9000"}, (None, 9000, False),
    ),
    "its own of a core": ({"MaxMemPerCPU": "500"}, CLUSTER, (500, None, False)),
    "its own of a node": ({"MaxMemPerNode": "64000"}, CLUSTER, (None, 64_000, False)),
    "none": ({"MaxMemPerNode": "UNLIMITED"}, {"MaxMemPerNode": "UNLIMITED"}, (None, None, False)),
    "whole nodes of the cluster": (
        {"OverSubscribe": "NO"}, {"SelectType": "select/linear"}, (None, None, True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_partition_has_the_limits_of_its_cluster_unless_it_has_its_own(name):
    own, cluster, (of_core, of_node, whole) = LIMITS[name]
    (there,) = partitions(partition("p", **own), cluster)
    assert there.memory_per_core_mb == of_core
    assert there.memory_max_mb == of_node
    assert there.whole_nodes is whole


def test_slurm_is_asked_once_for_each_partition():
    cluster, _ = SHAPES["whole nodes"]
    cluster.asked.clear()
    try_pilots(cluster, survey(cluster), "")
    assert len(cluster.asked) == 1


def test_where_slurm_does_not_answer_nothing_is_left_out():
    cluster = Cluster(
        [partition("main")], [nodes("c1", "main")],
        grants=lambda options: "Unable to contact slurm controller",
    )  # fmt: skip
    assert try_pilots(cluster, survey(cluster), "").refused == {}


SMALL = {"name": "p", "cores": 8, "memory_mb": 64_000, "walltime_max_min": 600}
CHARGED = {
    "whole nodes": (
        partition("p", OverSubscribe="EXCLUSIVE"), {},
        "partition p gives whole nodes: a pilot of 4 cores is charged 64; write `cores: 64` and "
        "`smallest_cores: 64`",
    ),
    "whole nodes by the site file": (
        partition("p"), {"options": ["--exclusive"]}, "partition p gives whole nodes: a pilot of 4",
    ),
    "more memory than a core may have": (
        partition("p", MaxMemPerCPU="4000"), {},
        "partition p gives at most 4000 MB with each core: a pilot of 8 cores and 64000 MB is "
        "charged 16 cores; write `memory_mb: 32000` or less",
    ),
    "memory for each core, which multiplies the cores": (
        partition("p", MaxMemPerCPU="3000"), {"memory": "cpu"},
        "partition p gives at most 3000 MB with each core: a pilot of 8 cores and 64000 MB is "
        "charged 24 cores; write `memory_mb: 24000` or less",
    ),
    "no request for memory": (partition("p", MaxMemPerCPU="4000"), {"memory": "none"}, ""),
    "nothing special": (partition("p"), {}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARGED)
def test_the_check_says_where_more_is_charged_than_asked_for(tmp_path, name):
    import yaml

    line, slurm, said = CHARGED[name]
    names = {"site": "S", "resource": "R", "token": "~/t", "image": "docker://i"}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(names | {"partitions": [SMALL], "slurm": slurm}))
    facts = survey(Cluster([line], [nodes("c1 c2", "p")]))
    found = charges(load(path), facts)
    assert found == [] if not said else found[0].startswith(said)


PROBLEMS = {
    "a QOS that is denied": (
        partition("p", DenyQos="low"), {"qos": "low"}, "low: partition p does not take it; it takes"
    ),
    "one QOS of a list that is not yours": (
        partition("p"), {"qos": "normal,vip"}, "vip: it is not yours; yours are normal, high"
    ),
    "a QOS of others": (partition("p"), {"qos": "vip"}, "it is not yours; yours are normal, high"),
    "no reservation": (
        partition("p", ReqResv="YES"), {}, "it takes jobs of a reservation alone; name one with"
    ),
    "several nodes": (partition("p", MinNodes="4"), {}, "its jobs have at least 4 nodes"),
    "an account of another partition": (
        partition("p"), {"account": "far"}, "far: partition p does not take it; it takes lab",
    ),
    "memory for which no node has the cores": (
        partition("p", MaxMemPerCPU="900"), {},
        "`partitions.0.memory_mb` is 64000: a core gets at most 900 MB, so this takes 72 cores, "
        "and its largest node has 64; write 7200 or less",
    ),
    "a denied account": (
        partition("p", DenyAccounts="lab"), {"account": "lab"}, "it denies the accounts lab",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_check_names_what_slurm_would_refuse(tmp_path, name):
    import yaml

    line, own, said = PROBLEMS[name]
    names = {"site": "S", "resource": "R", "token": "~/t", "image": "docker://i"}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(names | {"partitions": [SMALL | own]}))
    mine = "lab||normal,high|||home\nfar|elsewhere|normal|||home\n"
    facts = survey(Cluster([line], [nodes("c1", "p")], mine))
    (found,) = problems(load(path), facts)
    assert said in str(found)
    assert str(found).startswith("`partitions.0.")
