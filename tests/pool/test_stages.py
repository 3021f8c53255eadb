"""A stage is there when it is finished, and only then."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.common.cache_folder import key_of
from snakemake_executor_plugin_osgpilot.local_pool.stages import Stage, Store

STAGE = Stage("tree", "0123")


def fill(folder: Path) -> None:
    (folder / "file").write_text("whole")


def break_off(folder: Path) -> None:
    (folder / "file").write_text("ha")
    raise KeyboardInterrupt


def test_an_interrupted_stage_is_not_taken_for_a_finished_one(tmp_path: Path):
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.make(STAGE, break_off)
    assert not store.has(STAGE)
    assert store.make(STAGE, fill)
    assert (store.path(STAGE) / "file").read_text() == "whole"


def test_a_finished_stage_is_not_made_again(tmp_path: Path):
    store = Store(tmp_path)
    assert store.make(STAGE, fill)
    assert not store.make(STAGE, break_off)


def test_nothing_is_published_before_the_first_build(tmp_path: Path):
    assert Store(tmp_path).published() is None


def test_collecting_removes_outdated_and_broken_stages_only(tmp_path: Path):
    store, old = Store(tmp_path), Stage("tree", "old")
    store.make(STAGE, fill)
    store.make(old, fill)
    with pytest.raises(KeyboardInterrupt):
        store.make(Stage("tree", "broken"), break_off)
    store.publish({"host": STAGE})
    store.collect({store.path(STAGE)})
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [STAGE.folder]
    assert store.published() == {"host": store.path(STAGE)}


def test_a_key_changes_with_the_content_of_files(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    before = key_of(tmp_path, ["x"])
    assert key_of(tmp_path, ["x"]) == before
    assert key_of(tmp_path, ["y"]) != before
    (tmp_path / "a").write_text("2")
    assert key_of(tmp_path, ["x"]) != before
