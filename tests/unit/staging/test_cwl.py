"""A `cwl:` becomes a call of cwltool with the values and places of the job."""

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.staging import cwl
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, ROOT_MARK

JOB = SimpleNamespace(rule=SimpleNamespace(name="r"))


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    folder = tmp_path / "it's ä"
    (folder / "tools").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def lines(workdir: Path, monkeypatch, url: str, inputs: dict):
    monkeypatch.setattr(cwl, "cwl_call", lambda job, resources: (url, json.dumps(inputs)))
    here = str(workdir)
    paths = PathRewriter(workdir, "/copies", folders=(here,), sources=(here,))
    return cwl.cwl_lines(JOB, {}, paths, "tools.sif")


def test_paths_are_those_of_the_job(workdir, monkeypatch):
    (workdir / "tools/a b.cwl").touch()
    (workdir / "tools/part.cwl").touch()
    inputs = {"text": {"path": f"{workdir}/in", "class": "File"}, "n": [1, "x"], "out": "out"}
    url = f"file:{workdir}/tools/a b.cwl".replace(" ", "%20")
    made = lines(workdir, monkeypatch, url, inputs)
    found = re.search(r"; cwltool '?(\S+?)'? (\S+)$", made.command)
    assert found[1].startswith(f"file://{ROOT_MARK}{workdir.parent}")
    assert found[1].endswith("/it%27s%20%C3%A4/tools/a%20b.cwl")
    assert found[2].startswith(f"{HERE}/")
    assert {Path(path).name for path in made.files} == {"a b.cwl", "part.cwl"}
    subprocess.run(["sh", "-c", made.write], check=True)
    [file] = Path(".snakemake/scripts").iterdir()
    assert json.loads(file.read_text()) == {
        "text": {"path": f"{ROOT_MARK}{workdir}/in", "class": "File"}, "n": [1, "x"], "out": "out"
    }  # fmt: skip


def test_a_missing_cwltool_is_named_with_rule_and_image(workdir, monkeypatch):
    made = lines(workdir, monkeypatch, "https://h/tool.cwl", {})
    done = subprocess.run(
        ["/bin/sh", "-c", made.command], env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert done.returncode == 127
    said = "osgpilot: rule r: its image tools.sif has no cwltool; name an image that has it\n"
    assert done.stderr == said
