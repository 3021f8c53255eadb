"""Container images: what HTCondor can fetch, what travels, what is read where it is."""

from pathlib import Path

import pytest
from doubles import messages

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.runtime_image import published
from snakemake_executor_plugin_osgpilot.staging.container_image import NO_IMAGE, Image, Images


@pytest.fixture
def said():
    return []


@pytest.fixture
def images(tmp_path, said):
    (tmp_path / "tools.sif").write_bytes(b"x" * 1024 * 1025)
    (tmp_path / "tools.img").write_bytes(b"x")
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "it's ä.sif").write_bytes(b"x")
    return Images(tmp_path, messages(said))


@pytest.mark.parametrize(
    "url",
    ["docker://a/b:1", "oras://h/a:1", "osdf:///ospool/x.sif", "https://h/x.sif", "s3://h/x.sif"],
)
def test_urls_are_left_to_htcondor(images, said, url):
    assert images.find(url) == Image(url)
    assert said == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("library://a/b", "cannot fetch the container image library://a/b; give a .sif"),
        ("https://h/x", "has to end in .sif"),
        ("no.sif", "no.sif does not exist"),
        ("tools.img", "has to be a folder or end in .sif"),
        ("a\n+Evil=1", "does not exist"),
        ("docker://a\n+Evil=1", "not allowed"),
        ("it's ä.sif", "not allowed"),
    ],
)
def test_images_that_htcondor_cannot_use_are_rejected(images, name, complaint):
    with pytest.raises(InputError, match=complaint):
        images.find(name)


def test_a_relative_image_is_found_and_logged_once(images, said, tmp_path):
    path = tmp_path / "tools.sif"
    for name in ("tools.sif", str(path), "tools.sif", f"file://{path}"):
        assert images.find(name) == Image(str(path), size_mb=2)
    assert said == [f"image {path} (2 MB) is sent with each job"]
    assert images.find("sandbox").name == str(tmp_path / "sandbox")
    assert images.find("") == NO_IMAGE


def test_an_image_of_any_name_is_reached_by_a_link(images, tmp_path):
    images.links = tmp_path / "links"
    link = Path(images.find("it's ä.sif").name)
    assert link.parent == images.links
    assert link.resolve() == tmp_path / "it's ä.sif"
    assert link.suffix == ".sif"


def test_the_transfer_method_of_an_image_is_logged(images, said):
    images.way = "once to each pilot"
    images.find("tools.sif")
    assert said[0].endswith("is sent once to each pilot")


def test_an_image_that_was_pushed_is_fetched_from_there(images, said, tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path))
    image = tmp_path / "environments/tools.sif"
    image.parent.mkdir()
    (tmp_path / "tools.sif").rename(image)
    url = "osdf:///mine/tools.sif"
    published.push(image, "osdf:///mine", url, "true {file} {url}")
    assert images.find(str(image)) == Image(url, size_mb=2)
    assert said == [f"image {image} (2 MB) is fetched by pilots from {url}"]
    shared = Images(tmp_path, messages(said), shared_prefixes=(str(tmp_path),))
    assert not shared.find(str(image)).transferred


def test_an_image_that_pilots_can_read_does_not_travel(images, said, tmp_path):
    images.shared_prefixes = (str(tmp_path),)
    assert images.find("tools.sif") == Image(str(tmp_path / "tools.sif"), transferred=False)
    assert said == [f"image {tmp_path / 'tools.sif'} is read where it is"]
    (tmp_path.parent / "out.sif").touch()
    assert images.find("../out.sif").transferred
    anywhere = "/cvmfs/singularity.opensciencegrid.org/htc/rocky:9"
    assert images.find(anywhere) == Image(anywhere, transferred=False)
