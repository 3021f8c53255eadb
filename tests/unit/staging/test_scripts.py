"""Scripts that run without Snakemake are those that Snakemake itself would write."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards
from snakemake.script import script
from snakemake.sourcecache import SourceCache, infer_source_file

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.payload import HERE
from snakemake_executor_plugin_osgpilot.staging.scripts import script_lines

SOURCES = {"a.R": "writeLines('it''s')\n", "a.sh": '#!/bin/bash\necho "it\'s" $x\n'}


def parts(**params):
    return {
        "input": InputFiles(fromdict={"first": "in put"}),
        "output": OutputFiles(toclone=["o'ut", "two"]),
        "params": Params(fromdict=params),
        "wildcards": Wildcards(fromdict={"name": 'a,"b" $c'}),
        "log": Log(toclone=["log"]),
        "threads": 2,
        "jobid": 1,
    }


def job(name, cache, **params):
    workflow = SimpleNamespace(sourcecache=cache, globals={"config": {"of": "another module"}})
    rule = SimpleNamespace(
        name="r", script=name, basedir=infer_source_file(str(Path.cwd())), workflow=workflow,
        module_globals={"config": {"k": [1, "x"]}},
    )  # fmt: skip
    return SimpleNamespace(rule=rule, **parts(**params))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in SOURCES.items():
        Path(name).write_text(text)
    return SourceCache(tmp_path / "cache", tmp_path / "runtime")


@pytest.mark.parametrize("name", SOURCES)
def test_the_script_equals_that_of_snakemake(name, cache, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("Rscript", "bash"):
        keep = f'for last in "$@"; do :; done; cp "$last" {tmp_path}/theirs; echo $# > {tmp_path}/n'
        (programs / program).write_text(f"#!/bin/sh\n{keep}\n")
        (programs / program).chmod(0o755)
    resources = ResourceList(fromdict={"mem_mb": 5, "tmpdir": "/x"})
    values = {"text": "it's\n$x", "n": 1, "f": 0.5, "yes": True, "several": ["a", "b"]}
    wanted = job(name, cache, **values)
    write, command = script_lines(wanted, resources)
    subprocess.run(["/bin/bash", "-c", f"{write}{command.replace('Rscript', 'echo')}"], check=True)
    ours = Path(".snakemake/scripts", f"osgpilot{Path(name).suffix}").read_text()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    script(
        name, wanted.rule.basedir, wanted.input, wanted.output, wanted.params, wanted.wildcards,
        2, resources, wanted.log, {"k": [1, "x"]}, "r", None, None, None, "", None, None, 1, None,
        True, None, tmp_path / "cache", tmp_path / "runtime", None,
    )  # fmt: skip
    assert ours.replace(HERE, str(tmp_path)) == Path("theirs").read_text()
    assert len(command.split()) - 1 == int(Path("n").read_text())


def test_a_value_without_counterpart_in_r_is_named(cache):
    with pytest.raises(InputError, match="rule r: Unsupported value for conversion into R"):
        script_lines(job("a.R", cache, strange=object()), {})
