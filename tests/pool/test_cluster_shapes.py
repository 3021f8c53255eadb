"""Kinds of clusters, each a real controller: the first site file is accepted by the check and by
`sbatch --test-only`.

`--test-only` needs nodes that answer, so each has a slurmd, except those of a cloud.
"""

import re
import shlex
from dataclasses import dataclass

import pytest

from .conftest import Pool, until

HERE = "/home/alice/shapes"
KNOWN = ("--central-manager", "ap.localpool:9618", "--image", "/opt/sif/pilot.sif")
COMMON = """\
ClusterName={name}
SlurmctldHost=login(10.99.0.2)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/spool/shapes/{name}
SlurmdSpoolDir=/var/spool/shapes/{name}-%n
SlurmctldPidFile=/run/shapes-{name}.pid
SlurmdPidFile=/run/shapes-{name}-%n.pid
SlurmctldLogFile=/var/log/slurm/shapes-{name}.log
SlurmdLogFile=/var/log/slurm/shapes-{name}-%n.log
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
SlurmdTimeout=0
MpiDefault=none
EnforcePartLimits=ALL
SelectType=select/cons_tres
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=login
AccountingStorageEnforce=associations,limits,qos
"""
MEMORY_COUNTS = "SelectTypeParameters=CR_CPU_Memory\n"
NODE = "NodeHostname=login NodeAddr=10.99.0.2"
"""Properties of all nodes."""

PLUGIN = """\
function slurm_job_submit(job, partitions, uid)
  if %s then
    slurm.log_user("%s")
    return slurm.ERROR
  end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
return slurm.SUCCESS
"""


@dataclass(frozen=True)
class Shape:
    """A cluster by its slurm.conf, and what its site file has to say.

    `nodes` are lines of nodes without what all have, `plugin` is a condition of its job submit
    plugin and the message, `accounts` are commands of sacctmgr, `refuses` are options that Slurm
    refuses there. One that is `named` is reached as a cluster of a federation.
    """

    conf: str
    nodes: tuple[str, ...]
    says: tuple[str, ...]
    refuses: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    plugin: tuple[str, str] = ("", "")
    memory_counts: bool = True
    gpus: tuple[str, ...] = ()
    named: bool = False

    def files(self, name: str, port: int) -> dict[str, str]:
        """Return the configuration files by name."""
        first = port
        lines = []
        for node in self.nodes:
            last = first + len(names_of(node))
            lines.append(f"{node} {NODE} Port=[{first + 1}-{last}]")
            first = last
        own = [MEMORY_COUNTS * self.memory_counts, ACCOUNTING * bool(self.accounts)]
        if self.plugin[0]:
            own.append("JobSubmitPlugins=lua\n")
        conf = COMMON.format(name=name, port=port) + "".join(own) + "\n".join([*lines, self.conf])
        gres = "".join(f"{line}\n" for line in self.gpus)
        return {
            "slurm.conf": conf + "\n",
            "gres.conf": gres,
            "job_submit.lua": PLUGIN % self.plugin,
        }


def names_of(node: str) -> list[str]:
    """Return the names of the nodes in a line."""
    name, last = re.match(r"NodeName=(\w+)(?:\[1-(\d)\])?", node).groups()
    return [f"{name}{number}" for number in range(1, int(last) + 1)] if last else [name]


SHAPES = {
    "tacc-like": Shape(
        "PartitionName=normal Nodes=ALL Default=YES OverSubscribe=EXCLUSIVE MaxTime=2-0",
        ("NodeName=c[1-2] CPUs=56 RealMemory=190000",),
        ("  memory: none", "    cores: 56", "    smallest_cores: 56"),
        refuses=("--mem=1000",),
        plugin=("job.pn_min_memory ~= slurm.NO_VAL64", "--mem is not supported here"),
        memory_counts=False,
    ),
    "perlmutter-like": Shape(
        "GresTypes=gpu\n"
        "PartitionName=regular Nodes=c[1-3] DenyAccounts=m12_g MaxTime=1-0 Default=YES\n"
        "PartitionName=gpu Nodes=g1 AllowAccounts=m12_g MaxTime=1-0",
        (
            "NodeName=c[1-3] CPUs=128 RealMemory=500000",
            "NodeName=g1 CPUs=64 RealMemory=250000 Gres=gpu:a100:4",
        ),
        ("  account: m12 ", "    account: m12_g", "    gpus: 4   # of type a100"),
        refuses=("--partition=gpu", "--account=m12"),
        gpus=("NodeName=g1 Name=gpu Type=a100 File=/dev/shm/gpu[1-4]",),
        accounts=(
            "add account m12,m12_g cluster={name}",
            "add user alice account=m12,m12_g cluster={name}",
        ),
    ),
    "whole-nodes": Shape(
        "PartitionName=batch Nodes=ALL OverSubscribe=EXCLUSIVE MaxTime=2-0",
        ("NodeName=c[1-2] CPUs=64 RealMemory=256000",),
        ("    smallest_cores: 64", "  # pilots get, and are charged, whole nodes"),
        refuses=("--partition=batch", "--cpus-per-task=65"),
    ),
    "hidden": Shape(
        "PartitionName=main Nodes=c1 MaxTime=2-0\n"
        "PartitionName=secret Nodes=s[1-3] Hidden=YES Default=YES MaxTime=2-0",
        (
            "NodeName=c1 CPUs=64 RealMemory=256000",
            "NodeName=s[1-3] CPUs=64 RealMemory=256000",
        ),
        ("  - name: main", "  # Not used: Slurm hides it from its users."),
        refuses=("--partition=nowhere",),
    ),
    "cloud": Shape(
        "SuspendProgram=/bin/true\nResumeProgram=/bin/true\nSuspendTime=300\n"
        "PartitionName=cloud+spot Nodes=ALL Default=YES MaxTime=2-0",
        ("NodeName=c[1-2] CPUs=16 RealMemory=60000 State=CLOUD",),
        ("  - name: cloud+spot\n    cores: 16\n    memory_mb: 60000",),
        refuses=("--cpus-per-task=17",),
    ),
    "parts-of-gpus": Shape(
        "GresTypes=gpu\nPartitionName=gpu Nodes=ALL MaxTime=2-0",
        ("NodeName=g1 CPUs=48 RealMemory=256000 Gres=gpu:a100:2,gpu:a100_1g.5gb:14",),
        ("    gpus: 2   # of type a100", "    gpu_type: a100"),
        refuses=("--partition=gpu", "--gres=gpu:a100:3"),
        gpus=(
            "NodeName=g1 Name=gpu Type=a100 File=/dev/shm/gpu[1-2]",
            "NodeName=g1 Name=gpu Type=a100_1g.5gb File=/dev/shm/gpu[3-16]",
        ),
    ),
    "nested-accounts": Shape(
        "PartitionName=bio Nodes=b1 AllowAccounts=biology MaxTime=2-0\n"
        "PartitionName=chem Nodes=k[1-2] AllowAccounts=chemistry MaxTime=2-0",
        (
            "NodeName=b1 CPUs=64 RealMemory=256000",
            "NodeName=k[1-2] CPUs=64 RealMemory=256000",
        ),
        ("  - name: bio", "  # Not used: it is for the accounts chemistry.", "  account: lab7\n"),
        refuses=("--partition=chem", "--account=lab7"),
        accounts=(
            "add account biology,chemistry cluster={name}",
            "add account department parent=biology cluster={name}",
            "add account lab7 parent=department cluster={name}",
            "add user alice account=lab7 cluster={name}",
        ),
    ),
    "qos-only": Shape(
        "PartitionName=work Nodes=c[1-2] AllowQos=batch,long MaxTime=2-0\n"
        "PartitionName=vip Nodes=v[1-3] AllowQos=vip MaxTime=2-0",
        (
            "NodeName=c[1-2] CPUs=64 RealMemory=256000",
            "NodeName=v[1-3] CPUs=64 RealMemory=256000",
        ),
        ("    qos: batch", "  # Not used: it takes the QOS vip; yours are batch, normal."),
        refuses=("--partition=work",),
        accounts=(
            "add qos batch,long,vip",
            "add account lab cluster={name}",
            "add user alice account=lab cluster={name} qos=normal,batch defaultqos=normal",
        ),
    ),
    "federated": Shape(
        "PartitionName=main Nodes=ALL AllowAccounts=here Default=YES MaxTime=2-0",
        ("NodeName=c1 CPUs=64 RealMemory=256000",),
        ("  cluster: federated\n", "  account: here\n"),
        refuses=("--clusters=federated", "--account=there"),
        accounts=(
            "add account there cluster=localpool",
            "add user alice account=there cluster=localpool",
            "add account here cluster={name}",
            "add user alice account=here cluster={name}",
            "add federation campus clusters=localpool,{name}",
        ),
        named=True,
    ),
    "no-memory": Shape(
        "PartitionName=main Nodes=ALL Default=YES MaxTime=2-0",
        ("NodeName=c1 CPUs=32",),
        ("  memory: none", "memory that Slurm does not know"),
        refuses=("--mem=1000",),
        memory_counts=False,
    ),
    "memory-of-a-core": Shape(
        "MaxMemPerCPU=2000\n"
        "PartitionName=main Nodes=c[1-2] Default=YES MaxTime=2-0\n"
        "PartitionName=large Nodes=m1 MaxMemPerCPU=6000 MaxTime=2-0",
        (
            "NodeName=c[1-2] CPUs=8 RealMemory=64000",
            "NodeName=m1 CPUs=8 RealMemory=128000",
        ),
        (
            "# a pilot with more than 2000 MB a core gets more cores",
            "  - name: main\n    cores: 8\n    memory_mb: 16000\n",
        ),
        refuses=("--partition=main", "--cpus-per-task=9"),
    ),
    "unusable-partitions": Shape(
        "PartitionName=a Nodes=x1 ReqResv=YES\n"
        "PartitionName=b Nodes=x1 MinNodes=2\n"
        "PartitionName=debug Nodes=d1 Default=YES\n"
        "PartitionName=down Nodes=x2\n"
        "PartitionName=elsewhere Nodes=d1,x1 AllocNodes=other\n"
        "PartitionName=main Nodes=m[1-3]",
        (
            "NodeName=x1 CPUs=4 RealMemory=16000",
            "NodeName=x2 CPUs=4 RealMemory=16000 State=DOWN",
            "NodeName=d1 CPUs=4 RealMemory=16000",
            "NodeName=m1 CPUs=8 RealMemory=16000",
            "NodeName=m[2-3] CPUs=4 RealMemory=16000 State=DOWN",
        ),
        (
            "# Not used: it takes jobs of a reservation alone; with one, add `reservation: NAME`.",
            "  # Not used: its jobs have at least 2 nodes, pilots have one.",
            "# Not used: Slurm refuses pilots there: sbatch: error: not for such jobs",
            "# Not used: Slurm refuses pilots there: allocation failure: Access/permission denied.",
            "  # Not used: none of its nodes runs jobs now.",
            "  - name: main\n    cores: 8\n    memory_mb: 16000\n",
        ),
        refuses=("--partition=debug",),
        plugin=('job.partition == "debug"', "not for such jobs"),
    ),
}
PORTS = {name: 18000 + 200 * number for number, name in enumerate(SHAPES)}


def conf_of(name: str) -> str:
    """Return the path of the configuration that alice's commands use."""
    return "/etc/slurm/slurm.conf" if SHAPES[name].named else f"/etc/shapes/{name}/slurm.conf"


def start_line(name: str) -> str:
    """Return the lines of sh that make the accounts of a cluster and start its controller."""
    shape, folder = SHAPES[name], f"/etc/shapes/{name}"
    lines = [f"mkdir -p {folder} /var/spool/shapes/{name}", f"cp /etc/slurm/cgroup.conf {folder}"]
    for file, text in shape.files(name, PORTS[name]).items():
        lines.append(f"printf %s {shlex.quote(text)} > {folder}/{file}")
    if shape.accounts:
        commands = (f"add cluster {name}", *(each.format(name=name) for each in shape.accounts))
        lines += [f"sacctmgr --immediate --quiet {each}" for each in commands]
    lines.append(f"slurmctld -f {folder}/slurm.conf")
    awake = [node for node in shape.nodes if "State=" not in node]
    for node in (name for line in awake for name in names_of(line)):
        lines.append(f"slurmd -f {folder}/slurm.conf -N {node}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def shapes(pool: Pool) -> Pool:
    """The pool, with a controller for each cluster."""
    pool.say("pool-accounting", user="root")
    # devices that gres.conf may name
    script = "set -eu\ntouch $(seq -f /dev/shm/gpu%g 16)\n" + "\n".join(map(start_line, SHAPES))
    done = pool.run("sh", "-s", user="root", stdin=script)
    assert done.returncode == 0, done.stderr
    pool.say("mkdir", "-p", HERE)
    return pool


def states(pool: Pool, name: str) -> str:
    conf = f"SLURM_CONF=/etc/shapes/{name}/slurm.conf"
    return pool.run("env", conf, "sinfo", "--all", "--noheader", "--format=%T").stdout


ASK = """
import sys
from pathlib import Path
from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.slurm import commands
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host
site = load(Path(sys.argv[1]))
host = Host(Here(), site.slurm.cluster)
for kind in kinds(site):
    wanted = Allocation(
        "n", "r", kind.offer.shape.cores, kind.memory_mb, max(kind.offer.walltimes_s) // 60,
        Path("/tmp"), partition=kind.partition.name, gpus=kind.offer.shape.gpus,
        gpu_type=kind.partition.gpu_type, queue=kind.partition.queue,
    )
    argv = commands.sbatch_test_only(wanted, site.slurm, Path("/x"))[:-2]
    done = host.run([*argv, "--wrap=true"])
    print(kind.offer.name, done.status, done.err.strip(), sep="|")
"""
"""Prints what `sbatch --test-only` answers for each type of pilot."""


def with_gpus(text: str) -> str:
    """Return a site file with the partitions and GPUs that wait as comments for rules that use
    them.
    """
    head, mark, rest = text.partition("  # Not used: for rules that use GPUs.\n")
    block = re.match(r"(  # .*\n)*", rest)[0]
    text = head + mark + re.sub("^  # ", "  ", block, flags=re.MULTILINE) + rest[len(block) :]
    return re.sub(r"^( +)# (gpus|gpu_type):", r"\1\2:", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", SHAPES)
def test_the_first_site_file_is_accepted_by_the_check_and_by_slurm(shapes: Pool, name: str):
    shape, file = SHAPES[name], f"{name}.yaml"
    conf = f"SLURM_CONF={conf_of(name)}"
    until(lambda: "idle" in states(shapes, name) and "unk" not in states(shapes, name))

    def run(*argv: str):
        return shapes.run("env", conf, *argv, folder=HERE)

    named = (f"--cluster={name}",) if shape.named else ()
    made = run("osgpilot", "site", "init", f"--out={file}", *KNOWN, *named)
    assert made.returncode == 0, made.stderr
    text = with_gpus(shapes.say("cat", f"{HERE}/{file}"))
    for part in shape.says:
        assert part in text, text
    shapes.run("sh", "-c", 'cat > "$1"', "-", f"{HERE}/{file}", stdin=text)
    checked = run("osgpilot", "site", "check", file)
    assert checked.stdout == f"site file {file}: no problem found\n", checked.stderr
    granted = run("python", "-c", ASK, file)
    assert granted.returncode == 0, granted.stderr
    answers = [line.split("|") for line in granted.stdout.splitlines()]
    assert answers
    assert {status for _, status, _ in answers} == {"0"}, answers
    # the cluster really has these properties
    refused = run("sbatch", "--test-only", *shape.refuses, "--wrap=true")
    assert refused.returncode != 0, refused.stderr
