"""The command of a rule, as Snakemake itself would run it."""

from types import SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.direct import _command
from snakemake_executor_plugin_osgpilot.staging.payload import (
    Payload,
    needed_from_outside,
    stays_within,
)


class File(str):
    def __new__(cls, path, *flags):
        made = super().__new__(cls, path)
        made.flags = dict.fromkeys(flags, True)
        return made


def job(command="", outputs=(), **module_globals):
    return SimpleNamespace(
        rule=SimpleNamespace(name="r", shellcmd=command, module_globals=module_globals),
        input=InputFiles(fromdict={"first": "in put"}),
        output=list(outputs) or OutputFiles(toclone=["a", "b"]),
        params=Params(fromdict={"k": [1, "x y"]}),
        wildcards=Wildcards(fromdict={"w": "v"}),
        log=Log(toclone=["log"]),
        threads=2,
        jobid=7,
        is_group=lambda: False,
    )


def command(text, **module_globals):
    return _command(job(text, **module_globals), ResourceList(fromdict={"mem_mb": 5}))


def test_a_command_can_use_values_of_its_job():
    text = "{input.first:q} {output} {params.k[1]} {wildcards.w} {log} {threads} {resources.mem_mb}"
    assert command(text + " {rule} {jobid} {{x}}") == "'in put' a b x y v log 2 5 r 7 {x}"


def test_a_command_can_use_names_of_its_own_snakefile():
    names = {"config": {"who": "module"}, "name": "mine", "string": "s", "job": "j", "input": "no"}
    text = "{config[who]} {name} {string} {job} {input}"
    assert command(text, **names) == "module mine s j in put"


def test_an_unknown_name_is_reported_with_its_rule():
    with pytest.raises(InputError, match=r"rule r: its command cannot be formatted: .*'nobody'"):
        command("{nobody}")


def test_an_existing_update_output_is_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    updating = job(outputs=[File("log.txt", "update"), File("new")])
    assert needed_from_outside(updating) == ["in put"]
    (tmp_path / "log.txt").touch()
    (tmp_path / "new").touch()
    assert needed_from_outside(updating) == ["in put", "log.txt"]


@pytest.mark.parametrize("flag", ["temp", "pipe", "service"])
def test_files_used_only_within_a_group_do_not_return(flag):
    group = SimpleNamespace(is_group=lambda: True, output=["kept"])
    assert stays_within(group, File("x", flag))
    assert not stays_within(group, File("kept", flag))
    assert not stays_within(group, File("x"))


def test_files_get_their_places_in_the_job_and_impossible_ones_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = (str(tmp_path / "data/x"), "data/x", "../y", "z")
    more = {"folders": ("/out/z", "/shared/z"), "shared_prefixes": ("/shared",)}
    placed = Payload((), "bash", files, (), (), **more).placed(job())
    assert placed.inputs == ("data/x", f"osgpilot-root{tmp_path.parent}/y", "z")
    assert placed.folders == ("osgpilot-root/out/z", "/shared/z")
    with pytest.raises(InputError, match=r"rule .*: \.\. is the working folder or a folder around"):
        Payload((), "bash", ("..",), (), ()).placed(job())
