"""No secret is visible to another user of the login host, or in any file that is written."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

USERS = ("alice", "bob")
SECRET = "pr1vate-en0ugh"
TOKEN = "/home/alice/osg-token/flock.opensciencegrid.org"
JOB = 'touch {name}; until [ -e go ]; do sleep 0.2; done; printf %s "$PRIVATE" | md5sum > {out}'
SNAKEFILE = f"""
envvars: "PRIVATE"

rule all:
    input: "direct", "body"

rule direct:
    output: "direct"
    shell: {JOB!r}

rule body:
    output: "body"
    run: shell({JOB!r})
"""
READABLE_AND_NEW = r"""
wanted=$(mktemp)
cat > "$wanted"
find / \( -path /proc -o -path /sys -o -path /dev -o -path "$wanted" \) -prune -o \
    -type f -newer /tmp/before -readable -print0 | xargs -0 grep -lsF -f "$wanted"
rm "$wanted"
"""
"""Prints the files that the user who runs it can read and that have a line of its input in them."""

LISTENERS = """
family() {
    local child
    echo "pid=$1,"
    for child in $(pgrep -P "$1"); do family "$child"; done
}
snakemake=$(pgrep -o -u alice -f 'python.* snakemake --executor') || echo no Snakemake
family "$snakemake" > /tmp/family
ss --no-header --listening --processes --tcp --udp | grep -F -f /tmp/family
"""


@pytest.fixture
def shared(pool: Pool) -> Iterator[str]:
    """A folder that jobs and this test see."""
    folder = "/home/alice/shared"
    pool.say("mkdir", folder)
    yield folder
    pool.say("rm", "-r", folder)


@pytest.fixture
def token(pool: Pool) -> str:
    return pool.say("cat", TOKEN)


@pytest.fixture
def running(pool: Pool, shared: str) -> Iterator["subprocess.Popen[str]"]:
    """A workflow with a secret, while a command and a body run."""
    text = SNAKEFILE.replace("{name}", f"{shared}/{{rule}}").replace("go ]", f"{shared}/go ]")
    (pool.work / "Snakefile").write_text(text.replace("{out}", "{output}"))
    (pool.work / "site.yaml").write_text(yaml.safe_dump(SITE))
    options = (
        *("--osgpilot-runtime-image", "/opt/sif/runtime.sif"),
        *("--osgpilot-shared-prefixes", shared, "--printshellcmds", "--verbose"),
    )
    pool.say("touch", "/tmp/before")
    with (pool.work / "said").open("w") as said:
        workflow = subprocess.Popen(
            pool.argv("bash", "-s", folder=pool.work),
            stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    assert workflow.stdin is not None
    workflow.stdin.write(f"export PRIVATE={SECRET}\nexec {' '.join((*SNAKEMAKE, *options))}\n")
    workflow.stdin.close()
    both = ("test", "-e", f"{shared}/direct", "-a", "-e", f"{shared}/body")
    until(lambda: pool.run(*both).returncode == 0, 100, "both jobs")
    yield workflow
    pool.run("touch", f"{shared}/go")
    workflow.wait(PATIENCE_S)


def artefacts(pool: Pool) -> Iterator[tuple[str, str]]:
    """Return the answers that others can get, with their source."""
    for host in ("login", "ap"):
        yield f"ps on {host}", pool.say("ps", "-ewwo", "args", host=host, user="root")
    yield "Slurm", pool.say("scontrol", "show", "job", "--details")
    for allocation in pool.say("squeue", "--noheader", "--format=%A").split():
        yield "batch script", pool.say("scontrol", "write", "batch_script", allocation, "-")
    yield "job ads", pool.say("condor_q", "-allusers", "-l")
    yield "slot ads", pool.say("condor_status", "-l", host="ap")


def holders(folder: Path, secret: str) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_secrets_reach_jobs_and_nobody_else(pool: Pool, running, shared: str, token: str):
    for where, text in artefacts(pool):
        assert SECRET not in text, where
        assert token not in text, where
    environments = pool.say(
        "bash", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'", user="root"
    )
    assert SECRET in environments
    assert token not in environments
    assert not holders(pool.work, token)
    assert all(not path.stat().st_mode & 0o077 for path in holders(pool.work, SECRET))
    wanted = f"{SECRET}\n{token}\n"
    by = {u: pool.run("bash", "-c", READABLE_AND_NEW, user=u, stdin=wanted) for u in USERS}
    assert "osgpilot-job" in by["alice"].stdout
    assert by["bob"].stdout == ""
    assert pool.run("bash", "-c", LISTENERS, user="root").stdout == ""

    assert "enied" in pool.run("scancel", "--user=alice", user="bob").stderr
    job = pool.say("condor_q", "-allusers", "-af", "ClusterId").split()[0]
    assert pool.run("condor_rm", job, user="bob").returncode != 0

    pool.say("touch", f"{shared}/go")
    assert running.wait(PATIENCE_S) == 0, (pool.work / "said").read_text()
    reported = pool.say("condor_history", "-limit", "2", "-l") + (pool.work / "said").read_text()
    assert SECRET not in reported
    assert token not in reported
    assert all(not path.stat().st_mode & 0o077 for path in holders(pool.work, SECRET))
    expected = hashlib.md5(SECRET.encode()).hexdigest()
    for output in ("direct", "body"):
        assert (pool.work / output).read_text().split()[0] == expected
