"""Settings that are given as environment variables count for the run, and reach no job."""

import json
from pathlib import Path

SNAKEFILE = """
rule all:
    input: "alone", "by_body"

rule alone:
    output: "alone"
    shell: "env > {output}; cat /proc/$PPID/cmdline >> {output}"

rule by_body:
    output: "by_body"
    resources: mem_mb=900
    run:
        import os, pathlib
        lines = [f"{name}={value}" for name, value in os.environ.items()]
        lines.append(pathlib.Path("/proc/self/cmdline").read_text())
        pathlib.Path(output[0]).write_text("\\n".join(lines))
"""


def test_variables_are_settings_of_the_run_and_unknown_to_its_jobs(workflow, monkeypatch):
    given = {
        "PROJECT": "TestProject", "MAX_PILOTS": "1", "COST_WEIGHT": "0.25",
        "RUNTIME_IMAGE": "/opt/sif/runtime.sif", "URL_SCHEMES": "osdf,https",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"SNAKEMAKE_OSGPILOT_{name}", value)
    workflow.snakefile(SNAKEFILE)
    assert workflow.run(project=None) == 0, workflow.said

    (history,) = (workflow.folder / ".snakemake/osgpilot").glob("*/history.jsonl")
    life = json.loads(history.read_text().splitlines()[0])
    policy = life["policy"]
    assert life["project"] == "TestProject"
    assert (policy["pilots_max"], policy["cost_weight"]) == (1, 0.25)
    for name in ("alone", "by_body"):
        seen = (workflow.folder / name).read_text()
        assert "_CONDOR_SCRATCH_DIR=" in seen
        assert "SNAKEMAKE_OSGPILOT" not in seen
        assert "--osgpilot" not in seen
    assert "SNAKEMAKE_OSGPILOT" not in written(workflow.folder)


def written(folder: Path) -> str:
    """Return everything that the run wrote for its jobs and pilots."""
    files = (path for path in (folder / ".snakemake/osgpilot").rglob("*") if path.is_file())
    return "".join(path.read_text(errors="replace") for path in files)
