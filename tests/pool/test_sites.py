"""Two clusters with a controller each, one behind SSH or in a federation, serve one workflow."""

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import yaml

from .conftest import SITE, SNAKEMAKE, Pool, until

HERE = "/home/alice/sites"
CONF = "/etc/second/slurm.conf"
NEAR = {**SITE, "resource": "Near", "limits": {"max_pilots": 2}}
FAR = {**SITE, "resource": "Far", "limits": {"max_pilots": 2}, "slurm": {"ssh": "second"}}
FEDERATED = {**FAR, "slurm": {"cluster": "second"}}
PILOTS_MAX, BUDGET_CORE_H = 3, 40
PATIENCE_S = 400
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
    shell: "sleep 5; cat {input} > {output}"
"""
MEET = "/home/alice/meet"
"""A folder that the pilots of both sites see."""

GATED = f"""
rule all:
    input: expand("out/{{n}}", n=range(24)), expand("later/{{n}}", n=range(24))
rule one:
    output: "out/{{n}}"
    retries: 0
    shell:
        "echo start >> {{output}}; "
        "[ {{wildcards.n}} -lt 4 ] || until [ -e {MEET}/go ]; do sleep 0.2; done; "
        "echo end >> {{output}}"
rule two:
    input: "out/{{n}}"
    output: "later/{{n}}"
    retries: 0
    shell: "cat {{input}} > {{output}}"
"""
"""Most jobs go on when `go` exists."""

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
sacctmgr --immediate --quiet add cluster second
sacctmgr --immediate --quiet add account lab cluster=second
sacctmgr --immediate --quiet add user root,alice account=lab cluster=second
cp /etc/slurm/cgroup.conf /etc/second/
slurmctld -f /etc/second/slurm.conf
for node in m1 m2; do slurmd -f /etc/second/slurm.conf -N "$node"; done
"""
LOGIN = """
mkdir -p ~/.ssh
cat > ~/.ssh/id_ed25519
chmod 600 ~/.ssh/id_ed25519
printf 'Host second\\n    HostName login\\n    HostKeyAlias login\\n    Port 22\\n' > ~/.ssh/config
echo "$1" > ~/.ssh/known_hosts
echo '[ -z "${SSH_CONNECTION-}" ] || export SLURM_CONF=/etc/second/slurm.conf' > ~/.bashrc
"""

VANISH = """
family() {
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
    echo "$1"
}
dead=$(cat /run/second.pid /run/slurmd-m1.pid /run/slurmd-m2.pid)
for script in $(pgrep -f slurm_script); do
    ! grep -qz '^SLURMD_NODENAME=m[12]$' "/proc/$script/environ" || dead+=" $(family "$script")"
done
kill -KILL $dead
"""
"""Processes that the second cluster loses at once: its controller, its nodes, its pilots."""

BACK = """
slurmctld -f /etc/second/slurm.conf
for node in m1 m2; do slurmd -f /etc/second/slurm.conf -N "$node"; done
"""
SHORT_LEASE = """
from snakemake.cli import main
from snakemake_executor_plugin_osgpilot.htcondor import submit_description

submit_description.JOB_LEASE_S = 45
main()
"""
"""Runs Snakemake; HTCondor looks for jobs whose connection is lost for a minute and not for ten."""


def put(pool: Pool, name: str, text: str) -> None:
    done = pool.run("sh", "-c", 'mkdir -p "$1"; cat > "$1/$2"', "-", HERE, name, stdin=text)
    assert done.returncode == 0, done.stderr


def squeue(pool: Pool, site: str, *options: str) -> list[str]:
    """Return the states of alice's pilots at a site; none if its controller does not answer."""
    conf = [f"SLURM_CONF={CONF}"] if site == "Far" else []
    done = pool.run("env", *conf, "squeue", "--noheader", "--me", "--format=%T", *options)
    return done.stdout.split() if done.returncode == 0 else []


@pytest.fixture(scope="module")
def clusters(pool: Pool) -> Pool:
    """The pool with a second cluster on the same machine: alice reaches it by `ssh second`, and as
    the accounting knows both, by `--clusters=second`, too.
    """
    pool.say("pool-accounting", user="root")
    pool.say("sh", "-c", SECOND, user="root")
    key, known = (
        pool.say("cat", f"/home/alice/.ssh/{name}", host="ap")
        for name in ("id_ed25519", "known_hosts")
    )
    done = pool.run("sh", "-c", LOGIN, "-", known, stdin=f"{key}\n")
    assert done.returncode == 0, done.stderr
    until(lambda: "idle" in pool.run("ssh", "second", "sinfo", "-h", "-o", "%T").stdout)
    put(pool, "Snakefile", SNAKEFILE)
    for name, content in (("near", NEAR), ("far", FAR), ("federated", FEDERATED)):
        put(pool, f"{name}.yaml", yaml.safe_dump(content))
    return pool


def open_way(pool: Pool, *, is_open: bool) -> None:
    """Have `ssh second` reach its host, or be refused."""
    port = f"s/Port .*/Port {22 if is_open else 9}/"
    pool.say("sed", "-i", port, "/home/alice/.ssh/config")
    assert (pool.run("ssh", "second", "true").returncode == 0) is is_open


@pytest.fixture
def closed(clusters: Pool) -> Iterator[Pool]:
    """The clusters, of which the second cannot be reached by `ssh`."""
    open_way(clusters, is_open=False)
    yield clusters
    open_way(clusters, is_open=True)


def snakemake(files: str, *more: str) -> list[str]:
    python, _, _, *options = SNAKEMAKE
    given = [python, "-c", SHORT_LEASE, *(files if o == "site.yaml" else o for o in options)]
    limits = [
        f"--osgpilot-max-pilots={PILOTS_MAX}", f"--osgpilot-max-core-hours={BUDGET_CORE_H}",
    ]  # fmt: skip
    return [*given, *limits, *more]


class Counts:
    """The most pilots that were seen at each site, and in all, at a time."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.most: Counter[str] = Counter()

    def seen(self, condition: Callable[[], object]) -> Callable[[], object]:
        """Return a condition that counts the pilots whenever it is asked."""

        def count() -> object:
            here = {site: len(squeue(self.pool, site)) for site in ("Near", "Far")}
            for name, number in {**here, "all": sum(here.values())}.items():
                self.most[name] = max(self.most[name], number)
            return condition()

        return count

    def hold(self) -> None:
        """Check the limits of the site files and of the run."""
        assert self.most["Near"] <= 2
        assert self.most["Far"] <= 2
        assert self.most["all"] <= PILOTS_MAX, self.most


@contextmanager
def started(pool: Pool, *argv: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a workflow; its output goes to the file `said` there."""
    line = f"{shlex.join(argv)} > said 2>&1"
    with subprocess.Popen(pool.argv("sh", "-c", line, folder=HERE)) as workflow:
        try:
            yield workflow
        finally:
            workflow.kill()
            print(said(pool))


def said(pool: Pool) -> str:
    return pool.run("cat", f"{HERE}/said").stdout


def pilots(pool: Pool) -> list[dict[str, Any]]:
    # its exit status is another one if the run was killed, and there may be none yet
    shown = pool.run("osgpilot", "status", "--json", folder=HERE).stdout
    return json.loads(shown)["pilots"] if shown else []


def during(workflow: "subprocess.Popen[bytes]", question: Callable[[], object], what: str) -> None:
    """Ask until the answer is true, while the workflow runs."""

    def ask() -> object:
        answer = question()
        assert answer or workflow.poll() is None, f"the workflow ended before {what}"
        return answer

    until(ask, PATIENCE_S, what)


@contextmanager
def full_near(pool: Pool) -> Iterator[Callable[[], object]]:
    """Have another user's jobs take all nodes of the first cluster; yields what cancels them."""
    sbatch = ("sbatch", "--parsable", "--array=1-4", "--exclusive", "--wrap=sleep 3600")
    jobs = pool.say(*sbatch, user="bob", folder="/tmp").strip()
    cancel = partial(pool.run, "scancel", jobs, user="bob")
    running = ("squeue", "--noheader", "--states=RUNNING", "--format=%i", f"--jobs={jobs}")
    try:
        until(lambda: len(pool.run(*running).stdout.split()) == 4)
        yield cancel
    finally:
        cancel()


def serve_at_both(pool: Pool) -> bool:
    running = "--states=RUNNING"
    return bool(squeue(pool, "Near", running) and squeue(pool, "Far", running))


def run_at_far(pool: Pool) -> bool:
    # pilots name their machine after the site
    return "@Far" in pool.run("condor_q", "-allusers", "-af", "RemoteHost").stdout


def hold_outputs(pool: Pool) -> None:
    for n in range(24):
        text = pool.say("cat", f"{HERE}/later/{n}")
        assert text == "start\nend", "each job ran, and no started one was lost"


def test_plan_and_doctor_ask_each_site(clusters: Pool):
    files = "near.yaml,far.yaml"
    checks = ("--no-probe", "--only=site-file", "--only=slurm", "--only=token")
    found = clusters.say("osgpilot", "doctor", f"--site={files}", *checks, folder=HERE)
    assert "2 sites: Near, Far" in found
    assert "slurm: near.yaml: " in found
    assert "slurm: far.yaml: " in found
    planned = plan(clusters, files)
    assert planned.returncode == 0
    assert "Near:default/4c" in planned.stdout
    assert "Far:default/4c" in planned.stdout


def plan(pool: Pool, files: str) -> "subprocess.CompletedProcess[str]":
    _, _, _, *arguments = snakemake(files)
    return pool.run("osgpilot", "plan", "--", *arguments, folder=HERE)


def test_plan_doctor_and_cleanup_name_a_site_that_cannot_be_reached(closed: Pool):
    planned = plan(closed, "near.yaml,far.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "site Far does not answer; a run starts without it and polls it again: ssh second: " in (
        " ".join(planned.stdout.split())
    )
    assert "Near:default/4c" in planned.stdout
    checks = ("--no-probe", "--only=site-file", "--only=slurm")
    examined = closed.run("osgpilot", "doctor", "--site=near.yaml,far.yaml", *checks, folder=HERE)
    assert examined.returncode == 1
    verdicts = [line.split() for line in examined.stdout.splitlines()]
    assert ["ok", "slurm:", "near.yaml:"] in [words[:3] for words in verdicts]
    assert ["failed", "slurm:", "far.yaml:"] in [words[:3] for words in verdicts]
    cleaned = closed.run("osgpilot", "cleanup", "--site=near.yaml,far.yaml", folder=HERE)
    assert cleaned.returncode == 0
    assert "Slurm of second is skipped: ssh second: " in cleaned.stderr


def test_a_site_answers_late_serves_and_vanishes_with_its_nodes(closed: Pool):
    clusters, counts = closed, Counts(closed)
    argv = snakemake("near.yaml,far.yaml")
    # or all jobs may have run at the first site before the other one serves
    with full_near(clusters) as free_near, started(clusters, *argv) as workflow:
        left_alone = "site Far is left alone and polled again later: "
        during(
            workflow,
            counts.seen(lambda: f"{left_alone}ssh second: " in said(clusters)),
            "the notice",
        )
        during(workflow, counts.seen(lambda: squeue(clusters, "Near")), "pilots at the other site")
        open_way(clusters, is_open=True)
        serves_far = counts.seen(lambda: squeue(clusters, "Far", "--states=RUNNING"))
        during(workflow, serves_far, "a pilot at the site that answered late")
        free_near()
        during(workflow, counts.seen(lambda: serve_at_both(clusters)), "a pilot at each site")
        assert "site Far answers again" in said(clusters)
        during(workflow, counts.seen(lambda: run_at_far(clusters)), "jobs there")
        clusters.say("bash", "-c", VANISH, user="root")
        lost = counts.seen(lambda: said(clusters).count(left_alone) >= 2)
        during(workflow, lost, "notice of the end of a cluster")
        until(
            counts.seen(lambda: workflow.poll() is not None), PATIENCE_S, "the end of the workflow"
        )
    assert workflow.returncode == 0
    hold_outputs(clusters)
    counts.hold()
    seen = pilots(clusters)
    assert {pilot["site"] for pilot in seen} == {"Near", "Far"}
    assert len(seen) * 4 * 1 <= BUDGET_CORE_H
    assert "could not end the pilots: Far: " in said(clusters)
    # it is back: what may be left there is found by the journal
    clusters.say("bash", "-c", BACK, user="root")
    until(lambda: clusters.run("ssh", "second", "squeue").returncode == 0, PATIENCE_S, "Slurm")
    clusters.say("osgpilot", "cleanup", "--yes", f"--dir={HERE}", folder=HERE)
    assert not [*squeue(clusters, "Near"), *squeue(clusters, "Far")]
    assert not clusters.run("ls", "/home/alice/.local/state/osgpilot").stdout


def test_a_run_is_resumed_while_a_site_with_pilots_of_it_cannot_be_reached(clusters: Pool):
    clusters.say("rm", "-rf", f"{HERE}/out", f"{HERE}/later")
    clusters.say("mkdir", MEET)
    put(clusters, "gated.smk", GATED)
    gated = ("--snakefile=gated.smk", f"--osgpilot-shared-prefixes={MEET}")
    command = snakemake("near.yaml,far.yaml", *gated)
    with started(clusters, *command) as workflow:
        during(
            workflow,
            lambda: run_at_far(clusters) and clusters.run("ls", f"{HERE}/out").stdout,
            "jobs",
        )
        kill = ("pkill", "-KILL", "-u", "alice", "-f", "--", "--executor osgpilot")
        clusters.say(*kill, user="root")
        workflow.wait()
    # leftovers of a killed Snakemake
    clusters.say("rm", "-rf", f"{HERE}/.snakemake/locks")
    before = {pilot["name"]: pilot["site"] for pilot in pilots(clusters)}
    assert "Far" in before.values()
    open_way(clusters, is_open=False)
    try:
        with started(clusters, *command, "--rerun-incomplete") as workflow:
            left_alone = "site Far is left alone and polled again later: ssh second: "
            during(workflow, lambda: left_alone in said(clusters), "the notice")
            during(
                workflow, lambda: run_at_far(clusters), "jobs on pilots that only the pool shows"
            )
            explained = clusters.run("osgpilot", "explain", folder=HERE)
            assert explained.returncode == 0
            assert "note: ssh second: " in explained.stderr
            open_way(clusters, is_open=True)
            clusters.say("touch", f"{MEET}/go")
            until(lambda: workflow.poll() is not None, PATIENCE_S, "the end of the workflow")
    finally:
        open_way(clusters, is_open=True)
    assert workflow.returncode == 0
    assert "resuming run" in said(clusters)
    hold_outputs(clusters)
    seen = {pilot["name"]: pilot for pilot in pilots(clusters)}
    assert before.items() <= {name: pilot["site"] for name, pilot in seen.items()}.items()
    ended = {"done", "failed", "cancelled"}
    assert {pilot["state"] for pilot in seen.values()} <= ended, "the end of each is known"
    assert not [*squeue(clusters, "Near"), *squeue(clusters, "Far")]
    assert not clusters.run("ls", "/home/alice/.local/state/osgpilot").stdout


def test_clusters_of_a_federation_serve_a_workflow(clusters: Pool):
    until(lambda: "idle" in clusters.run("sinfo", "--clusters=second", "-h", "-o", "%T").stdout)
    counts = Counts(clusters)
    argv = snakemake("near.yaml,federated.yaml", "--forceall", "--until", "one")
    with started(clusters, *argv) as workflow:
        until(counts.seen(lambda: workflow.poll() is not None), 300, "the end of the workflow")
    assert workflow.returncode == 0
    counts.hold()
    assert {pilot["site"] for pilot in pilots(clusters)} == {"Near", "Far"}
    assert not [*squeue(clusters, "Near"), *squeue(clusters, "Far")]
