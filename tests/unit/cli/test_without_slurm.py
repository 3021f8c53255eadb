"""Where a Slurm command is missing, all commands say so in the same words, and what to do."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main

ANSWERS = (
    "--site", "Mine", "--resource", "Mine-Slurm", "--project", "MyProject", "--token", "token",
    "--image", "image.sif", "--out", "new.yaml",
)  # fmt: skip
SITE = """\
site: Mine
resource: Mine-Slurm
project: MyProject
token: token
image: image.sif
partitions:
  - {name: compute, cores: 4, memory_mb: 4000, walltime_max_min: 60}
"""
SLURM = ("sbatch", "squeue", "scancel", "scontrol", "sacctmgr")


@pytest.fixture
def without_slurm(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for tool in Path(folder).glob("*"):
            if tool.name not in SLURM and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.chdir(tmp_path)
    Path("site.yaml").write_text(SITE)
    return lambda *words: " ".join(CliRunner().invoke(main, words).output.split())


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("site", "check"), "sbatch"),
        (("site", "init", *ANSWERS), "scontrol"),
        (("doctor", "--only", "slurm", "--no-probe"), "sbatch"),
    ],
    ids=["site check", "site init", "doctor"],
)
def test_a_missing_slurm_command_is_named_and_where_to_run_instead(words, missing, without_slurm):
    said = without_slurm(*words)
    assert f"`{missing}` was not found; run this where Slurm's commands work, or name " in said
