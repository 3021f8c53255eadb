"""What a job sends back is data, never a place: jobs that try to make it one, and odd ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow, nothing_left
from test_trouble import errors

SECRET = "the token of a user\n"

HOSTILE = r"""
PLACE, SECRET = {place!r}, {secret!r}

rule all:
    input: "overwrites", "stolen", "zero", "fifo", "unreadable", "special", "logged", "loud", "good"

# what is sent back names the secret as a link, and is sent before the wrapper has seen an end
rule overwrites:
    output: "overwrites"
    shell:
        "echo ran >> {{PLACE}}/ran; echo mine > {{output}}; [ $(wc -l < {{PLACE}}/ran) = 2 ] || {{{{ "
        "rm osgpilot-out/.osgpilot-manifest; cd osgpilot-out; "
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

rule good:
    output: "good"
    shell: "touch {{output}}"
"""

TIMES = r"""
        "cd osgpilot-out; rm .osgpilot-times; printf '%s\\0' .osgpilot-times {params.to} > osgpilot-links; "
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
    options = ["--keep-going", "--osgpilot-max-pilots", "1"]
    status = workflow.run(*options, "--osgpilot-shared-prefixes", str(shared))
    print(workflow.said)
    assert status == 1
    assert secret.read_text() == SECRET
    assert secret.stat() == before
    assert (workflow.folder / "overwrites").read_text() == "mine\n"
    assert (shared / "ran").read_text() == "ran\nran\n"
    told = errors(workflow.said)
    assert set(told) == {"reaches", "zero", "fifo", "unreadable", "special", "logged", "loud"}
