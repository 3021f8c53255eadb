"""Files in storage are fetched and stored by their plugin, without a Snakefile."""

import base64
import json
import logging
import os
import pickle
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles import InStorage
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

from snakemake_executor_plugin_osgpilot.staging import storage, storage_entry
from snakemake_executor_plugin_osgpilot.staging.storage import storage_script
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy

TRAFFIC = TransferPolicy(fetched_here=False, stored_here=False)


@pytest.fixture
def provider(tmp_path):
    plugin = StoragePluginRegistry().get_plugin("http")
    return plugin.storage_provider(
        logger=logging.getLogger(), local_prefix=tmp_path / "store", settings=plugin.settings_cls()
    )


@pytest.fixture(autouse=True)
def conditions(monkeypatch):
    monkeypatch.setattr(storage, "ensured_of", lambda job: ())


def job(provider, **files):
    for file in (file for given in files.values() for file in given):
        file.storage_object.provider = provider
    given = {"input": [], "output": [], "log": [], "benchmark": None, **files}
    return SimpleNamespace(rule="r", is_group=lambda: False, **given)


def script(job):
    return storage_script(job, {"KEY": "it's"}, TRAFFIC, packed=True)


def content_of(text: str, tmp_path: Path) -> dict:
    """Return what the script writes for the entry, which it starts by the name `python`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text('#!/bin/sh\necho "$KEY $4"\n')
    (tmp_path / "bin/python").chmod(0o755)
    text = text.replace("/osgpilot/env/bin", str(tmp_path / "bin"))
    done = subprocess.run(
        ["sh", "-c", text, "sh", "fetch"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "it's fetch\n"
    file = tmp_path / "osgpilot-storage"
    assert file.stat().st_mode & 0o077 == 0
    return json.loads(file.read_text())


def test_only_files_in_storage_are_listed_each_with_its_provider(provider, tmp_path):
    assert script(job(provider)) == ""
    given = InStorage("http://h/a b?x=1", path="store/a")
    made, log = InStorage("http://h/made", path="store/sub/made"), InStorage("l", path="store/l")
    text = script(job(provider, input=[given], output=[made], log=[log]))
    content = content_of(text, tmp_path)
    assert content["fetched"] == [[0, "http://h/a b?x=1", "store/a"]]
    assert content["stored"] == [[0, "http://h/made", "store/sub/made"]]
    assert content["logs"] == [[0, "l", "store/l"]]
    assert content["made"] == ["store/sub/made", "store/l"]
    (described,) = pickle.loads(base64.b64decode(content["providers"]))
    assert described["plugin"] == "http"
    assert described["settings"] == provider.settings


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """The entry in a folder, with a provider whose objects note what is asked of them."""
    monkeypatch.chdir(tmp_path)
    asked = []

    class Object(SimpleNamespace):
        def set_local_path(self, path):
            self.path = path

        async def managed_retrieve(self):
            asked.append(("fetched", self.query, str(self.path)))

        async def managed_exists(self):
            return self.query == "there"

        async def managed_store(self):
            asked.append(("stored", self.query, str(self.path)))

    plugin = SimpleNamespace(
        storage_provider=lambda **_: SimpleNamespace(get_storage_object_cls=lambda: Object)
    )
    registry = SimpleNamespace(get_plugin=lambda name: plugin)
    monkeypatch.setattr(storage_entry, "StoragePluginRegistry", lambda: registry)
    content = {
        "rule": "r",
        "providers": base64.b64encode(
            pickle.dumps([{"plugin": "x", "local_prefix": "store", "own": []}])
        ).decode(),
        "fetched": [(0, "in", "store/in")],
        "updated": [],
        "ensured": [],
        "stored": [(0, "out", "store/deep/out")],
        "logs": [(0, "log", "store/log")],
        "made": ["store/deep/out", "store/log"],
    }
    Path("file").write_text(json.dumps(content))
    return asked


def test_inputs_are_fetched_and_outputs_stored(entry):
    assert storage_entry.main("file", "fetch") == 0
    assert Path("store/deep").is_dir()
    Path("store/deep/out").touch()
    Path("store/log").touch()
    assert storage_entry.main("file", "store", "0") == 0
    assert entry == [
        ("fetched", "in", "store/in"),
        ("stored", "out", "store/deep/out"),
        ("stored", "log", "store/log"),
    ]


def change(**more):
    Path("file").write_text(json.dumps({**json.loads(Path("file").read_text()), **more}))


def test_an_output_to_update_is_fetched_if_it_is_there(entry):
    change(fetched=[], updated=[(0, "there", "store/u"), (0, "new", "store/n")])
    assert storage_entry.main("file", "fetch") == 0
    assert entry == [("fetched", "there", "store/u")]


@pytest.mark.parametrize(
    ("text", "condition", "said"),
    [
        ("", (True, "", ""), "Detected unexpected empty output files"),
        ("x", (False, "md5", "0" * 32), "checksums that differ"),
        ("x", (True, "md5", "9dd4e461268c8034f5c8564e155c67a6"), None),
    ],
)
def test_what_is_not_as_ensured_is_not_stored(entry, capsys, text, condition, said):
    change(ensured=[("store/deep/out", *condition)])
    storage_entry.main("file", "fetch")
    Path("store/deep/out").write_text(text)
    assert storage_entry.main("file", "store", "0") == (1 if said else 0)
    assert (said or "") in capsys.readouterr().err
    assert len(entry) == (1 if said else 2)


def test_of_a_failed_job_only_logs_are_stored(entry):
    storage_entry.main("file", "fetch")
    Path("store/deep/out").touch()
    Path("store/log").touch()
    assert storage_entry.main("file", "store", "1") == 0
    assert entry[1:] == [("stored", "log", "store/log")]


def test_a_missing_output_is_named_and_nothing_is_stored(entry, capsys):
    storage_entry.main("file", "fetch")
    assert storage_entry.main("file", "store", "0") == 1
    assert entry[1:] == []
    said = "osgpilot: rule r: the command succeeded but did not make store/deep/out\n"
    assert capsys.readouterr().err == said


@dataclass
class Settings:
    """As of a plugin that keeps what it fetched below the home folder."""

    cache: str = field(default_factory=lambda: os.environ["CACHE"])
    tries: int = 3


@pytest.mark.parametrize(("chosen", "there"), [(None, "/there"), ("/chosen", "/chosen")])
def test_a_default_folder_is_that_of_the_machine_on_which_the_plugin_runs(
    provider, tmp_path, monkeypatch, chosen, there
):
    monkeypatch.setenv("CACHE", "/here")
    provider.settings = Settings(chosen or "/here", tries=5)
    text = script(job(provider, input=[InStorage("http://h/a", path="store/a")]))
    described = pickle.loads(base64.b64decode(content_of(text, tmp_path)["providers"]))
    monkeypatch.setenv("CACHE", "/there")
    kept = []
    plugin = SimpleNamespace(
        storage_provider=lambda *, settings, **_: kept.append(settings) or provider
    )
    monkeypatch.setattr(storage_entry.StoragePluginRegistry, "get_plugin", lambda *_: plugin)
    next(storage_entry.objects(described, [(0, "http://h/a", "store/a")]))
    assert kept == [Settings(there, tries=5)]
