"""Secrets of a workflow reach its jobs, and nobody else can read them on the way."""

import hashlib
from pathlib import Path

from conftest import Workflow, tool, until

RUNTIME = "/opt/sif/runtime.sif"
SECRET = "pr1vate-en0ugh"


def readable_by_others(folder: Path) -> list[Path]:
    """Files with a secret in them that others could open, were all folders open to them."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [
        path
        for path in files
        if path.stat().st_mode & 0o077 and SECRET.encode() in path.read_bytes()
    ]


def test_secrets_reach_jobs_and_nobody_else(workflow: Workflow, shared: Path, monkeypatch):
    monkeypatch.setenv("PRIVATE", SECRET)
    workflow.snakefile(f"""
envvars: "PRIVATE"

rule all:
    input: "direct", "snakemake"

rule direct:
    output: "direct"
    shell:
        "touch {shared}/direct; until [ -e {shared}/go ]; do sleep 0.2; done; "
        "printf %s \\"$PRIVATE\\" | md5sum > {{output}}"

rule snakemake:
    output: "snakemake"
    resources: osgpilot_payload="snakemake"
    shell:
        "touch {shared}/snakemake; until [ -e {shared}/go ]; do sleep 0.2; done; "
        "printf %s \\"$PRIVATE\\" | md5sum > {{output}}"
""")
    options = ["--osgpilot-runtime-image", RUNTIME, "--osgpilot-shared-prefixes", str(shared)]
    process = workflow.start(*options, "--printshellcmds", "--verbose")
    both = [shared / "direct", shared / "snakemake"]
    until(lambda: all(path.exists() for path in both), "both jobs", 100)
    seen = [
        tool("ps", "-ewwo", "args"),
        tool("condor_q", "-allusers", "-l"),
        *(path.read_text() for path in workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")),
    ]
    exposed = readable_by_others(workflow.folder)
    (shared / "go").touch()
    assert process.wait(100) == 0, workflow.said
    seen += [tool("condor_history", "-limit", "2", "-l"), workflow.said]

    assert all("osgpilot-job" in text for text in seen[:2])
    assert not exposed
    assert not readable_by_others(workflow.folder)
    for text in seen:
        assert SECRET not in text
    expected = hashlib.md5(SECRET.encode()).hexdigest()
    assert (workflow.folder / "direct").read_text().split()[0] == expected
    assert (workflow.folder / "snakemake").read_text().split()[0] == expected
