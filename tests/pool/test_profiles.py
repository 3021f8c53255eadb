"""The profiles of the example, used as they say: names are put in, and the example workflow runs.

The cluster is made to look like that of the profiles: partitions, an alias for SSH, images in their
places. What is put in are names, and sizes that nodes of a pool have.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY, Pool, until

EXAMPLE = REPOSITORY / "example-workflow"
FOLDER = "/home/alice/profiles-tried"
PATIENCE_S = 180
POOL = {"central_manager": "ap.localpool:9618", "scratch": "/var/tmp"}
QUICK = {"MASTER_UPDATE_INTERVAL": 5, "STARTD_CRON_base_PERIOD": "5s"}
ALIAS = "Host mycluster\n    HostName login\n    HostKeyAlias login\n"
JOB_IMAGE, PILOT_IMAGE = "/opt/sif/job.sif", "/opt/sif/pilot.sif"


def login_site(site: dict[str, Any]) -> None:
    site["access_point"] = {"schedd": "ap.localpool", "poll_s": 2}
    normal, long = site["partitions"]
    normal.update(cores=4, memory_mb=3900)
    long.update(cores=1, memory_mb=950)


def login_profile(profile: dict[str, Any]) -> None:
    profile["default-resources"]["container_image"] = JOB_IMAGE
    profile["osgpilot-shared-prefixes"] = ["/opt/sif"]
    profile["set-resources"]["map"]["mem_mb"] = 900
    profile["set-resources"]["merge"].update(mem_mb=900, osgpilot_pilot_cores=4)
    profile["default-resources"]["mem_mb"] = 500


def ssh_site(site: dict[str, Any]) -> None:
    site["slurm"]["folder"] = "/home/alice/scratch/osgpilot"
    site["partitions"][0].update(cores=4, memory_mb=3900)


def ssh_profile(profile: dict[str, Any]) -> None:
    profile["osgpilot-max-pilots"] = 1
    profile["set-resources"]["map"]["mem_mb"] = 900
    profile["set-resources"]["merge"]["mem_mb"] = 900
    profile["default-resources"]["mem_mb"] = 500


PLACES: dict[str, tuple[str, Callable[..., None], Callable[..., None]]] = {
    "login-node": ("login", login_site, login_profile),
    "access-point-ssh": ("ap", ssh_site, ssh_profile),
}


def put(pool: Pool, path: str, text: str, host: str) -> None:
    done = pool.run("sh", "-c", 'mkdir -p "${1%/*}"; cat > "$1"', "-", path, host=host, stdin=text)
    assert done.returncode == 0, done.stderr


def changed(path: Path, change: Callable[..., None], **more: Any) -> str:
    content = yaml.safe_load(path.read_text())
    change(content)
    return yaml.safe_dump({**content, **more})


@pytest.fixture(scope="module")
def cluster(pool: Pool) -> Pool:
    """The pool with what the profiles speak of."""
    for name, minutes in (("normal", 1440), ("long", 4320)):
        pool.say(
            "scontrol", "create", f"PartitionName={name}", "Nodes=ALL", f"MaxTime={minutes}",
            "State=UP", user="root",
        )  # fmt: skip
    pool.say("sh", "-c", f"mkdir ~/images; ln -s {PILOT_IMAGE} ~/images/ospool-ep.sif")
    put(pool, "/home/alice/.ssh/config", ALIAS, "ap")
    return pool


def started(pool: Pool, name: str, log: Path) -> subprocess.Popen[bytes]:
    """Put the example with this profile where it is to run, and start it there."""
    host, site, profile = PLACES[name]
    files = subprocess.run(
        ["tar", "-c", "-C", str(EXAMPLE), "config", "workflow"], capture_output=True, check=True
    )
    pool.say("mkdir", FOLDER, host=host)
    unpack = pool.argv("tar", "-x", host=host, folder=FOLDER)
    subprocess.run(unpack, input=files.stdout, check=True)
    here, there = EXAMPLE / "profiles" / name, f"{FOLDER}/profiles/{name}"
    put(pool, f"{there}/site.yaml", changed(here / "site.yaml", site, condor=QUICK, **POOL), host)
    put(pool, f"{there}/profile.v9+.yaml", changed(here / "profile.v9+.yaml", profile), host)
    put(pool, f"{FOLDER}/images/x", "", host)
    pool.say("ln", "-s", JOB_IMAGE, f"{FOLDER}/images/mytools.sif", host=host)
    command = ("snakemake", "--workflow-profile", f"profiles/{name}", "--config", "chunks=2")
    with log.open("w") as said:
        return subprocess.Popen(
            pool.argv(*command, host=host, folder=FOLDER), stdout=said, stderr=subprocess.STDOUT
        )


def test_the_example_runs_with_the_profiles_for_a_login_node_and_for_an_access_point(
    cluster: Pool, tmp_path: Path
):
    logs = {name: tmp_path / name for name in PLACES}
    runs = {name: started(cluster, name, log) for name, log in logs.items()}
    ended = lambda: all(run.poll() is not None for run in runs.values())  # noqa: E731
    try:
        until(ended, PATIENCE_S, "the end of both")
    finally:
        said = {name: log.read_text() for name, log in logs.items()}
        print(*said.values(), sep="\n")
        for run in runs.values():
            run.kill()
    for name, (host, *_) in PLACES.items():
        assert runs[name].returncode == 0, said[name]
        made = cluster.say("ls", "results", host=host, folder=FOLDER).split()
        assert {"coverage.png", "variants.vcf.gz"} <= set(made)
    login, ap = said["login-node"], said["access-point-ssh"]
    assert "rule plot -> Slurm: it sets ospool=False" in login
    assert "rule map -> OSPool (Institution_PILastname): 2 jobs" in login
    assert "rule plot -> OSPool (Institution_PILastname): 1 job" in ap
    record = cluster.say("sh", "-c", "cat .snakemake/osgpilot/*/history.jsonl", folder=FOLDER)
    assert '"offer":"long/1c"' in record, "the rule that requests it had a pilot there"
    assert cluster.say("squeue", "--noheader", "--me") == ""
