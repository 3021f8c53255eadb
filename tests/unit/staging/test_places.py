"""Rewriting paths of this machine in commands."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.staging.path_rewriting import PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import HERE


@pytest.fixture
def here(tmp_path):
    for name in ("workflow/scripts/tool.py", "workflow/rules/more.smk", "data file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def moved(here, command, *, shared=False):
    command = command.replace("WORK", str(here)).replace("COPY", f"/cache/run/file{here}")
    rewritten, files = PathRewriter(here, "/cache/run", shared).rewritten(command)
    return rewritten.replace(str(here), "WORK").replace(HERE, "THERE"), files


@pytest.mark.parametrize(
    ("command", "rewritten", "files"),
    [
        ("WORK/workflow/scripts/tool.py x", "THERE/workflow/scripts/tool.py x", ["tool.py"]),
        ("cd 'WORK'; ls WORK/", "cd 'THERE'; ls THERE", []),
        ("PYTHONPATH=WORK/workflow:/x", "PYTHONPATH=THERE/workflow:/x", []),
        ("COPY/workflow/rules/../scripts/tool.py", "THERE/workflow/scripts/tool.py", ["tool.py"]),
        ("WORK2/workflow WORK-old /xWORK a.WORK", "WORK2/workflow WORK-old /xWORK a.WORK", []),
        ("WORK/nowhere", "WORK/nowhere", []),
        ('cat "WORK/data file"', 'cat "WORK/data file"', []),
        ("/bin/true", "/bin/true", []),
    ],
)
def test_paths_below_the_working_folder_are_rewritten(here, command, rewritten, files):
    found, named = moved(here, command)
    assert (found, [Path(name).name for name in named]) == (rewritten, files)


def test_files_named_by_rewritten_paths_are_inputs(here):
    assert moved(here, "COPY/workflow/scripts/tool.py")[1] == ("workflow/scripts/tool.py",)


def test_a_shared_working_folder_is_not_rewritten(here):
    rewritten = moved(here, "COPY/workflow/scripts/tool.py WORK", shared=True)
    assert rewritten == ("WORK/workflow/scripts/tool.py WORK", ())
