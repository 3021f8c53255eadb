"""The command of a rule, as Snakemake itself would run it."""

import tempfile
from types import SimpleNamespace

import pytest
from snakemake.common.tbdstring import TBDString
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards
from snakemake.resources import Resource

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.direct import command_of, resources_there
from snakemake_executor_plugin_osgpilot.staging.payload import (
    TMPDIR,
    Payload,
    members,
    needed_from_outside,
)
from snakemake_executor_plugin_osgpilot.staging.steps import internal


class File(str):
    def __new__(cls, path, *flags):
        made = super().__new__(cls, path)
        made.flags = dict.fromkeys(flags, True)
        return made


def run_func(command, module_globals):
    """The function into which Snakemake compiles a `shell:`."""
    text = (
        "def made(input, output, params, wildcards, threads, resources, log, rule, conda_env, "
        "container_img, singularity_args, use_singularity, env_modules, bench_record, jobid, "
        "is_shell, bench_iteration, cleanup_scripts, shadow_dir, edit_notebook, conda_base_path, "
        "basedir, sourcecache_path, runtime_sourcecache_path, runtime_paths, marker=True):\n"
        f"    shell({command}, bench_record=bench_record, bench_iteration=bench_iteration)\n"
    )
    exec(text, module_globals)
    return module_globals["made"]


def job(command="''", outputs=(), **module_globals):
    return SimpleNamespace(
        rule=SimpleNamespace(name="r", run_func=run_func(command, module_globals)),
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
    return command_of(job(repr(text), **module_globals), ResourceList(fromdict={"mem_mb": 5}))


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


def test_an_f_string_is_evaluated_when_the_job_runs():
    """Here `n` is what the loop over rules left behind."""
    made = job("f'{output[1]} {n} {{threads}} {wildcards.w}'", n="last")
    assert command_of(made, ResourceList()) == "b last 2 v"


def test_the_iteration_of_a_benchmark_is_a_name():
    made = job(repr("{bench_iteration}"))
    assert command_of(made, ResourceList()) == "None"
    assert command_of(made, ResourceList(), 2) == "2"


def test_files_used_only_within_a_group_do_not_return():
    """Snakemake knows which temporary files are needed elsewhere."""
    files = {name: File(name, *flags) for name, flags in {
        "used_up": ["temp"], "needed": ["temp"], "stream": ["pipe"], "port": ["service"], "kept": []
    }.items()}  # fmt: skip
    dag = SimpleNamespace(get_unneeded_temp_files=lambda _: [files["used_up"]])
    member = SimpleNamespace(output=list(files.values()))
    group = SimpleNamespace(is_group=lambda: True, jobs=[member], dag=dag)
    assert internal(group) == {"used_up", "stream", "port"}
    assert internal(SimpleNamespace(is_group=lambda: False)) == frozenset()


def test_members_of_a_group_come_in_the_same_order_in_every_session():
    """A job's file is compared with that of an earlier session: with another one it runs again."""

    def member(rule, **wildcards):
        return SimpleNamespace(rule=rule, wildcards_dict=wildcards)

    first, level = member("z"), [member("b", n="1"), member("a", n="2"), member("a", n="1")]
    for theirs in (level, level[::-1]):
        group = SimpleNamespace(is_group=lambda: True, toposorted=[[first], theirs])
        assert members(group) == [first, level[2], level[1], level[0]]


def test_files_get_their_places_in_the_job_and_impossible_ones_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = (str(tmp_path / "data/x"), "data/x", "../y", "z")
    more = {"folders": ("/out/z", "/shared/z"), "shared_prefixes": ("/shared",)}
    placed = Payload((), "bash", files, (), (), **more).placed(job())
    assert placed.inputs == ("data/x", f"osgpilot-root{tmp_path.parent}/y", "z")
    assert placed.folders == ("osgpilot-root/out/z", "/shared/z")
    with pytest.raises(InputError, match=r"rule .*: \.\. is the working folder or a folder around"):
        Payload((), "bash", ("..",), (), ()).placed(job())


def test_resources_have_the_same_order_in_every_session():
    """A job's file is compared with that of an earlier session: with another one it runs again."""
    tmpdir = Resource("tmpdir", lambda: "/tmp", raw="system_tmpdir")
    rule = SimpleNamespace(resources={"tmpdir": tmpdir}, shellcmd=None)
    given = {"mem_mb": 500, "_cores": 1, "disk_mb": 100, "tmpdir": "/tmp"}
    orders = (given, dict(reversed(given.items())))
    jobs = [SimpleNamespace(rule=rule, resources=ResourceList(fromdict=order)) for order in orders]
    first, other = (list(resources_there(each).items()) for each in jobs)
    assert first == other
    assert dict(first) == {**given, "tmpdir": TMPDIR}


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("/scratch/me", "/scratch/me"),
        ("relative/x", "relative/x"),
        (tempfile.gettempdir(), TMPDIR),
        (f"{tempfile.gettempdir()}/of a job", f"{TMPDIR}/of a job"),
        (f"{tempfile.gettempdir()}-other", f"{tempfile.gettempdir()}-other"),
        # its function reads an input that does not exist yet
        (TBDString(), TMPDIR),
        (None, TMPDIR),
    ],
)
def test_an_expression_for_tmpdir_is_evaluated_here(here, there):
    """Paths below the folder of this machine are below that of the job."""
    resources = {"tmpdir": Resource("tmpdir", lambda: here), "mem_mb": Resource("mem_mb", 5)}

    def expand(wildcards, given, attempt, skip_evaluation):
        assert (wildcards, given, attempt) == ({"n": "1"}, ["in"], 2)
        assert skip_evaluation == {"mem_mb"}
        return {"tmpdir": here} if here else {}

    rule = SimpleNamespace(resources=resources, shellcmd="", expand_resources=expand)
    wanted = SimpleNamespace(
        rule=rule,
        resources=ResourceList(fromdict={"mem_mb": 5, "tmpdir": TBDString()}),
        wildcards_dict={"n": "1"},
        input=["in"],
        attempt=2,
    )
    assert dict(resources_there(wanted).items()) == {"mem_mb": 5, "tmpdir": there}
