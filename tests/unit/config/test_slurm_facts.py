"""Facts of a cluster: captured from the local pool, and of a large cluster."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.config import slurm_facts as facts
from snakemake_executor_plugin_osgpilot.config.slurm_facts import Association, ClusterFacts
from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError

CAPTURED = Path(__file__).parent / "captured"

PARTITIONS = """\
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES MaxTime=4-00:00:00 \
MaxCPUsPerNode=UNLIMITED State=UP RootOnly=NO PreemptMode=OFF MaxMemPerNode=UNLIMITED
PartitionName=shared AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=4-00:00:00 \
MaxCPUsPerNode=64 State=UP RootOnly=NO PreemptMode=OFF MaxMemPerNode=128000
PartitionName=gpu AllowGroups=ALL AllowAccounts=bio-gpu,chem-gpu AllowQos=gpu Default=NO \
MaxTime=2-00:00:00 State=UP RootOnly=NO PreemptMode=OFF MaxMemPerNode=UNLIMITED
PartitionName=lab AllowGroups=biolab DenyAccounts=guest MaxTime=UNLIMITED Default=NO State=UP \
PreemptMode=REQUEUE
PartitionName=debug AllowGroups=ALL Default=NO MaxTime=00:15:00 State=UP PreemptMode=OFF
PartitionName=old AllowGroups=ALL Default=NO MaxTime=INFINITE State=DOWN PreemptMode=OFF
"""
NODES = """\
NodeName=c1 CPUAlloc=96 CPUEfctv=126 CPUTot=128 Gres=(null) RealMemory=257000 MemSpecLimit=1000 \
State=MIXED Partitions=cpu,shared,debug OS=Linux 5.14.0 #1 SMP PREEMPT Comment=a=b c
NodeName=c2 CPUEfctv=126 CPUTot=128 Gres=(null) RealMemory=257000 MemSpecLimit=1000 State=IDLE \
Partitions=cpu,shared,debug
NodeName=c3 CPUEfctv=126 CPUTot=128 Gres=(null) RealMemory=1031000 MemSpecLimit=1000 \
State=DOWN+DRAIN Partitions=cpu,old Reason=bad disk [root@2026-01-02T03:04:05]
NodeName=g1 CPUTot=64 Gres=gpu:a100:4(S:0-1),lscratch:3200 RealMemory=512000 State=ALLOCATED \
Partitions=gpu
NodeName=l1 CPUTot=32 Gres=gpu:a100:2,gpu:v100:2 RealMemory=128000 State=IDLE Partitions=lab
"""
ASSOCIATIONS = "bio||normal,long|2-00:00:00\nbio-gpu|gpu|gpu|\n"


def six_columns(four):
    """Return associations with their default QOS and cluster, which are not known here."""
    return "".join(f"{line}||\n" for line in four.splitlines())


def large(associations=ASSOCIATIONS, groups=("me", "users")):
    own = None if associations is None else facts.associations(six_columns(associations))
    return ClusterFacts(
        "peak", "23.02.7", facts.partitions(PARTITIONS), facts.nodes(NODES), own, groups
    )


def pool():
    def read(name):
        return (CAPTURED / f"pool-{name}.txt").read_text()

    config = facts.config(read("config"))
    return ClusterFacts(
        config["ClusterName"],
        config["SLURM_VERSION"],
        facts.partitions(read("partitions")),
        facts.nodes(read("nodes")),
        scratch=config["TmpFS"],
    )


def test_facts_of_local_pool_are_parsed():
    cluster = pool()
    assert (cluster.name, cluster.version, cluster.scratch) == ("localpool", "24.11.5", "/tmp")
    compute, short = cluster.partitions
    assert (compute.name, compute.is_default, compute.walltime_max_min) == ("compute", True, 2880)
    assert (short.name, short.is_default, short.walltime_max_min) == ("short", False, 10)
    nodes = cluster.nodes_of("short")
    assert [node.name for node in nodes] == ["n1", "n2", "n3", "n4"]
    assert {(n.cores, n.memory_mb, n.gpu_count, n.is_there) for n in nodes} == {(4, 4000, 2, True)}


def test_what_is_reserved_for_the_system_is_not_offered():
    node = large().nodes_of("cpu")[0]
    assert (node.cores, node.memory_mb) == (126, 256000)


def test_limits_of_a_partition_shrink_its_nodes():
    assert {(n.cores, n.memory_mb) for n in large().nodes_of("shared")} == {(64, 128000)}


def test_gpus_are_counted_by_type():
    assert large().nodes_of("gpu")[0].gpus == {"a100": 4}
    assert large().nodes_of("lab")[0].gpus == {"a100": 2, "v100": 2}
    assert facts.gpus("gpu:2") == {"": 2}
    assert facts.gpus("mps:100,shard:8") == facts.gpus("(null)") == {}


def test_unavailable_nodes_are_recognized():
    assert [node.is_there for node in large().nodes_of("cpu")] == [True, True, False]


def test_partition_access_rules():
    cluster = large()
    why = {p.name: cluster.may_use(p) for p in cluster.partitions}
    assert why["lab"] == "it is for the groups biolab"
    assert why["gpu"] == why["cpu"] == ""
    assert large("bio|||\n").may_use(cluster.partition("gpu")) == (
        "it is for the accounts bio-gpu, chem-gpu"
    )
    assert large("guest|||\n", ("biolab",)).may_use(cluster.partition("lab")) == (
        "it denies the accounts guest"
    )


def test_cluster_without_accounting_needs_no_account():
    cluster = large(None)
    assert cluster.may_use(cluster.partition("gpu")) == ""
    assert cluster.accounts == ()


def test_an_empty_name_is_the_default_partition():
    assert large().partition("").name == "cpu"
    assert large().partition("nowhere") is None


def test_associations_have_account_partition_qos_and_longest_walltime():
    assert facts.associations(six_columns(ASSOCIATIONS)) == (
        Association("bio", "", ("normal", "long"), 2880),
        Association("bio-gpu", "gpu", ("gpu",), None),
    )


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("2-00:00:00", 2880),
        ("00:10:00", 10),
        ("10:00", 10),
        ("90:30", 91),
        ("1-12", 2160),
        ("1-01:30", 1530),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("", None),
    ],
)
def test_slurm_time_formats(text, minutes):
    assert facts.minutes(text) == minutes


@pytest.mark.parametrize("text", ["slurm_load_partitions error", "Nodes=a PartitionName=b"])
def test_unreadable_line_is_an_error(text):
    with pytest.raises(OutcomeUnknownError, match="cannot be read"):
        facts.partitions(text)


def test_unreadable_value_is_an_error():
    with pytest.raises(OutcomeUnknownError, match="no size of node n1"):
        facts.nodes("NodeName=n1 State=IDLE")
    with pytest.raises(OutcomeUnknownError, match="sacctmgr"):
        facts.associations("an error\n")
    with pytest.raises(OutcomeUnknownError, match="'soon'"):
        facts.minutes("soon")
