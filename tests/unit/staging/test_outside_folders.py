"""Jobs with files outside of the working folder: their run by wrapper.sh, and the commit.

The wrapper runs without a container here, where nothing can be made outside of the job's folder.
"""

import os
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.io import AnnotatedString

from snakemake_executor_plugin_osgpilot.errors import InputError, OsgpilotError
from snakemake_executor_plugin_osgpilot.staging.outside_folders import OutsideFolders
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, ROOT_MARK, Payload
from snakemake_executor_plugin_osgpilot.staging.places import place_of
from snakemake_executor_plugin_osgpilot.staging.returned_files import JobFailedError

from .test_payload import Bench, job


@pytest.fixture(params=["packed", "linked"])
def bench(request, tmp_path):
    made = Bench(tmp_path / "a project (it's ä)")
    made.node = tmp_path / "node"
    (made.workdir / "in").mkdir()
    (made.workdir / "in" / "x").write_text("inside")
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "g.fa").write_text("genome")
    if request.param == "linked":
        (made.workdir / "in" / "large").write_bytes(b"x" * 100_000)
    return made


def outside(bench, command, inputs=(), outputs=(), **files):
    large = ["in/large"] if (bench.workdir / "in" / "large").exists() else []
    lists = {"inputs": [*inputs, *large], "outputs": outputs, **files}
    placed = {
        name: tuple(place_of(p, bench.workdir) for p in paths) for name, paths in lists.items()
    }
    return job(command, **placed)


def test_relative_paths_lead_to_what_they_lead_to_here(bench, tmp_path):
    ref, out = "../../ref/g.fa", "../../out/made.txt"
    command = f"cat in/x {ref} > {out}; (cd in; cat ../../../ref/g.fa) >> {out}; cp in/x in/y"
    payload = outside(bench, command, ["in/x", ref], [out, "in/y"], logs=["../run.log"])
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (tmp_path / "out" / "made.txt").read_text() == "insidegenomegenome"
    assert (bench.workdir / "in" / "y").read_text() == "inside"
    assert (bench.workdir.parent / "run.log").read_text() == ""


def test_absolute_paths_in_commands_lead_below_the_job_s_folder(bench, tmp_path):
    ref, out = tmp_path / "ref" / "g.fa", tmp_path / "out"
    command = (
        f"cat {ROOT_MARK}{ref} > '{ROOT_MARK}{out}/made'; cat '{ROOT_MARK}{bench.workdir}/in/x'"
    )
    command = command.replace("a project (it's ä)", "a project (it'\"'\"'s ä)")
    payload = outside(bench, command, ["in/x", str(ref)], [f"{out}/made"])
    assert bench.execute(payload) == 0
    assert (bench.job / "output").read_text() == "inside"
    assert not out.exists()
    bench.commit(payload)
    assert (out / "made").read_text() == "genome"


def test_the_place_that_stands_for_the_working_folder_has_a_plain_name(bench):
    payload = outside(bench, f"test {HERE}/in/x -ef in/x; echo {HERE}", ["in/x", "../x"])
    (bench.workdir.parent / "x").touch()
    assert bench.execute(payload) == 0
    assert " (" not in (bench.job / "output").read_text()


def test_unknown_paths_are_named_when_the_command_fails(bench):
    given = {"inputs": (), "outputs": (), "logs": ()}
    payload = Payload(("false",), "bash", **given, unknown=("/nowhere/x", "/usr"))
    assert bench.execute(payload) == 1
    said = (bench.job / "output").read_text()
    assert said.count("is not here: is it an input that the rule does not declare?") == 1
    assert "/nowhere/x" in said


@pytest.mark.parametrize(
    "command",
    [
        "echo bad > $STRAY",
        "echo bad > TOP/osgpilot-out/osgpilot-rootSTRAY",
        "printf '4\\0osgpilot-rootSTRAY\\0' >> TOP/osgpilot-out/.osgpilot-manifest",
        "ln -s STRAY TOP/osgpilot-out/osgpilot-rootSTRAY",
        "cd TOP; rm osgpilot-work; ln -s / osgpilot-work",
        "rm -r TOP/osgpilot-rootSTRAY/../out; ln -s STRAYs TOP/osgpilot-rootSTRAY/../out",
    ],
)
def test_a_job_changes_nothing_outside_that_it_did_not_declare(bench, tmp_path, command):
    """It writes beside, into and around the place of its one declared output."""
    stray, out = tmp_path / "stray", tmp_path / "out" / "made"
    (tmp_path / "strays").mkdir()
    top = bench.node
    text = command.replace("$STRAY", f"{top}/osgpilot-root{stray}").replace("STRAY", str(stray))
    prepared = (
        f"mkdir -p {top}/osgpilot-out/osgpilot-root{tmp_path}; echo ok > '{ROOT_MARK}{out}'; "
    )
    payload = outside(bench, prepared + text.replace("TOP", str(top)), outputs=[str(out)])
    before = tree(tmp_path)
    bench.execute(payload)
    with suppress(OsgpilotError):
        bench.commit(payload)
    after = tree(tmp_path)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed <= {out.parent, out}
    assert not out.exists() or out.read_text() == "ok\n"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../strays", "../work/.snakemake", "/"])
def test_an_output_outside_that_is_a_link_leads_nowhere_else(bench, tmp_path, target):
    out = tmp_path / "out" / "made"
    payload = outside(bench, f"ln -s {target} '{ROOT_MARK}{out}'", outputs=[str(out)])
    before = tree(tmp_path)
    assert bench.execute(payload) == 0
    with pytest.raises(
        JobFailedError, match=f"^{out} is a link .* no link of a job may lead there"
    ):
        bench.commit(payload)
    assert not os.path.lexists(out)
    assert {p: k for p, k in tree(tmp_path).items() if p != out.parent} == before


def test_links_to_inputs_and_outputs_outside_come_back(bench, tmp_path):
    ref, out = tmp_path / "ref" / "g.fa", tmp_path / "out"
    command = (
        f"cd '{ROOT_MARK}{out}'; echo x > a; ln -s a rel; ln -s $PWD/a abs; "
        f"ln -s {ROOT_MARK}{ref} named"
    )
    names = [f"{out}/{name}" for name in ("a", "rel", "abs", "named")]
    payload = outside(bench, command, [str(ref)], names)
    assert bench.execute(payload) == 0
    bench.commit(replace(payload, inputs=(str(ref),)))
    assert (out / "abs").readlink() == out / "a"
    assert (out / "named").readlink() == ref
    assert (out / "rel").readlink() == Path("a")


def tree(top):
    """Return the files below a folder, without the job's own."""
    own = ("node", ".snakemake")
    found = {}
    for path in sorted(top.rglob("*")):
        if not set(path.relative_to(top).parts) & set(own):
            found[path] = (
                path.readlink() if path.is_symlink() else path.is_dir() or path.read_bytes()
            )
    return found


def a_job(**wildcards):
    return SimpleNamespace(
        rule="r", wildcards_dict=wildcards, is_group=lambda: False,
        input=["/known/x"], output=[], log=[],
    )  # fmt: skip


def a_workflow(config=(), patterns=(), jobs=()):
    rule = SimpleNamespace(input=patterns, output=(), log=())
    return SimpleNamespace(
        globals={"config": config}, rules=[rule], dag=SimpleNamespace(jobs=list(jobs)),
        included=["/flow/rules/a.smk"],
        sourcecache=SimpleNamespace(cache_path="/cache", runtime_cache_path="/cache/runtime-1"),
    )  # fmt: skip


def source(path):
    copy = AnnotatedString(f"/cache/runtime-1/file{path}")
    copy.flags = {"sourcecache_entry": path}
    return copy


@pytest.mark.parametrize(
    ("wanted", "wildcard", "used"),
    [
        ("/flow/rules/../rules/x", "a", True),
        ("/flow/rules/.env", "a", False),
        ("/flow/x", "a", False),
        ("/flow/rules/x", "../x", False),
    ],
)
def test_a_source_of_the_workflow_is_used_whenever_its_job_comes_up(wanted, wildcard, used):
    folders = OutsideFolders(Path("/top/work"))
    folders.learn(a_workflow())
    given = a_job(n=wildcard)
    given.input = [source(wanted)]
    context = nullcontext() if used else pytest.raises(InputError, match="must not choose")
    with context:
        folders.check(given, [wanted])
    # outputs, and inputs that are named otherwise, have to be known
    given.input = [wanted]
    with pytest.raises(InputError, match="must not choose"):
        folders.check(given, [wanted])


def test_a_source_that_the_workflow_names_is_used_wherever_it_is():
    folders = OutsideFolders(Path("/top/work"))
    folders.learn(a_workflow(patterns=[source("/elsewhere/config/x")]))
    folders.check(a_job(), ["/elsewhere/config/x"])


@pytest.mark.parametrize(
    ("known", "path", "named"),
    [
        ({}, "inside/x", True),
        ({}, "/data/x", False),
        ({"config": {"ref": ["/data/g.fa"]}}, "/data/x", True),
        ({"config": {"ref": "/data/g.fa"}}, "/data2/x", False),
        ({"config": {"out": "/data"}}, "/data/new/x", True),
        ({"config": {"out": "/home/u"}}, "/home/u/.ssh/id", False),
        ({"config": {"out": "../all"}}, "/top/all/x", True),
        ({"patterns": ["/data/{n}.fa"]}, "/data/x", True),
        ({"patterns": ["/data/{n}.fa"]}, "/data/../etc/x", False),
        ({"patterns": ["data/{n}"]}, "data/../../x", False),
        ({"patterns": [lambda wildcards: "/data/x"]}, "/data/x", False),
        ({"jobs": [a_job()]}, "/known/later", True),
        ({"jobs": [a_job(n="../../known/x")]}, "/known/later", False),
    ],
)
def test_only_folders_that_the_user_named_are_used(known, path, named):
    folders = OutsideFolders(Path("/top/work"))
    folders.learn(a_workflow(**known))
    if named:
        folders.check(a_job(), [path])
    else:
        with pytest.raises(InputError, match=r"rule r: .* what jobs returned must not choose"):
            folders.check(a_job(n=path), [path])
