"""Returned content is data, never a place: jobs that try to make it one."""

import os
from pathlib import Path

import pytest
from conftest import Workflow
from test_trouble import errors

SECRET = "the token of a user\n"

HOSTILE = r"""
PLACE, SECRET = {place!r}, {secret!r}

rule all:
    input:
        "overwrites", "stolen", "zero", "fifo", "unreadable", "special", "logged", "loud", "good",
        "read_only"

# the returned content has a link to the secret, and is sent before the wrapper has seen an end
rule overwrites:
    output: "overwrites"
    shell:
        "echo ran >> {{PLACE}}/ran; echo mine > {{output}}; "
        "[ $(wc -l < {{PLACE}}/ran) = 2 ] || {{{{ cd osgpilot-out; rm -f .osgpilot-manifest; "
        "printf '%s\\0' {{output}} {{SECRET}} > osgpilot-links; "
        "printf '%s\\0' '>'{{SECRET}} {{output}} end > .osgpilot-manifest; "
        "kill -KILL $PPID; sleep 1; }}}}"

rule reaches:
    output: "reaches"
    shell: "ln -s {{SECRET}} {{output}}"

rule stolen:
    input: "reaches"
    output: "stolen"
    shell: "cp {{input}} {{output}}"

rule zero:
    output: "zero"
    params: to="/dev/zero"
    shell: {times}

rule fifo:
    output: "fifo"
    params: to=PLACE + "/fifo"
    shell: {times}

rule unreadable:
    output: "unreadable"
    shell: "touch {{output}}; chmod 000 {{output}}"

rule special:
    output: "special"
    shell: "mkfifo {{output}}"

rule logged:
    output: "logged"
    log: "logs"
    shell: "echo log > {{log}}; touch {{output}}"

rule loud:
    output: "loud"
    shell:
        "echo first; head -c 20000000 /dev/zero | tr '\\0' x >&2; echo; echo last; false"

rule read_only:
    output: directory("read_only")
    shell: "mkdir -p {{output}}/d; touch {{output}}/d/x; chmod 555 {{output}}/d {{output}}"

rule good:
    output: "good"
    shell: "touch {{output}}"
"""

TIMES = r"""
        "cd osgpilot-out; rm -f .osgpilot-times .osgpilot-manifest; "
        "printf '%s\\0' .osgpilot-times {params.to} > osgpilot-links; "
        "printf '%s\\0' '>'{params.to} .osgpilot-times failed > .osgpilot-manifest; exit 3"
"""


@pytest.fixture
def secret():
    """A file of the user's that nobody else may read."""
    path = Path.home() / ".osgpilot-secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    yield path
    path.unlink()


def test_a_hostile_job_changes_and_gets_nothing_but_its_own_outputs(
    workflow: Workflow, secret: Path, shared: Path
):
    os.mkfifo(shared / "fifo")
    workflow.snakefile(HOSTILE.format(place=str(shared), secret=str(secret), times=TIMES))
    (workflow.folder / "logs").mkdir()
    (workflow.folder / "logs/kept").write_text("of the user")
    before = secret.stat()
    options = ["--osgpilot-shared-prefixes", str(shared), "--osgpilot-max-pilots", "1"]
    assert workflow.run("--keep-going", *options) == 1
    print(workflow.said)
    assert secret.read_text() == SECRET
    after = secret.stat()
    assert (after.st_mode, after.st_ino, after.st_mtime_ns) == (
        before.st_mode,
        before.st_ino,
        before.st_mtime_ns,
    )
    assert (workflow.folder / "overwrites").read_text() == "mine\n"
    assert (shared / "ran").read_text() == "ran\nran\n"
    assert (workflow.folder / "logs/kept").read_text() == "of the user"
    assert (workflow.folder / "good").exists()
    assert (workflow.folder / "read_only/d/x").exists()
    reported = errors(workflow.said)
    assert set(reported) == {"reaches", "zero", "fifo", "unreadable", "special", "logged", "loud"}
    assert (
        f"reaches is a link to {secret}, and no link of a job may lead there" in reported["reaches"]
    )
    assert "exit status 3" in reported["zero"]
    assert "exit status 3" in reported["fifo"]
    assert "unreadable cannot be read (mode 000)" in reported["unreadable"]
    assert "special is neither a file nor a folder" in reported["special"]
    assert "its log logs is not put in place" in reported["logged"]
    assert "last" in reported["loud"]
    printed = workflow.folder.glob(".snakemake/osgpilot/*/jobs/*/output")
    assert 4e6 < max(path.stat().st_size for path in printed) < 4.5e6
    # HTCondor held none of them to try its transfer again
    assert "file transfer failed" not in workflow.said
