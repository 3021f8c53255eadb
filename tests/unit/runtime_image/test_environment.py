"""The Python environment of Snakemake is packed once for each content, wholly or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.errors import (
    MissingPrerequisiteError,
    NoApptainerError,
)
from snakemake_executor_plugin_osgpilot.runtime_image import environment, packing
from snakemake_executor_plugin_osgpilot.runtime_image.environment import (
    BASE,
    ENVIRONMENT,
    Python,
    contents,
    make,
)
from snakemake_executor_plugin_osgpilot.runtime_image.packing import UNUSED_DAYS, fill


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "contents", lambda python: {"/data": b"x"})
    return tmp_path / "cache" / "environments"


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_an_environment_is_packed_once_for_each_content(cache, apptainer, monkeypatch):
    calls, said = apptainer(), []
    image = make(said.append)
    assert (image, make(said.append)) == (image, image)
    assert (calls(), len(said), left(cache)) == (1, 1, [image.name])
    assert image.stat().st_mode & 0o777 == 0o600
    assert "MB) for rules that need it where they run, once" in said[0]

    installed = [*environment.distributions()]
    changed = SimpleNamespace(read_text=lambda name: "another record", metadata={"Name": "x"})
    monkeypatch.setattr(environment, "distributions", lambda: [*installed, changed])
    assert make(said.append) != image
    assert calls() == 2


def test_processes_that_need_it_at_once_pack_it_once(cache, apptainer):
    calls = apptainer()
    with ThreadPoolExecutor() as pool:
        assert len(set(pool.map(lambda _: make(lambda text: None), range(4)))) == 1
    assert calls() == 1


@pytest.mark.parametrize(
    "then", ["echo 'FATAL: no space left on device' >&2; exit 1", "kill -9 $$"]
)
def test_a_failed_build_leaves_nothing_and_is_tried_again(cache, apptainer, then):
    apptainer(f'touch "$5"; {then}')
    with pytest.raises(MissingPrerequisiteError, match="cannot be packed by Apptainer") as failed:
        make(lambda text: None)
    assert "\n" not in str(failed.value)
    assert left(cache) == []
    apptainer()
    made = make(lambda text: None)
    assert left(cache) == [made.name]


def test_what_a_killed_process_left_is_not_used_but_removed(cache, apptainer, tmp_path):
    apptainer(f'touch "$5" {tmp_path}/begun; exec sleep 600')
    code = (
        "from snakemake_executor_plugin_osgpilot.runtime_image import environment\n"
        "environment.contents = lambda python: {'/data': b'x'}\n"
        "environment.make(print)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [name[:6] for name in left(cache)] == [".part-"]
    apptainer()
    made = make(lambda text: None)
    assert left(cache) == [made.name]


@pytest.mark.parametrize("where", ["before", "while"])
def test_a_full_disk_is_named_and_nothing_is_left(cache, apptainer, monkeypatch, where):
    calls = apptainer("true")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "before":
        large = cache.parent.parent / "large"
        large.write_bytes(bytes(2 << 20))
        monkeypatch.setattr(environment, "contents", lambda python: {"/x": large})
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    else:
        monkeypatch.setattr(packing, "fill", full)
    with pytest.raises(MissingPrerequisiteError, match=r"no space left in .*: free some, or set"):
        make(lambda text: None)
    assert left(cache) == []
    with pytest.raises(FileNotFoundError):
        calls()


def test_images_that_nobody_uses_any_more_are_removed(cache, apptainer):
    apptainer()
    cache.mkdir(parents=True)
    for name, days in (("used", UNUSED_DAYS - 1), ("unused", UNUSED_DAYS + 1)):
        image = cache / f"python-{name}.sif"
        image.touch()
        os.utime(image, (0, time.time() - days * 86400))
    made = make(lambda text: None)
    assert left(cache) == sorted(["python-used.sif", made.name])
    os.utime(made, (0, 0))
    make(lambda text: None)
    assert time.time() - made.stat().st_mtime < 3600, "now it is used"


def test_a_machine_without_apptainer_gets_advice(cache, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(NoApptainerError, match="--osgpilot-runtime-image") as refused:
        make(lambda text: None)
    assert "\n" not in str(refused.value)
    assert left(cache) == []


@pytest.fixture
def venv(tmp_path):
    """A venv with a script, a module and what does not belong into the image."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "bin" / "tool").write_text(f"#!{folder}/bin/python\nprint('{folder}/bin/')\n")
    (folder / "pkgs").mkdir()
    (folder / "pkgs" / "cached").touch()
    (folder / "bin" / "dangling").symlink_to("nowhere")
    here = Python.of_this_process()
    return replace(here, prefix=folder, sites=())


def test_an_environment_is_complete_at_its_place(venv, tmp_path):
    found = contents(venv)
    tool = found[f"{ENVIRONMENT}/bin/tool"].decode()
    assert tool == f"#!{ENVIRONMENT}/bin/python\nprint('{ENVIRONMENT}/bin/')\n"
    assert f"home = {BASE}/bin\n".encode() in found[f"{ENVIRONMENT}/pyvenv.cfg"]
    links = {found[f"{ENVIRONMENT}/bin/{name}"] for name in ("python", "python3")}
    assert links <= {
        "python",
        "python3",
        f"{BASE}/bin/{venv.executable.name}",
        venv.executable.name,
    }
    assert not [path for path in found if "/pkgs/" in path or "dangling" in path]
    assert not [path for path in found if "/site-packages/" in path and path.startswith(BASE)]
    assert str(venv.prefix) not in found, "a container hides what lies below /tmp"
    assert any(path.endswith("/libc.so.6") for path in found)
    assert {"/usr/bin/bash", "/usr/bin/awk", "/usr/bin/sed", "/usr/bin/env"} <= set(found)

    fill(tmp_path / "tree", found)
    interpreter = f"{tmp_path}/tree{BASE}/bin/{venv.executable.name}"
    code = "import sys, ssl, sqlite3, zlib; print(sys.prefix, ssl.__file__)"
    done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    places = done.stdout.split()
    assert all(place.startswith(f"{tmp_path}/tree{BASE}") for place in places)


def test_places_of_this_machine_lead_into_the_environment(venv):
    elsewhere = replace(venv, prefix=Path("/home/me/venv"), base=Path("/opt/python"))
    assert environment._aliases(elsewhere) == {
        "/home/me/venv": ENVIRONMENT,
        "/opt/python": BASE,
    }
    system = replace(venv, prefix=Path("/usr"), base=Path("/usr"))
    assert (environment._aliases(system), system.is_own, system.has_base) == ({}, False, True)


def test_an_environment_of_conda_is_its_own_base(tmp_path):
    prefix = tmp_path / "conda"
    for name in ("bin/python3.11", "envs/other/file", "conda-meta/x.json", "lib/libz.so.1"):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).touch()
    (prefix / "bin" / "python").symlink_to("python3.11")
    conda = Python(prefix, prefix, prefix / "bin/python3.11", (prefix / "lib/python3.11",), ())
    found = environment._tree(prefix, ENVIRONMENT, {"envs", "pkgs"}, conda)
    assert sorted(found) == sorted(
        f"{ENVIRONMENT}/{name}"
        for name in ("bin/python", "bin/python3.11", "conda-meta/x.json", "lib/libz.so.1")
    )
    assert found[f"{ENVIRONMENT}/bin/python"] == "python3.11"
    assert not conda.has_base
