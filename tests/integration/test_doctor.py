"""`osgpilot doctor` finds what is broken in a set-up, and names the fix."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PATIENCE_S, SITE, pilots_in_slurm, until
from tls import Trusted

from snakemake_executor_plugin_osgpilot.doctor import checks

OSGPILOT = str(Path(sys.executable).with_name("osgpilot"))
NAMES = set(checks.NAMES)
LATE = {"access-point", "pool", "node"}
"""Checks that take their time; set-ups that are probed have them all, others what they need."""

OWN_TOKEN = Path.home() / "osg-token" / "flock.opensciencegrid.org"

# a process that is root in a user namespace of its own can forbid further ones in it
NO_NAMESPACES = """
if [ -z "${TWICE:-}" ]; then
    export TWICE=yes
    exec unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_user_namespaces
        exec bash "$@"' - "$0" "$folder"
fi
"""


@dataclass(frozen=True)
class Broken:
    """A set-up in which one thing is wrong: the check that must say so, and what it must say."""

    check: str
    says: str
    fix: str
    site: dict[str, Any] = field(default_factory=dict)
    project: str = "TestProject"
    token: Callable[[Path], None] | None = None
    probe: bool = False
    env: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    """Checks that fail as a consequence."""


def readable_by_others(path: Path) -> None:
    path.write_bytes(OWN_TOKEN.read_bytes())
    path.chmod(0o644)


def ended(path: Path) -> None:
    """Write a token whose end is a day ago; only its own claims are checked."""
    parts = OWN_TOKEN.read_text().strip().split(".")
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    claims["exp"] = int(time.time()) - 86400
    parts[1] = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    path.write_text(".".join(parts))
    path.chmod(0o600)


def slurm(**options: str) -> dict[str, Any]:
    return {"slurm": {**SITE["slurm"], **options}}  # type: ignore[dict-item]


SETUPS = {
    "token that others can read": Broken(
        "token", "can be read by others", "run: chmod 600", token=readable_by_others
    ),
    "token that has ended": Broken("token", "expired 1 d", "support@osg-htc.org", token=ended),
    "token for something else": Broken(
        "token",
        "does not allow ADVERTISE_STARTD and ADVERTISE_MASTER",
        "condor_token_fetch -lifetime",
        site={"token": "~/.condor/tokens.d/ap"},
    ),
    "no image": Broken(
        "image", "does not exist", "apptainer pull", site={"image": "/opt/sif/nowhere.sif"}
    ),
    "an image that is none": Broken(
        "image", "is not an image of Apptainer", "apptainer pull", site={"image": "/etc/hosts"}
    ),
    "a partition that is not there": Broken(
        "limits",
        "`slurm.partition` is nowhere: there is no such partition",
        "known: compute, short",
        site=slurm(partition="nowhere"),
    ),
    "a walltime above the limit": Broken(
        "limits",
        "`pilot.walltime_min` is 60: the limit of partition short is 10 minutes",
        "write 10 or less",
        site=slurm(partition="short"),
    ),
    "a pilot larger than any node": Broken(
        "limits",
        "its largest node has 4000 MB of memory",
        "write 4000 or less",
        site={"pilot": {**SITE["pilot"], "memory_mb": 9000}},  # type: ignore[dict-item]
    ),
    "a project with forbidden characters": Broken(
        "project", "'a b' cannot be used", "choose one of letters, digits", project="a b"
    ),
    "an access point with a wrong name": Broken(
        "access-point",
        "knows no access point `nobody`",
        "it knows ap.localpool",
        site={"access_point": {"schedd": "nobody"}},
    ),
    "no access point here": Broken(
        "access-point",
        "access point, `ping`",
        "`condor_q` has to work here",
        env={
            "_CONDOR_SCHEDD_ADDRESS_FILE": "/nowhere",
            "_CONDOR_SCHEDD_DAEMON_AD_FILE": "/nowhere",
            "_CONDOR_COLLECTOR_HOST": "127.0.0.1:1",
        },
    ),
    "a central manager that is not reached": Broken(
        "node-pool",
        "cannot reach ap.localpool:9",
        "let compute nodes connect out",
        site={"central_manager": "ap.localpool:9"},
        probe=True,
        also=("pool",),
    ),
    "an image that nodes cannot fetch": Broken(
        "node-image",
        "docker://ap.localpool:9/pilot on n",
        "`apptainer exec IMAGE true` has to work on the node",
        site={"image": "docker://ap.localpool:9/pilot"},
        probe=True,
    ),
    "scratch that cannot be written on the node": Broken(
        "node-scratch",
        "/root cannot be written on n",
        "a folder on the node's own disk as `scratch`",
        site={"scratch": "/root"},
        probe=True,
    ),
    "no apptainer on the node": Broken(
        "node-apptainer",
        "neither apptainer nor singularity on n",
        "module load apptainer",
        site={"setup": ["mkdir tools; ln -s /usr/bin/* tools; rm tools/{apptainer,singularity}",
                        "PATH=$PWD/tools"]},
        probe=True,
    ),
    "no user namespaces on the node": Broken(
        "node-namespaces",
        "user namespaces are off on n",
        "sysctl user.max_user_namespaces",
        site={"setup": [NO_NAMESPACES]},
        probe=True,
        also=("node-image",),
    ),
}  # fmt: skip
HEALTHY = Broken("", "", "", probe=True)


def doctor(folder: Path, *options: str) -> list[str]:
    return [OSGPILOT, "doctor", "--site", str(folder / "site.yaml"), "--dir", str(folder), *options]


def examine(setup: Broken, folder: Path) -> tuple[int, list[dict[str, str]]]:
    content = {**SITE, **setup.site}
    if setup.token:
        content["token"] = str(folder / "token")
        setup.token(folder / "token")
    (folder / "site.yaml").write_text(yaml.safe_dump(content))
    options = ["--json", "--project", setup.project]
    if not setup.probe:
        quick = sorted(NAMES - LATE | {setup.check})
        options += [word for name in quick for word in ("--only", name)]
    env, argv = os.environ | setup.env, doctor(folder, *options)
    done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=env)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


@pytest.fixture(scope="module")
def examined(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], tuple[int, list[dict[str, str]]]]]:
    """Examine all set-ups, some at a time; give what was found in the one of a name."""
    found: dict[str, Future[tuple[int, list[dict[str, str]]]]] = {}
    with ThreadPoolExecutor(3) as several:
        for name, setup in {"healthy": HEALTHY, **SETUPS}.items():
            folder = tmp_path_factory.mktemp("setup")
            found[name] = several.submit(examine, setup, folder)
        yield lambda name: found[name].result()
    left = [line for line in pilots_in_slurm() if "doctor" in line]
    assert not [line for line in left if "PENDING" in line or "RUNNING" in line]


def test_where_there_is_no_problem_all_is_ok(examined):
    status, found = examined("healthy")
    assert [each for each in found if each["verdict"] != "ok"] == []
    assert status == 0
    said = {each["name"] for each in found}
    assert said >= {"limits", "access-point", "pool", "node-image", "node-ports", "node-clock"}


@pytest.mark.parametrize("name", SETUPS)
def test_it_finds(name, examined):
    setup = SETUPS[name]
    status, found = examined(name)
    assert status == 1
    failed = {each["name"]: each for each in found if each["verdict"] == "failed"}
    assert failed.keys() == {setup.check, *setup.also}, found
    assert setup.says in failed[setup.check]["what"]
    assert setup.fix in failed[setup.check]["fix"]
    assert "eyJ" not in str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(SITE | {"project": "TestProject"}))
    return tmp_path


def probes() -> list[str]:
    return [line for line in pilots_in_slurm() if "osgpilot-doctor" in line]


def test_a_probe_that_does_not_start_is_cancelled_and_the_reason_reported(full_cluster, folder):
    argv = doctor(folder, "--only", "node", "--probe-wait", "1")
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0
    assert "not tested node: the probe in compute did not start (Resources)" in done.stdout
    assert "--probe-wait" in done.stdout
    until(lambda: not probes(), "the end of the probe", 60)
    assert sorted(path.name for path in folder.iterdir()) == ["site.yaml"]


@pytest.fixture
def images(trusted: Trusted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve what the OSG's image server has; give the lines that lead a container's curl there."""
    files = tmp_path_factory.mktemp("images")
    listed = files / "v2" / os.uname().machine / "htc__rocky__9"
    listed.mkdir(parents=True)
    (listed / "latest.txt").write_text("v1.sif\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=files)
    server = http.server.ThreadingHTTPServer(("", 0), handler)
    server.socket = trusted.context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        place = f"{socket.getfqdn()}:{server.server_port}"
        Path(folder, ".curlrc").write_text(f'connect-to = "::{place}"\n')
        yield f"export APPTAINER_BIND={folder} APPTAINERENV_CURL_HOME={folder}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("leads_there", "verdict"), [(True, "ok"), (False, "failed")])
def test_it_fetches_from_a_node_what_pilots_of_the_ospool_fetch(
    images, folder, leads_there, verdict
):
    site = {**SITE, "setup": [images] * leads_there}
    del site["central_manager"]
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    argv = doctor(folder, "--only", "node", "--json", "--project", "TestProject")
    done = subprocess.run(argv, capture_output=True, text=True, cwd=folder)
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["node-fetches"]["verdict"] == verdict, found
    assert "htc__rocky__9/latest.txt" in found["node-fetches"]["what"]
    assert found["node-fetches"]["what"].startswith("n")


def test_a_probe_is_cancelled_when_doctor_is_ended(full_cluster, folder):
    process = subprocess.Popen(doctor(folder, "--only", "node"), stdout=subprocess.DEVNULL)
    until(lambda: "PENDING" in str(probes()), "a probe in the queue")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 130
    until(lambda: not probes(), "the end of the probe", 60)
    assert sorted(path.name for path in folder.iterdir()) == ["site.yaml"]


def test_wrong_usage_has_a_status_of_its_own(folder):
    done = subprocess.run(doctor(folder, "--only", "nothing"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no such check; known: versions, site-file" in done.stderr
