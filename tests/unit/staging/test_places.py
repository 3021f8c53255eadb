"""What a command says of places on this machine, and what it says where it runs."""

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
    told, files = PathRewriter(here, "/cache/run", shared).rewritten(command)
    return told.replace(str(here), "WORK").replace(HERE, "THERE"), files


@pytest.mark.parametrize(
    ("command", "told", "files"),
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
def test_a_place_below_the_working_folder_is_below_the_jobs_folder(here, command, told, files):
    found, named = moved(here, command)
    assert (found, [Path(name).name for name in named]) == (told, files)


def test_files_that_are_named_travel_by_their_place_below_the_working_folder(here):
    assert moved(here, "COPY/workflow/scripts/tool.py")[1] == ("workflow/scripts/tool.py",)


def test_a_working_folder_that_both_sides_see_stays_what_it_is(here):
    told = moved(here, "COPY/workflow/scripts/tool.py WORK", shared=True)
    assert told == ("WORK/workflow/scripts/tool.py WORK", ())
