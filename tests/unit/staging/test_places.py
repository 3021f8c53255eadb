"""Paths of this machine in a job: where they lie there, and how its scripts name them."""

import os
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.staging import path_rewriting
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import Disk, PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import ROOT_MARK
from snakemake_executor_plugin_osgpilot.staging.places import (
    SYSTEM,
    is_of_system,
    is_outside,
    passes,
    place_of,
    problem_of,
    source_of,
)

WORK = Path("/home/u/work")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a/b", "a/b"),
        ("/home/u/work/a/b", "a/b"),
        ("../work/a", "a"),
        ("../ref/g.fa", "osgpilot-root/home/u/ref/g.fa"),
        ("/data/g.fa", "osgpilot-root/data/g.fa"),
        ("/home/u/work2/a", "osgpilot-root/home/u/work2/a"),
        ("/data/../x", "osgpilot-root/x"),
    ],
)
def test_each_file_has_one_place_in_a_job(path, place):
    assert place_of(path, WORK) == place
    assert is_outside(place) == place.startswith("osgpilot-root")
    here = source_of(place, WORK)
    assert place_of(str(here), WORK) == place


def test_folders_that_a_path_goes_through_are_known():
    assert list(passes("/a/b/../c/../d")) == ["/a/b", "/a/b/../c"]
    assert list(passes("../../a/./b")) == list(passes("a/b")) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("osgpilot-root/etc/passwd", "has the name of a folder of osgpilot's"),
        ("./osgpilot-root/x", "has the name of a folder of osgpilot's"),
        ("..", "is the working folder or a folder around it"),
        (".", ""),
        ("a/b", ""),
        ("/elsewhere/x", ""),
    ],
)
def test_paths_that_no_job_can_have_are_named(tmp_path, monkeypatch, path, problem):
    monkeypatch.chdir(tmp_path)
    found = problem_of(path, tmp_path)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_a_way_up_from_a_link_is_refused(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "work" / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path / "work")
    assert f"write {tmp_path}/far/x" in problem_of("link/../x", tmp_path / "work")
    assert problem_of("../far/x", tmp_path / "work") == ""


def test_the_wrapper_makes_nothing_in_folders_of_the_system():
    text = files(path_rewriting.__package__).joinpath("wrapper.sh").read_text()
    listed = re.findall(r"^ +((?:/[a-z0-9]+(?: \| )?)+)\) continue ;;$", text, re.MULTILINE)
    assert {name.lstrip("/") for line in listed for name in line.split(" | ")} == SYSTEM
    assert is_of_system("/usr/share/x")
    assert is_of_system("/")
    assert not is_of_system("/data/usr")


@pytest.fixture
def here(tmp_path):
    names = ("workflow/scripts/tool.py", "workflow/scripts/helpers.py", "workflow/rules/more.smk")
    for name in (*names, "data file", "run.sh", ".env", "workflow/scripts/.hidden", "table.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def marked(here, command, **given):
    command = command.replace("WORK", str(here)).replace("COPY", f"/cache/run/file{here}")
    settings = {"folders": (str(here), "/data/genomes"), "files": ("/usr/dict",)}
    settings |= {"sources": (str(here),)} | given
    text, sent = PathRewriter(here, "/cache/run", **settings).rewritten(command)
    names = tuple(place_of(path, here) for path in sent)
    return text.replace(str(here), "WORK").replace(ROOT_MARK, "@"), names


TOOL = ("workflow/scripts/tool.py", "workflow/scripts/helpers.py")


@pytest.mark.parametrize(
    ("command", "text", "sent"),
    [
        ("WORK/workflow/scripts/tool.py x", "@WORK/workflow/scripts/tool.py x", TOOL),
        ("cd 'WORK'; ls WORK/", "cd '@WORK'; ls @WORK/", ()),
        ("PYTHONPATH=WORK/workflow:/x", "PYTHONPATH=@WORK/workflow:/x", ()),
        ("COPY/workflow/rules/../scripts/tool.py", "@WORK/workflow/rules/../scripts/tool.py", TOOL),
        ("WORK2/workflow WORK-old /xWORK a.WORK", "WORK2/workflow WORK-old /xWORK a.WORK", ()),
        ("WORK/made", "@WORK/made", ()),
        ("'WORK'/run.sh", "'@WORK'/run.sh", ("run.sh",)),
        ("bwa /data/genomes/hg38 /data/genomes2", "bwa @/data/genomes/hg38 /data/genomes2", ()),
        ("/usr/dict /usr/dict/x /usr/dict2", "@/usr/dict /usr/dict/x /usr/dict2", ()),
        ("/bin/true", "/bin/true", ()),
        ("python workflow/scripts/tool.py", "python workflow/scripts/tool.py", TOOL),
        ("./run.sh < table.tsv", "./run.sh < table.tsv", ("run.sh", "table.tsv")),
        ("cat .env WORK/.env", "cat .env @WORK/.env", ()),
        ("cat workflow/scripts/.hidden", "cat workflow/scripts/.hidden", ()),
    ],
)  # fmt: skip
def test_paths_are_marked_and_files_that_commands_name_are_sent(here, command, text, sent):
    found, files_sent = marked(here, command)
    assert found == text
    assert set(files_sent) == set(sent)


@pytest.mark.parametrize("name", ["it's (ä)", 'a "b" $c', "a\\b", "a[1]*"])
@pytest.mark.parametrize("spell", [str, shlex.quote, lambda path: f'"{path}"'])
def test_odd_working_folders_are_found_however_they_are_quoted(tmp_path, name, spell):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "x.txt").touch()
    command = f"cat {spell(f'{folder}/x.txt')} > y"
    text, sent = PathRewriter(folder, "/c", (str(folder),), sources=(str(folder),)).rewritten(
        command
    )
    assert text.replace(ROOT_MARK, "") == command
    assert text.count(ROOT_MARK) == 1
    assert sent == (f"{folder}/x.txt",)


def test_a_value_that_is_a_path_may_have_any_characters(here):
    paths = PathRewriter(here, "/cache/run", (str(here),), sources=(str(here),))
    assert paths.value(f"{here}/data file") == (
        f"{ROOT_MARK}{here}/data file",
        (f"{here}/data file",),
    )
    assert paths.value(f"/cache/run/file{here}/x") == (f"{ROOT_MARK}{here}/x", ())
    assert paths.value(f"a {here}/x") == (f"a {ROOT_MARK}{here}/x", ())
    assert paths.value("table.tsv") == ("table.tsv", (f"{here}/table.tsv",))


def test_without_folders_only_files_are_marked(tmp_path):
    paths = PathRewriter(tmp_path, "/c", files=("/usr/dict",))
    assert paths.rewritten("cat /usr/dict /data/x")[0] == f"cat {ROOT_MARK}/usr/dict /data/x"
    assert PathRewriter(tmp_path, "/c").rewritten("cat /data/x") == ("cat /data/x", ())


def test_what_the_job_declares_is_not_sent_twice(here):
    known = frozenset([str(here / "workflow/scripts/tool.py"), str(here / "table.tsv")])
    assert marked(here, "WORK/workflow/scripts/tool.py table.tsv", known=known)[1] == ()


def test_nothing_is_sent_that_an_earlier_job_may_have_named(here):
    assert marked(here, "./run.sh WORK/table.tsv", sources=())[1] == ()


def test_a_folder_of_data_does_not_travel_with_a_script(here, monkeypatch):
    monkeypatch.setattr(path_rewriting, "BESIDE_MAX", 1)
    assert marked(here, "python workflow/scripts/tool.py")[1] == ("workflow/scripts/tool.py",)


def test_absolute_paths_that_nothing_declares_are_remembered(here, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "x"
    other.touch()
    text = f"cat {other} {here}/made /usr/bin/env /nowhere/x {other.parent}*"
    marker = PathRewriter(here, "/c", (str(here),))
    assert marker.unknown(marker.rewritten(text)[0]) == (str(other), str(other.parent))
    assert PathRewriter(here, "/c", shared=(str(other.parent),)).unknown(str(other)) == ()


def test_each_place_on_the_disk_is_looked_up_once_until_it_is_forgotten(here, monkeypatch):
    (here / "other").mkdir()
    looks = []
    isfile, walk = os.path.isfile, os.walk
    monkeypatch.setattr(os.path, "isfile", lambda path: looks.append(path) or isfile(path))
    monkeypatch.setattr(os, "walk", lambda folder: looks.append(folder) or walk(folder))
    disk = Disk()

    def sent(known=()):
        paths = PathRewriter(here, "/c", (str(here),), sources=(str(here),), disk=disk)
        return paths.rewritten("python workflow/scripts/tool.py late.txt")[1]

    first = sent()
    assert str(here / "workflow/scripts/tool.py") in first
    after = len(looks)
    (here / "late.txt").touch()
    assert sent() == first
    assert len(looks) == after
    disk.forget()
    assert sent() == (*first, str(here / "late.txt"))
