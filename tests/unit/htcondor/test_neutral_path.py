"""HTCondor gets a path that it reads unchanged, whatever the working folder is called."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.neutral_path import link, neutral, unlink
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import is_plain


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "osgpilot" / "runs"


def run_in(folder):
    folder.mkdir(parents=True)
    return folder


def test_a_plain_folder_needs_no_link(tmp_path, state):
    folder = run_in(tmp_path / "project 1" / "r1")
    link(folder)
    assert neutral(folder) == folder
    assert not state.exists()


@pytest.mark.parametrize("name", ["it's (ä)", 'a"b', "$(HOME)", "a\\b", "a[1]", "a\nb", "a;b#c"])
def test_any_other_folder_is_reached_by_a_link_until_the_run_ends(tmp_path, state, name):
    folder = run_in(tmp_path / name / "r1")
    (folder / "file").write_text("here")
    link(folder)
    link(folder)
    assert is_plain(neutral(folder))
    assert (neutral(folder) / "file").read_text() == "here"
    assert state.stat().st_mode & 0o77 == 0
    unlink(folder)
    assert not list(state.iterdir())
    assert (folder / "file").exists()


def test_folders_of_one_name_have_links_of_their_own(tmp_path, state):
    folders = [run_in(tmp_path / name / "r1") for name in ("ä", "ö")]
    for folder in folders:
        link(folder)
    assert [neutral(folder).resolve() for folder in folders] == folders


def test_a_link_that_leads_elsewhere_is_replaced_and_no_folder_is(tmp_path, state):
    folder = run_in(tmp_path / "ä" / "r1")
    state.mkdir(parents=True)
    neutral(folder).symlink_to(tmp_path)
    link(folder)
    assert neutral(folder).resolve() == folder
    neutral(folder).unlink()
    neutral(folder).mkdir()
    with pytest.raises(InputError, match=r"cannot be made .*: set XDG_STATE_HOME"):
        link(folder)
    unlink(folder)
    assert neutral(folder).is_dir()


def test_a_state_folder_that_is_as_odd_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "ü"))
    with pytest.raises(InputError, match="set XDG_STATE_HOME to a folder"):
        neutral(Path("/ä/r1"))
