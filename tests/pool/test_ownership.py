"""One working folder on two hosts: who holds a run is known on both, also after a reboot."""

import subprocess
from pathlib import Path

import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

SHARED = "/home/alice/shared"
SNAKEFILE = f"""
rule all:
    input: expand("out-{{n}}", n=range(2))
rule wait:
    output: "out-{{n}}"
    shell:
        "echo start >> {SHARED}/ran-{{wildcards.n}}; "
        "until [ -e {SHARED}/go ]; do sleep 0.2; done; touch {{output}}"
"""
AT_AP = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}
SITES = {"login": AT_AP, "ap": {**AT_AP, "slurm": {"ssh": "login"}}}
NEW_BOOT = """
cat /proc/sys/kernel/random/uuid > /run/boot
mount --bind /run/boot /proc/sys/kernel/random/boot_id
"""


def argv(pool: Pool, host: str) -> list[str]:
    command = list(SNAKEMAKE)
    command[command.index("site.yaml")] = f"{host}.yaml"
    options = ("--nolock", "--rerun-incomplete", "--osgpilot-max-pilots", "1")
    options += ("--osgpilot-shared-prefixes", SHARED)
    return pool.argv(*command, *options, host=host, folder=pool.work)


def refused(pool: Pool, host: str) -> str:
    done = subprocess.run(argv(pool, host), capture_output=True, text=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def lease(pool: Pool) -> Path:
    (found,) = pool.work.glob(".snakemake/osgpilot/2*/lease")
    return found


def test_a_run_is_held_by_one_host_and_gone_on_with_after_its_reboot(pool: Pool):
    (pool.work / "Snakefile").write_text(SNAKEFILE)
    for host, site in SITES.items():
        pool.say("mkdir", SHARED, host=host)
        (pool.work / f"{host}.yaml").write_text(yaml.safe_dump(site))
    with (pool.work / "said").open("w") as said:
        first = subprocess.Popen(argv(pool, "login"), stdout=said, stderr=subprocess.STDOUT)

    def both_run() -> bool:
        states = pool.say("condor_q", "-allusers", "-af", "JobStatus", host="ap").split()
        return states == ["2", "2"] or first.poll() is not None

    until(both_run, 90, "two jobs that run")
    pid = pool.say("pgrep", "-o", "-u", "alice", "-f", "python -m snakemake --executor")
    for host in SITES:
        reported = refused(pool, host)
        assert (
            f"another Snakemake is running in this folder: run {lease(pool).parent.name}"
            in reported
        )
        assert f"process {pid} on login" in reported

    pool.say("kill", "-KILL", pid, user="root")
    first.wait()
    assert f"process {pid} on login" in refused(pool, "ap"), "it may be alive there"
    pool.say("touch", "--date=1 hour ago", str(lease(pool)))
    assert "its pilots are in the Slurm of login" in refused(pool, "ap")

    # the lease is fresh again, but the host was rebooted since
    pool.say("touch", str(lease(pool)))
    pool.say("bash", "-c", NEW_BOOT, user="root")
    pool.say("touch", f"{SHARED}/go")
    done = subprocess.run(argv(pool, "login"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resumed tracking 2 jobs of the previous session" in done.stderr
    for n in range(2):
        assert pool.say("cat", f"{SHARED}/ran-{n}") == "start", "executed once"
    assert pool.say("condor_q", "-allusers", "-af", "JobStatus", host="ap") == ""
    assert pool.say("squeue", "--noheader") == ""


FROM_ANYWHERE = {**AT_AP, "slurm": {"ssh": "login"}}
ONE_BY_ONE = f"""
rule all:
    input: expand("kept-{{n}}", n=range(2)), "local"
rule wait:
    output: "kept-{{n}}"
    shell:
        "echo start >> {SHARED}/woken-{{wildcards.n}}; "
        "until [ -e {SHARED}/go-{{wildcards.n}} ]; do sleep 0.2; done; "
        "echo {{wildcards.n}} > {{output}}"
rule gather:
    input: expand("kept-{{n}}", n=range(2))
    output: "local"
    localrule: True
    shell: "cat {{input}} > {{output}}"
"""


def test_a_snakemake_that_wakes_up_after_its_run_was_taken_over_touches_nothing(pool: Pool):
    folder = pool.work / "woken"
    folder.mkdir()
    (folder / "Snakefile").write_text(ONE_BY_ONE)
    for host in SITES:
        pool.say("mkdir", "-p", SHARED, host=host)
    (folder / "site.yaml").write_text(yaml.safe_dump(FROM_ANYWHERE))
    for name in ("id_ed25519", "known_hosts"):
        # as in a home that both hosts share
        path = f"/home/alice/.ssh/{name}"
        text = pool.say("cat", path, host="ap") + "\n"
        assert pool.run("sh", "-c", f"umask 077; cat > {path}", stdin=text).returncode == 0
    options = ("--nolock", "--rerun-incomplete", "--osgpilot-max-pilots", "1")
    options += ("--osgpilot-shared-prefixes", SHARED)

    def begin(host: str) -> "subprocess.Popen[bytes]":
        line = pool.argv(*SNAKEMAKE, *options, host=host, folder=folder)
        with (folder / f"said-{host}").open("w") as said:
            return subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)

    def said(host: str) -> str:
        return (folder / f"said-{host}").read_text()

    def running() -> list[str]:
        return pool.say("condor_q", "-allusers", "-af", "JobStatus", host="ap").split()

    frozen = begin("login")
    until(lambda: running() == ["2", "2"] or frozen.poll() is not None, 120, "two jobs that run")
    assert frozen.poll() is None, said("login")
    pid = pool.say("pgrep", "-o", "-u", "alice", "-f", "python -m snakemake --executor")
    pool.say("kill", "-STOP", pid, user="root")
    (lease,) = folder.glob(".snakemake/osgpilot/2*/lease")
    pool.say("touch", "--date=1 hour ago", str(lease))

    following = begin("ap")
    until(
        lambda: (
            "resumed tracking 2 jobs of the previous session" in said("ap")
            or following.poll() is not None
        ),
        120,
        "the run to be resumed",
    )
    pool.say("touch", f"{SHARED}/go-0")
    until(lambda: (folder / "kept-0").exists() or following.poll() is not None, 120, "an output")
    until(lambda: "1 of 4 steps" in said("ap"), 60, "Snakemake's own note of it")

    pool.say("kill", "-CONT", pid, user="root")
    assert frozen.wait(PATIENCE_S) != 0
    reported = said("login")
    (line,) = (each for each in reported.splitlines() if "was taken over by" in each)
    assert f"run {lease.parent.name} was taken over by process" in line
    assert "on ap; this Snakemake" in line
    assert "Traceback" not in reported
    assert "Removing output" not in reported
    assert reported.rstrip().endswith(line)
    assert (folder / "kept-0").read_text() == "0\n"
    assert following.poll() is None
    # a job that has ended stays there until its outputs are fetched
    assert running().count("2") == 1, "the other job continues"
    assert pool.say("squeue", "--noheader") != "", "and so does its pilot"

    pool.say("touch", f"{SHARED}/go-1")
    assert following.wait(PATIENCE_S) == 0, said("ap")
    assert (folder / "local").read_text() == "0\n1\n"
    for n in range(2):
        assert pool.say("cat", f"{SHARED}/woken-{n}") == "start", "executed once"
    assert running() == []
    until(lambda: pool.say("squeue", "--noheader") == "", 60, "no pilot")
