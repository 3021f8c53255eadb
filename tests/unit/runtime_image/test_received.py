"""An archive that a job sent is data: nothing of it leads to another place of this machine."""

import gzip
import io
import json
import os
import tarfile
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.errors import MissingPrerequisiteError
from snakemake_executor_plugin_osgpilot.runtime_image import conda, packing, received
from snakemake_executor_plugin_osgpilot.runtime_image.cached import prune
from snakemake_executor_plugin_osgpilot.runtime_image.packing import fill
from snakemake_executor_plugin_osgpilot.runtime_image.received import (
    DamagedArchiveError,
    unpack,
)

FILE, FOLDER, LINK, HARD, FIFO, DEVICE = (
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)  # fmt: skip

WHOLE = [("./", FOLDER, ""), ("./conda-meta/", FOLDER, ""), ("./conda-meta/history", FILE, "")]


@pytest.fixture
def archive(tmp_path):
    """Returns an archive with members: name, type, and content or target."""

    def write(*members, mode=0o755):
        file = tmp_path / "environment.tar.gz"
        with tarfile.open(file, "w:gz") as made:
            for name, kind, what in members:
                member = tarfile.TarInfo(name)
                member.type, member.mode = kind, mode
                if kind in (LINK, HARD):
                    member.linkname = what
                member.size = len(what) if kind == FILE else 0
                made.addfile(member, io.BytesIO(what.encode()) if kind == FILE else None)
        return file

    return write


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(conda, "minimal", lambda: {"/base": b"x"})
    return tmp_path / "cache" / "environments"


def test_files_are_written_and_links_are_only_listed(archive, tmp_path):
    file = archive(
        *WHOLE,
        ("./bin/tool", FILE, "text"),
        ("./bin/again", HARD, "./bin/tool"),
        ("./bin/python", LINK, "tool"),
        ("./lib/outside", LINK, "/etc/passwd"),
    )
    links = unpack(file, tmp_path / "to")
    assert links == {"bin/python": "tool", "lib/outside": "/etc/passwd"}
    written = {str(p.relative_to(tmp_path / "to")) for p in (tmp_path / "to").rglob("*")}
    assert written == {"bin", "bin/tool", "bin/again", "conda-meta", "conda-meta/history"}
    assert (tmp_path / "to/bin/again").read_text() == "text"


def test_special_bits_and_owners_are_not_taken_over(archive, tmp_path):
    unpack(archive(*WHOLE, ("x", FILE, ""), mode=0o7777), tmp_path / "to")
    assert (tmp_path / "to/x").stat().st_mode & 0o7777 == 0o755


HOSTILE = {
    "absolute": [("/tmp/evil", FILE, "")],
    "above": [("../evil", FILE, "")],
    "above, later": [("a/../../evil", FILE, "")],
    "through a link": [("a", LINK, "{outside}"), ("a/evil", FILE, "")],
    "through a link that comes later": [("a/evil", FILE, ""), ("a", LINK, "{outside}")],
    "a link through a link": [("a", LINK, "{outside}"), ("a/evil", LINK, "x")],
    "a link far through a link": [("a", LINK, "{outside}"), ("a/b/c/evil", LINK, "x")],
    "a folder through a link": [("a", LINK, "{outside}"), ("a/evil/", FOLDER, "")],
    "a file in a file": [("a", FILE, ""), ("a/evil", FILE, "")],
    "a file twice": [("a", FILE, ""), ("a", FILE, "")],
    "a link on a file": [("a", FILE, ""), ("a", LINK, "x")],
    "a link in a file": [("a", FILE, ""), ("a/b/c", LINK, "x")],
    "a hard link outside": [("a", HARD, "{outside}/secret")],
    "a hard link above": [("a", HARD, "../outside/secret")],
    "a hard link to a link": [("l", LINK, "{outside}/secret"), ("a", HARD, "l")],
    "a pipe": [("a", FIFO, "")],
    "a device": [("a", DEVICE, "")],
    "a link to nothing": [("a", LINK, "")],
    "too deep": [("a/" * 300 + "evil", FILE, "")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_outside_is_refused(archive, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    members = [(n, kind, what.format(outside=outside)) for n, kind, what in HOSTILE[name]]
    with pytest.raises(DamagedArchiveError):
        unpack(archive(*WHOLE, *members), tmp_path / "to")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").stat().st_nlink == 1
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.9])
def test_a_part_of_an_archive_is_refused(archive, tmp_path, part):
    file = archive(*WHOLE, ("x", FILE, os.urandom(20_000).hex()))
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    with pytest.raises(DamagedArchiveError):
        unpack(file, tmp_path / "to")


def test_what_is_no_environment_is_refused(archive, tmp_path):
    with pytest.raises(DamagedArchiveError, match="no folder conda-meta"):
        unpack(archive(("x", FILE, "")), tmp_path / "to")


def test_a_file_larger_than_the_free_space_is_not_begun(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(received.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OSError, match="No space left"):
        unpack(archive(*WHOLE, ("x", FILE, "text" * 1000)), tmp_path / "to")
    assert not (tmp_path / "to/x").exists()


def test_a_header_that_announces_much_is_not_read(tmp_path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    file = tmp_path / "environment.tar.gz"
    with gzip.open(file, "wb") as written:
        written.write(header.tobuf(tarfile.USTAR_FORMAT) + b"x" * 1024)
    with pytest.raises(DamagedArchiveError, match="announces 4294967296 bytes"):
        unpack(file, tmp_path / "to")


def test_an_environment_that_came_back_is_packed_for_the_place_where_it_was_made(
    archive, cache, tmp_path, apptainer
):
    apptainer()
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"auths": "secret", "env_vars": {"TOKEN": "secret"}}))
    file = archive(
        *WHOLE,
        ("conda-meta/state", LINK, str(secret)),
        ("etc/conda/env_vars.d/own.json", FILE, '{"OWN": "1"}'),
        ("etc/conda/env_vars.d/other.json", LINK, str(secret)),
        ("bin/tool", FILE, ""),
        ("bin/python", LINK, "tool"),
        ("bin/stolen", LINK, str(secret)),
    )
    made = conda.received("k", file, "env.yaml")
    assert made == conda.found("k")
    assert made.prefix == conda.prefix_for("k")
    assert made.programs == ("python", "stolen", "tool")
    assert made.variables == (("OWN", "1"),), "no file of this machine was read"
    content = conda.contents_of(made, made.place)
    assert content[f"{made.place}/bin/stolen"] == str(secret), "the link, not its target"
    fill(tmp_path / "tree", content)
    assert (tmp_path / f"tree{made.place}/bin/python").readlink().name == "tool"

    packed = conda.make([made], "", lambda text: None, lambda each: each)
    assert packed.environment("k") == made
    # an environment is removed with its last image
    list(prune(3600))
    assert conda.found("k") == made
    assert made.folder.exists()
    list(prune(0))
    assert conda.found("k") is None
    assert not made.folder.exists()


def test_nothing_is_kept_of_what_cannot_be_used(archive, cache):
    with pytest.raises(MissingPrerequisiteError) as failed:
        conda.received("k", archive(("\x1b[31m\n/evil", FIFO, "")), "env.yaml")
    assert str(failed.value).startswith("what came back as the conda environment env.yaml cannot")
    assert not {"\n", "\x1b"} & set(str(failed.value))
    assert conda.found("k") is None
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_a_full_disk_is_named(archive, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conda, "unpack", full)
    with pytest.raises(MissingPrerequisiteError, match="there is no space left in"):
        conda.received("k", archive(*WHOLE), "env.yaml")
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert packing.images() == cache
