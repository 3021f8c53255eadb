"""Two clusters with a controller each, one behind SSH, serve one workflow."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from .conftest import SITE, SNAKEMAKE, Pool, until

HERE = "/home/alice/sites"
CONF = "/etc/second/slurm.conf"
NEAR = {**SITE, "resource": "Near", "limits": {"max_pilots": 2}}
FAR = {**SITE, "resource": "Far", "limits": {"max_pilots": 2}, "slurm": {"ssh": "second"}}
PILOTS_MAX, BUDGET_CORE_H = 3, 40
SNAKEFILE = """
rule all:
    input: expand("out/{n}", n=range(24)), expand("later/{n}", n=range(24))
rule one:
    output: "out/{n}"
    retries: 0
    shell: "echo start >> {output}; sleep 20; echo end >> {output}"
rule two:
    input: "out/{n}"
    output: "later/{n}"
    retries: 0
    shell: "while [ ! -e /home/alice/sites/go ]; do sleep 1; done; cat {input} > {output}"
"""
SECOND = """
set -eu
mkdir -p /etc/second /var/spool/second
sed -e 's/^ClusterName=.*/ClusterName=second/' -e '/^NodeName=/d' -e '/^PartitionName=/d' \
    -e 's#/var/spool/slurmctld#/var/spool/second#' -e 's#slurmctld.pid#second.pid#' \
    -e 's#slurmctld.log#second.log#' -e 's#jobcomp.log#second-jobcomp.log#' \
    /etc/slurm/slurm.conf > /etc/second/slurm.conf
cat >> /etc/second/slurm.conf <<'CONF'
SlurmctldPort=6917
# ids of the two clusters on this one machine must differ: the epilog kills by them
FirstJobId=100001
NodeName=m[1-2] NodeHostname=login NodeAddr=10.99.0.2 Port=[17011-17012] CPUs=4 RealMemory=4000
PartitionName=main Nodes=m[1-2] Default=YES MaxTime=48:00:00 DefaultTime=60 State=UP
CONF
cp /etc/slurm/cgroup.conf /etc/second/
slurmctld -f /etc/second/slurm.conf
for node in m1 m2; do slurmd -f /etc/second/slurm.conf -N "$node"; done
"""
LOGIN = """
mkdir -p ~/.ssh
cat > ~/.ssh/id_ed25519
chmod 600 ~/.ssh/id_ed25519
printf 'Host second\\n    HostName login\\n    HostKeyAlias login\\n' > ~/.ssh/config
echo "$1" > ~/.ssh/known_hosts
echo '[ -z "${SSH_CONNECTION-}" ] || export SLURM_CONF=/etc/second/slurm.conf' > ~/.bashrc
"""


def put(pool: Pool, name: str, text: str) -> None:
    done = pool.run("sh", "-c", 'mkdir -p "$1"; cat > "$1/$2"', "-", HERE, name, stdin=text)
    assert done.returncode == 0, done.stderr


def squeue(pool: Pool, site: str, *options: str) -> list[str]:
    """Return the states of alice's pilots at a site; none if its controller does not answer."""
    conf = [f"SLURM_CONF={CONF}"] if site == "Far" else []
    done = pool.run("env", *conf, "squeue", "--noheader", "--me", "--format=%T", *options)
    return done.stdout.split() if done.returncode == 0 else []


@pytest.fixture(scope="module")
def clusters(pool: Pool) -> Iterator[Pool]:
    """The pool with a second cluster on the same machine, which alice reaches by `ssh second`."""
    pool.say("sh", "-c", SECOND, user="root")
    key = pool.say("cat", "/home/alice/.ssh/id_ed25519", host="ap")
    known = pool.say("cat", "/home/alice/.ssh/known_hosts", host="ap")
    done = pool.run("sh", "-c", LOGIN, "-", known, stdin=f"{key}\n")
    assert done.returncode == 0, done.stderr
    until(lambda: "idle" in pool.run("ssh", "second", "sinfo", "-h", "-o", "%T").stdout)
    put(pool, "Snakefile", SNAKEFILE)
    put(pool, "near.yaml", yaml.safe_dump(NEAR))
    put(pool, "far.yaml", yaml.safe_dump(FAR))
    return pool


def snakemake(*more: str) -> str:
    line = " ".join(SNAKEMAKE).replace("site.yaml", "near.yaml,far.yaml")
    return f"{line} {' '.join(more)}"


def record(pool: Pool) -> dict:
    return json.loads(pool.say("osgpilot", "status", "--json", folder=HERE))


def sites_of(pool: Pool) -> Counter[str]:
    return Counter(pilot["site"] for pilot in record(pool)["pilots"])


def test_two_clusters_serve_a_workflow_and_one_goes_away(clusters: Pool):
    line = snakemake(
        f"--osgpilot-max-pilots={PILOTS_MAX}", f"--osgpilot-max-core-hours={BUDGET_CORE_H}"
    )
    most: Counter[str] = Counter()

    def count() -> None:
        here = {site: len(squeue(clusters, site)) for site in ("Near", "Far")}
        for name, number in {**here, "all": sum(here.values())}.items():
            most[name] = max(most[name], number)

    def seen(condition) -> bool:
        count()
        return condition()

    said = f"{HERE}/said"
    argv = clusters.argv("sh", "-c", f"{line} > said 2>&1", folder=HERE)
    with subprocess.Popen(argv) as workflow:
        try:
            running = ("--states=RUNNING",)
            until(
                lambda: seen(
                    lambda: all(squeue(clusters, site, *running) for site in ("Near", "Far"))
                ),
                120, "a pilot at each site",
            )  # fmt: skip
            until(
                lambda: seen(lambda: clusters.run("ls", f"{HERE}/out").stdout), 120, "a job's end"
            )
            clusters.say("sh", "-c", "kill -KILL $(cat /run/second.pid)", user="root")
            until(
                lambda: seen(lambda: "site Far is left alone" in clusters.say("cat", said)),
                180, "the end of a cluster to be noticed",
            )  # fmt: skip
            clusters.say("touch", f"{HERE}/go")
            until(lambda: seen(lambda: workflow.poll() is not None), 300, "the end of the workflow")
        finally:
            workflow.kill()
            print(clusters.run("cat", said).stdout)
    assert workflow.returncode == 0
    for n in range(24):
        assert clusters.say("cat", f"{HERE}/later/{n}") == "start\nend", "no job was lost"
    assert most["Near"] <= 2
    assert most["Far"] <= 2
    assert most["all"] <= PILOTS_MAX, most
    assert set(sites_of(clusters)) == {"Near", "Far"}
