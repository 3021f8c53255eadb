"""Images that were pushed are fetched from there, as long as they are what was pushed."""

import http.server
import threading
from functools import partial

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.runtime_image import packing
from snakemake_executor_plugin_osgpilot.runtime_image.published import forget, push, target, url_of


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path))
    path = tmp_path / "environments/conda-1.sif"
    path.parent.mkdir()
    path.write_bytes(b"image of an environment")
    path.chmod(0o600)
    return path


@pytest.fixture
def served(tmp_path):
    """A folder and its URL on a web server."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def pushed(image, destination, url="", command=""):
    place = target(image, str(destination), url)
    push(image, str(destination), place, command)
    return place


def program(folder, monkeypatch, name, does):
    path = folder / "programs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


def test_an_image_is_copied_to_a_folder_that_is_served(image, served):
    folder, url = served
    assert url_of(image) == ""
    assert pushed(image, folder, f"{url}/") == f"{url}/conda-1.sif" == url_of(image)
    copy = folder / "conda-1.sif"
    assert copy.read_bytes() == image.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in folder.iterdir()] == ["conda-1.sif"]
    assert forget(image)
    assert not forget(image)
    assert url_of(image) == ""


def test_an_image_of_another_content_is_not_taken_for_the_pushed_one(image, served):
    pushed(image, *served)
    image.unlink()
    image.write_bytes(b"image that was made again")
    assert url_of(image) == ""


def test_what_lies_beside_an_image_elsewhere_is_no_note(image, served, tmp_path):
    pushed(image, *served)
    there = tmp_path / "w" / image.name
    there.parent.mkdir()
    # of the same content, even
    there.hardlink_to(image)
    there.with_suffix(".url").write_text(image.with_suffix(".url").read_text())
    assert url_of(image)
    assert not url_of(there)


def test_what_is_noted_of_an_image_goes_with_it(image, served):
    pushed(image, *served)
    image.with_suffix(".json").touch()
    packing.remove(image)
    assert list(image.parent.iterdir()) == []


def test_nothing_is_noted_unless_the_server_has_the_whole_image(image, served, tmp_path):
    folder, url = served
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(InputError, match=r"conda-1.sif cannot be fetched: HTTP Error 404"):
        pushed(image, elsewhere, url)
    (folder / "conda-1.sif").write_bytes(b"half")
    with pytest.raises(InputError, match="has 4 bytes, and the image 23: it is another file"):
        pushed(image, elsewhere, url)
    with pytest.raises(InputError, match=r"there is no folder .*/nowhere"):
        pushed(image, tmp_path / "nowhere", url)
    assert url_of(image) == ""


@pytest.mark.parametrize(
    ("destination", "name", "argv"),
    [
        ("oras://host/me/tools:1", "apptainer", "push {image} oras://host/me/tools:1"),
        ("osdf:///mine", "pelican", "object put {image} osdf:///mine/conda-1.sif"),
        ("osdf:///mine/x.sif", "pelican", "object put {image} osdf:///mine/x.sif"),
    ],
)
def test_the_program_for_a_scheme_writes_the_image(
    image, tmp_path, monkeypatch, destination, name, argv
):
    program(tmp_path, monkeypatch, name, f'echo "$*" > {tmp_path}/argv')
    assert pushed(image, destination) == url_of(image) == argv.split()[-1]
    assert (tmp_path / "argv").read_text() == argv.format(image=image) + "\n"
    program(tmp_path, monkeypatch, name, "echo no; echo luck >&2; exit 1")
    with pytest.raises(InputError, match=rf"{name} said: no luck"):
        pushed(image, destination)


def test_a_command_writes_to_any_other_url(image, served, tmp_path, monkeypatch):
    folder, url = served
    program(tmp_path, monkeypatch, "put", f'cp "$1" {folder}/ && echo "$2" > {tmp_path}/url')
    with pytest.raises(InputError, match=r"name a command that can \(--with\)"):
        pushed(image, url)
    assert pushed(image, url, command="put {file} '{url}'") == url_of(image)
    assert (tmp_path / "url").read_text() == f"{url}/conda-1.sif\n"
    # no shell reads it
    with pytest.raises(InputError, match="put2 is not on this machine"):
        pushed(image, url, command="put2 {file} {url}; touch /tmp/x")
    with pytest.raises(InputError, match=r"{file} and {url} among them"):
        pushed(image, url, command="put")


def test_an_image_may_be_fetched_by_another_url_than_it_was_written_to(
    image, tmp_path, monkeypatch
):
    program(tmp_path, monkeypatch, "pelican", f'echo "$4" > {tmp_path}/url')
    assert pushed(image, "pelican://origin/mine", "osdf:///mine") == "osdf:///mine/conda-1.sif"
    assert (tmp_path / "url").read_text() == "pelican://origin/mine/conda-1.sif\n"


def test_a_folder_of_an_ospool_access_point_has_its_url(image):
    place = target(image, "/ospool/ap20/data/me", "")
    assert place == "osdf:///ospool/ap20/data/me/conda-1.sif"
    with pytest.raises(InputError, match=r"--url"):
        target(image, "/home/me", "")


@pytest.mark.parametrize("url", ["https://me:secret@host/x", "https://host/x.sif?token=secret"])
def test_secrets_in_a_url_are_refused(image, url):
    with pytest.raises(InputError, match="would be seen in the queue"):
        target(image, "/w", url)
