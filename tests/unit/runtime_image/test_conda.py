"""Environments of conda are packed wholly, once for each content, and activated as by conda."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import MissingPrerequisiteError
from snakemake_executor_plugin_osgpilot.runtime_image import conda, packing
from snakemake_executor_plugin_osgpilot.runtime_image.cached import cached, prune
from snakemake_executor_plugin_osgpilot.runtime_image.conda import Environment, activation, entries
from snakemake_executor_plugin_osgpilot.runtime_image.packing import fill


@pytest.fixture
def prefix(tmp_path):
    """A folder with an environment."""
    folder = tmp_path / "envs" / "it's one"
    for name, text in {
        "bin/tool": "#!/bin/sh\n",
        "conda-meta/history": "",
        "conda-meta/state": json.dumps({"env_vars": {"BY_STATE": "a 'b' $c", "no name": "x"}}),
        "etc/conda/env_vars.d/pkg.json": json.dumps({"BY_PACKAGE": "1"}),
        "etc/conda/activate.d/b.sh": 'SEEN="$SEEN b $undefined"; export SEEN\n',
        "etc/conda/activate.d/a.sh": 'SEEN="a $BY_STATE"; export SEEN\n',
        "lib/libx.so.1": "x",
        "lib/x.a": "static",
        "pkgs/cached": "",
        "envs/other/file": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "var/empty").mkdir(parents=True)
    (folder / "lib/libx.so").symlink_to("libx.so.1")
    (folder / "lib/absolute").symlink_to(folder / "lib/libx.so.1")
    (tmp_path / "outside").write_text("outside")
    (folder / "lib/from_outside").symlink_to(tmp_path / "outside")
    (folder / "lib/folder").symlink_to("../var")
    (folder / "lib/dangling").symlink_to("nowhere")
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(conda, "minimal", lambda: {"/base": b"x"})
    return tmp_path / "cache" / "environments"


def never(environment):
    raise AssertionError(f"{environment.name} is there")


def test_all_of_an_environment_is_in_the_image(prefix, tmp_path):
    found = entries(prefix, "/osgpilot/conda/k")
    inside = {path.removeprefix("/osgpilot/conda/k"): what for path, what in found.items()}
    assert inside["/bin/tool"] == prefix / "bin/tool"
    assert (inside["/lib/libx.so"], inside["/lib/folder"]) == ("libx.so.1", "../var")
    assert inside["/lib/absolute"] == str(prefix / "lib/libx.so.1"), (
        "its prefix is a link in the image"
    )
    assert inside["/lib/from_outside"] == tmp_path / "outside"
    assert inside["/var/empty"] is None
    assert inside["/lib/x.a"] == prefix / "lib/x.a", "compilers in environments need these"
    assert inside["/lib/dangling"] == "nowhere"
    assert not [path for path in inside if path.startswith(("/pkgs", "/envs"))]


def test_everybody_can_read_what_is_packed_whatever_the_umask(prefix, tmp_path):
    (prefix / "bin/tool").chmod(0o700)
    old = os.umask(0o077)
    try:
        fill(tmp_path / "tree", entries(prefix, "/osgpilot/conda/k"))
    finally:
        os.umask(old)
    tree = tmp_path / "tree"
    folders = [Path(folder) for folder, _, _ in os.walk(tree)]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o755}
    tool = tree / "osgpilot/conda/k/bin/tool"
    assert tool.stat().st_mode & 0o777 == 0o755
    assert (prefix / "bin/tool").stat().st_mode & 0o777 == 0o700, "the user's own file is kept"
    assert (tree / "osgpilot/conda/k/var/empty").is_dir()


@pytest.mark.parametrize("link", ["absolute", "../../../absolute", "loop"])
def test_links_in_the_base_of_an_image_do_not_lead_out_of_it(tmp_path, link):
    tree = tmp_path / "tree"
    tree.mkdir()
    elsewhere = tmp_path / "absolute"
    elsewhere.mkdir()
    (tree / "opt").symlink_to(str(elsewhere) if link == "absolute" else link)
    (tree / "loop").symlink_to("loop")
    try:
        fill(tree, {"/opt/env": "/osgpilot/conda/k"}, bare=False)
    except OSError:
        assert link == "loop"
    assert list(elsewhere.iterdir()) == []


SHELLS = [shell for shell in ("bash", "dash", "sh") if os.path.exists(f"/bin/{shell}")]  # noqa: PTH110


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_finds_what_conda_would_have_activated(prefix, cache, shell):
    made = conda.seen("k", prefix, "env.yaml")
    assert (made.programs, conda.found("k")) == (("tool",), made)
    lines = activation(replace(made, key=""), "r")
    command = 'set -eu; command -v tool; echo "$SEEN|$BY_STATE|$BY_PACKAGE"'
    given = {"PATH": os.environ["PATH"], "R_LIBS": "x", "PYTHONPATH": "y"}
    script = f'{lines}{command}; echo "${{R_LIBS-}}${{PYTHONPATH-}}|$CONDA_PREFIX"'
    (prefix / "bin/tool").chmod(0o755)
    done = subprocess.run([shell, "-c", script], env=given, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"{prefix}/bin/tool",
        "a a 'b' $c b |a 'b' $c|1",
        f"|{prefix}",
    ], done.stderr
    kept = activation(replace(made, key=""), "r", unblock=True)
    done = subprocess.run(
        [shell, "-c", f'{kept}echo "$R_LIBS$PYTHONPATH"'], env=given, capture_output=True, text=True
    )
    assert done.stdout == "xy\n"


def test_a_folder_of_others_is_not_taken_for_the_environment(prefix):
    made = Environment("nowhere", str(prefix), "env.yaml")
    assert conda.is_hidden(made.prefix)
    done = subprocess.run(["sh", "-c", activation(made, "r")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not the environment of this job" in done.stderr


def test_an_environment_that_is_not_there_is_named_with_its_rule():
    made = Environment("", "/nowhere/it's", "env.yaml")
    done = subprocess.run(["sh", "-c", activation(made, "r")], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "osgpilot: rule r: /nowhere/it's, its environment of conda, is not here\n"
    )


def test_an_image_is_made_once_for_environments_and_base(prefix, cache, apptainer):
    calls, said = apptainer(), []
    made = conda.seen("k", prefix, "env.yaml")
    assert conda.find([made], "") is None
    packed = conda.make([made], "", said.append, never)
    assert conda.make([made], "", said.append, never) == packed == conda.find([made], "")
    assert (packed.environments, calls()) == ((made,), 1)
    assert [line.partition(" (")[0] for line in said] == ["packing the conda environment env.yaml"]
    other = conda.seen("l", prefix, "other.yaml")
    both = conda.make([other, made], "", said.append, never)
    assert both.path == conda.make([made, other], "", said.append, never).path != packed.path
    assert calls() == 2


def test_an_environment_that_was_removed_is_not_made_again_while_its_image_is_there(
    prefix, cache, apptainer, tmp_path
):
    calls = apptainer()
    made = conda.seen("k", prefix, "env.yaml")
    packed = conda.make([made], "", lambda text: None, never)
    moved = tmp_path / "elsewhere"
    prefix.rename(moved)
    assert conda.make([made], "", lambda text: None, never) == packed
    # without its image it is made again, wherever that is now
    packed.path.unlink()
    again = conda.make([made], "", lambda text: None, lambda _: conda.seen("k", moved, "env.yaml"))
    assert again.environment("k").prefix == str(moved)
    assert (again.path, calls()) == (packed.path, 2)


def test_an_image_about_which_nothing_is_known_is_made_again(prefix, cache, apptainer):
    calls = apptainer()
    made = conda.seen("k", prefix, "env.yaml")
    packed = conda.make([made], "", lambda text: None, never)
    packed.path.with_suffix(".json").write_text("{")
    assert conda.make([made], "", lambda text: None, never) == packed
    assert calls() == 2


def test_a_full_disk_while_apptainer_writes_is_named(prefix, cache, apptainer):
    apptainer("echo 'FATAL: write error: No space left on device' >&2; exit 1")
    made = conda.seen("k", prefix, "env.yaml")
    with pytest.raises(MissingPrerequisiteError, match="there is no space left in") as failed:
        conda.make([made], "", lambda text: None, never)
    assert "\n" not in str(failed.value)
    assert conda.find([made], "") is None
    assert not list(cache.glob(".part-*"))


def test_the_content_of_an_environment_that_users_change_is_seen(prefix):
    before = conda.fingerprint(prefix)
    (prefix / "lib/__pycache__").mkdir()
    (prefix / "lib/__pycache__/x.pyc").touch()
    assert conda.fingerprint(prefix) == before
    (prefix / "lib/more").write_text("more")
    assert conda.fingerprint(prefix) != before


def test_pruning_removes_what_nobody_used_and_forgets_environments_that_are_gone(
    prefix, cache, apptainer
):
    apptainer()
    made = conda.seen("k", prefix, "env.yaml")
    gone = replace(made, key="gone", prefix="/nowhere")
    packed = conda.make([made], "", lambda text: None, never)
    conda.make([gone], "", lambda text: None, lambda each: each)
    (cache / "environment-gone.json").write_text((cache / "environment-k.json").read_text())
    assert [each.content for each in cached()] == ["env.yaml", "env.yaml"]
    os.utime(packed.path, (0, 0))
    assert [each.path for each in prune(3600)] == [packed.path]
    assert [each.environments for each in cached()] == [(gone,)]
    assert conda.found("k") == made, "it is in its folder"
    list(prune(0))
    assert [path.name for path in cache.glob("*.sif")] == []
    assert packing.images() == cache
