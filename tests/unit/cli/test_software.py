"""`osgpilot software` shows and removes the images that runs have made."""

import json
import os

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.runtime_image import conda
from snakemake_executor_plugin_osgpilot.runtime_image.conda import Environment


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path))
    folder = tmp_path / "environments"
    folder.mkdir()
    return folder


def call(*arguments, status=0):
    done = CliRunner().invoke(main, ["software", *arguments])
    assert done.exit_code == status, done.output
    return done.output


def image(folder, name, environment, base=""):
    (folder / f"{name}.sif").write_bytes(bytes(3 << 20))
    noted = {"environments": [environment], "base": base}
    (folder / f"{name}.json").write_text(json.dumps(noted))


def environment(name):
    made = Environment("k", f"/w/{name}", f"envs/{name}.yaml", "", ("samtools",), (), 5 << 20)
    return json.loads(json.dumps(vars(made)))


def test_images_are_listed_with_what_is_in_them(cache):
    assert call("list") == "no image has been made yet\n"
    image(cache, "conda-1", environment("one"))
    image(cache, "conda-2", environment("two"), base="/images/tools.sif")
    (cache / "python-3.sif").touch()
    os.utime(cache / "conda-2.sif", (0, 0))
    lines = call("list").splitlines()
    (last,) = (line for line in lines if "conda-2" in line)
    assert {"envs/two.yaml", "/images/tools.sif", "3"} <= set(last.split())
    (first,) = (line for line in lines if "conda-1" in line)
    assert lines.index(first) < lines.index(last)
    assert "Python of Snakemake" in "".join(line for line in lines if "python-3" in line)
    listed = json.loads(call("list", "--json"))
    assert [each["bytes"] for each in listed if each["environments"]] == [3 << 20] * 2


def test_one_image_is_shown_by_the_beginning_of_its_name(cache):
    image(cache, "conda-1", environment("one"))
    said = call("show", "conda-")
    assert "envs/one.yaml: 5 MB, made for /w/one\n    programs: samtools" in said
    image(cache, "conda-2", environment("two"))
    assert "several images have a name that begins with conda-" in call("show", "conda-", status=1)
    assert "no image has a name" in call("show", "x", status=1)


def test_an_image_that_was_pushed_is_shown_with_its_url(cache, tmp_path):
    image(cache, "conda-1", environment("one"))
    (tmp_path / "put").write_text("#!/bin/sh\n")
    (tmp_path / "put").chmod(0o755)
    put = f"{tmp_path}/put {{file}} {{url}}"
    said = call("push", "conda-1", "osdf:///mine", "--with", put)
    url = "osdf:///mine/conda-1.sif"
    assert said == f"pilots fetch conda-1 from {url} in later runs (3 MB)\n"
    assert f"pilots fetch it from {url}\n" in call("show", "conda-1")
    assert json.loads(call("list", "--json"))[0]["url"] == url
    assert {"from", url} <= set(call("list").split())
    assert call("forget", "conda-1") == "conda-1 is sent from here\n"
    assert call("forget", "conda-1") == "conda-1 was not pushed anywhere\n"
    assert "fetched from" not in call("list")
    assert "HTCondor cannot fetch" in call("push", "conda-1", "ftp://h/x", status=1)


def test_pruning_keeps_what_was_used_lately(cache):
    image(cache, "conda-1", environment("one"))
    image(cache, "conda-2", environment("two"))
    os.utime(cache / "conda-2.sif", (0, 0))
    said = call("prune")
    assert "removed conda-2: envs/two.yaml\nremoved 1 image, freed 3 MB" in said
    assert sorted(path.name for path in cache.glob("conda-*")) == ["conda-1.json", "conda-1.sif"]
    assert "removed 1 image" in call("prune", "--days", "0")
    assert "removed 0 images" in call("prune", "--days", "0")
    assert conda.found("k") is None
