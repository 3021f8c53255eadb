"""Folders of a run are closed to other users of the host, whatever the umask is."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

SHARED = "/home/alice/shared"
WAIT = f"touch {SHARED}/{{rule}}; until [ -e {SHARED}/go ]; do sleep 0.2; done; touch {{output}}"
SNAKEFILE = f"""
envvars: "PRIVATE"
rule all:
    input: "direct", "body", "failed"
rule direct:
    output: "direct"
    shell: "{WAIT}"
rule body:
    output: "body"
    run: shell("{WAIT}")
rule failed:
    input: "direct", "body"
    output: "failed"
    retries: 0
    shell: "echo said; touch {{output}}; exit 1"
"""
CLUSTER = "/home/alice/.local/state/osgpilot"


def open_to_others(pool: Pool, folder: str, host: str = "login") -> list[str]:
    """Return paths that others may enter, read or write, without returned outputs of jobs."""
    walk = ("find", folder, "!", "-type", "l", "-printf", "%m %p\\n")
    found = pool.say(*walk, host=host, user="root").splitlines()
    assert len(found) > 5
    # HTCondor gives what jobs bring back the mode it had there; nobody gets to the lock but
    # through its folder
    apart = ("/osgpilot-out", "/returned", "/output")
    mine = [line for line in found if not any(each in line for each in apart)]
    return [line for line in mine if int(line.split()[0], 8) & 0o077]


@contextmanager
def started(pool: Pool, folder: Path, umask: str, host: str) -> Iterator["subprocess.Popen[str]"]:
    options = ("--osgpilot-runtime-image", "/opt/sif/runtime.sif", "--keep-going")
    options += ("--osgpilot-shared-prefixes", SHARED)
    workflow = subprocess.Popen(
        pool.argv("bash", "-s", host=host, folder=folder), stdin=subprocess.PIPE, text=True
    )
    assert workflow.stdin is not None
    line = " ".join((*SNAKEMAKE, *options))
    workflow.stdin.write(f"umask {umask}; export PRIVATE=x\nexec {line} > said 2>&1\n")
    workflow.stdin.close()
    try:
        yield workflow
    finally:
        command = ("pkill", "-KILL", "-u", "alice", "-f", "snakemake --executor")
        pool.run(*command, host=host, user="root")
        workflow.wait()


@pytest.fixture(params=["022", "000"])
def umask(request, pool: Pool) -> str:
    for host in ("login", "ap"):
        pool.say("mkdir", SHARED, host=host)
    yield request.param
    for host in ("login", "ap"):
        pool.say("rm", "-rf", SHARED, host=host)


def folder_of(pool: Pool, umask: str, site: dict[str, object]) -> Path:
    folder = pool.work / f"{umask}{site['slurm'].get('ssh', '')}"
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    return folder


def test_no_part_of_a_run_is_open_to_others(pool: Pool, umask: str):
    folder = folder_of(pool, umask, {**SITE, "slurm": {}})
    both = ("test", "-e", f"{SHARED}/direct", "-a", "-e", f"{SHARED}/body")
    state = str(folder / ".snakemake" / "osgpilot")
    with started(pool, folder, umask, "login") as workflow:
        until(lambda: pool.run(*both).returncode == 0, 100, "both jobs")
        assert open_to_others(pool, state) == []
        pool.say("touch", f"{SHARED}/go")
        assert workflow.wait(PATIENCE_S) == 1
    assert "said" in next(folder.glob(".snakemake/osgpilot/2*/history.jsonl")).read_text()
    assert next(folder.glob(".snakemake/osgpilot/2*/jobs/*/output")).read_text() == "said\n"
    assert open_to_others(pool, state) == []
    assert (folder / "direct").stat().st_mode & 0o044, "outputs are unchanged"


def test_no_part_of_a_run_is_open_to_others_on_a_cluster_behind_ssh(pool: Pool, umask: str):
    """Its shell has the umask of the login there."""
    pool.say("bash", "-c", f"echo umask {umask} > ~/.bashrc")
    here = f"/home/alice/{umask}"
    folder = folder_of(pool, umask, {**SITE, "slurm": {"ssh": "login"}})
    pool.say("cp", "-r", str(folder), here, host="ap")
    state = f"{here}/.snakemake/osgpilot"
    with started(pool, Path(here), umask, "ap") as workflow:
        until(lambda: pool.run("test", "-e", f"{SHARED}/direct").returncode == 0, 100, "a job")
        assert open_to_others(pool, CLUSTER) == []
        assert open_to_others(pool, state, host="ap") == []
        pool.say("touch", f"{SHARED}/go")
        assert workflow.wait(PATIENCE_S) == 1
    pool.say("bash", "-c", f"ls {state}/2*/pilots.log", host="ap")
    assert open_to_others(pool, state, host="ap") == []
