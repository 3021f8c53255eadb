"""Results for Snakemake's cache between workflows."""

import asyncio
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.staging import output_cache

WORKFLOW = SimpleNamespace(workflow_settings=SimpleNamespace(cache=[]))


class Cache:
    """Snakemake's cache of a rule; notes what it is given."""

    output = True

    def __init__(self):
        self.stored = []

    async def store(self, job):
        self.stored += job.output


def job(cache, *output):
    rule = SimpleNamespace(cache=cache)
    return SimpleNamespace(rule=rule, name="r", output=output, group=None, is_group=lambda: False)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("key")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("made")
    return tmp_path


def store(cache, *output):
    asyncio.run(output_cache.store(job(cache, *output), WORKFLOW))
    return cache.stored


def test_files_and_folders_are_stored(here):
    assert store(Cache(), "folder") == ["folder"]


def test_what_a_link_leads_to_is_not_opened_to_others_by_the_cache(here, caplog):
    (here / "link").symlink_to("secret")
    (here / "folder/deep").symlink_to("../secret")
    assert store(Cache(), "folder/file", "link") == []
    assert store(Cache(), "folder") == []
    assert "r: folder/deep is a link, so its outputs are not cached" in caplog.text
