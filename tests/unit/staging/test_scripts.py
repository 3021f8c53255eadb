"""Scripts that run without Snakemake are those that Snakemake itself would write."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import (
    InputFiles,
    Log,
    Namedlist,
    OutputFiles,
    Params,
    ResourceList,
    Wildcards,
)
from snakemake.notebook import notebook
from snakemake.script import script
from snakemake.sourcecache import SourceCache, infer_source_file

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, ROOT_MARK
from snakemake_executor_plugin_osgpilot.staging.scripts import script_lines
from snakemake_executor_plugin_osgpilot.staging.snakemake_modules import (
    MODULES,
    modules_named,
    write_modules,
)

NOTEBOOK = json.dumps(
    {
        "cells": [
            {
                "cell_type": "code",
                "id": "mine",
                "metadata": {},
                "source": "'it''s'",
                "outputs": [],
                "execution_count": None,
            }
        ],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)

SOURCES = {
    "a.R": "writeLines('it''s')\n",
    "a.sh": '#!/bin/bash\necho "it\'s" $x\n',
    "a.Rmd": "---\ntitle: it's\n---\ntext\n",
    "a.jl": 'println("it\'s")\n',
    "a.rs": "#!/usr/bin/env rust-script\n//! ```cargo\n//! ```\nfn main() {}\n",
}

PYTHON = {"a.py": 'print("it\'s")\n', "a.xsh": "echo it\n", "a.hy": '(print "it")\n'}

NOTEBOOKS = {"a.py.ipynb": NOTEBOOK, "a.r.ipynb": NOTEBOOK.replace('"python"', '"r"')}


def parts(**params):
    return {
        "input": InputFiles(fromdict={"first": "in put"}),
        "output": OutputFiles(toclone=["o ut"]),
        "params": Params(fromdict=params),
        "wildcards": Wildcards(fromdict={"name": 'a,"b" $c'}),
        "log": Log(fromdict={"notebook": "log"}),
        "threads": 2,
        "jobid": 1,
    }


def job(name, cache, *, notebook=None, wrapper=None, prefix=None, **params):
    workflow = SimpleNamespace(
        sourcecache=cache,
        globals={"config": {"of": "another module"}},
        workflow_settings=SimpleNamespace(wrapper_prefix=prefix),
    )
    rule = SimpleNamespace(
        name="r", script=name, notebook=notebook, wrapper=wrapper, workflow=workflow,
        basedir=infer_source_file(str(Path.cwd())), module_globals={"config": {"k": [1, "x"]}},
    )  # fmt: skip
    return SimpleNamespace(rule=rule, **parts(**params))


def lines(wanted, image="", **resources):
    paths = PathRewriter(Path.cwd(), "/copies", (str(Path.cwd()),), sources=(str(Path.cwd()),))
    return script_lines(wanted, ResourceList(fromdict=resources), paths, image)


def place(text, folder, root=""):
    """Do as wrapper.sh with a script that runs in `folder`; `root` represents /."""
    return text.replace(HERE, str(folder)).replace(ROOT_MARK, root)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {**SOURCES, **PYTHON, **NOTEBOOKS}.items():
        Path(name).write_text(text)
    return SourceCache(tmp_path / "cache", tmp_path / "runtime")


def test_a_script_and_a_notebook_may_be_given_as_paths(cache):
    assert lines(job(Path("a.py"), cache)) == lines(job("a.py", cache))
    name = "a.py.ipynb"
    given = lines(job(None, cache, notebook=Path(name)), "image.sif")
    assert given == lines(job(None, cache, notebook=name), "image.sif")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Interpreters that keep their script and its arguments in the folder that is returned."""
    modules_named("")  # with the real Python
    folder, kept = tmp_path / "programs", tmp_path / "kept"
    folder.mkdir()
    kept.mkdir()
    for name in ("Rscript", "bash", "python", "julia", "rust-script", "xonsh", "hy", "papermill"):
        keep = f"""#!/bin/sh
[ $# -gt 0 ] && [ "$1" != --version ] || exit 0
echo $# > {kept}/n
cp .snakemake/scripts/*a.* {kept}/script
"""
        (folder / name).write_text(keep)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", f"{folder}/python")
    return kept


def run_ours(wanted, folder, root="", **resources):
    """Run the shell text of a job in `folder`."""
    ours = lines(wanted, "image.sif", **resources)
    folder.mkdir(exist_ok=True)
    text = place(ours.write + ours.command, folder, root)
    subprocess.run(["/bin/bash", "-c", f"set -e; {text}"], check=True, cwd=folder)
    shutil.rmtree(folder / ".snakemake")


def run_theirs(start, wanted, **resources):
    """Run a script by Snakemake's own function in the current folder."""
    given = {name: value for name, value in vars(wanted).items() if name != "rule"}
    start(
        wanted.rule.script or wanted.rule.notebook, wanted.rule.basedir, **given,
        resources=ResourceList(fromdict=resources), config={"k": [1, "x"]}, rulename="r",
        conda_env=None, conda_base_path=None, container_img=None, singularity_args="",
        env_modules=None, bench_record=None, bench_iteration=None, cleanup_scripts=True,
        shadow_dir=None, sourcecache_path=wanted.rule.workflow.sourcecache.cache_path,
        runtime_sourcecache_path=wanted.rule.workflow.sourcecache.runtime_cache_path,
        **({"runtime_paths": None} if start is script else
           {"local_storage_prefix": None, "edit": None}),
    )  # fmt: skip


VALUES = {"text": "it's\n$x", "n": 1, "f": 0.5, "yes": True, "several": ["a", "b"]}


@pytest.mark.parametrize("name", SOURCES)
def test_a_script_and_its_arguments_equal_those_of_snakemake(name, cache, programs, tmp_path):
    wanted = job(name, cache, **VALUES)
    found = []
    for run in (
        lambda: run_ours(wanted, tmp_path, mem_mb=5, tmpdir="/x"),
        lambda: run_theirs(script, wanted, mem_mb=5, tmpdir="/x"),
    ):
        run()
        found.append([(programs / each).read_text() for each in ("script", "n")])
    assert found[0] == found[1]


def preamble_line(text):
    return next(line for line in text.splitlines() if "sys.path.extend" in line)


def unpickled(text):
    """The object `snakemake` of a Python script, and the folders that it searches."""
    line = preamble_line(text)
    begin, end = line.index("import sys"), line.index("from snakemake.logging")
    known = {}
    path = list(sys.path)
    try:
        exec(line[begin:end], known)
        searched = sys.path[len(path) :]
    finally:
        sys.path[:] = path
    return known["snakemake"], searched


def plain(value):
    """A value of `snakemake` with its names, to be compared."""
    if isinstance(value, Namedlist):
        return type(value), list(value), dict(value._names), dict(value.items())
    return value


def values_of(snakemake, *, without=()):
    """All values of the object but these parameters."""
    values = {name: plain(value) for name, value in vars(snakemake).items()}
    del values["_params_store"]
    params = {name: value for name, value in snakemake.params.items() if name not in without}
    return {**values, "params": params}


@pytest.mark.parametrize("name", PYTHON)
def test_a_python_script_gets_the_object_of_snakemake(name, cache, programs, tmp_path, monkeypatch):
    values = {**VALUES, "path": Path("a/b"), "below": str(tmp_path / "x y")}
    wanted = job(name, cache, **values)
    there = tmp_path / "a-longer-folder-than-here"
    run_ours(wanted, there, mem_mb=5, tmpdir=f"{HERE}/tmp")
    ours = (programs / "script").read_text()
    run_theirs(script, wanted, mem_mb=5, tmpdir=f"{there}/tmp")
    theirs = (programs / "script").read_text()
    (our_object, our_path), (their_object, _) = unpickled(ours), unpickled(theirs)
    assert their_object.params.below == our_object.params.below == str(tmp_path / "x y")
    assert our_object.resources.tmpdir == our_object.resources[1] == f"{there}/tmp"
    assert our_object.scriptdir == str(there)
    their_object.scriptdir = str(there)
    assert values_of(our_object, without=["below"]) == values_of(their_object, without=["below"])
    # nothing else differs, not even the number of lines
    assert our_path[0] == f"{there}/{MODULES}"
    assert our_path[-1] == str(there)
    rest = [text.splitlines()[2:] for text in (ours, theirs)]
    assert rest[0] == rest[1]


def test_pickled_paths_are_moved_where_the_job_has_no_root_of_its_own(cache, programs, tmp_path):
    wanted = job("a.py", cache, below=str(tmp_path / "x"), path=tmp_path / "y")
    run_ours(wanted, tmp_path / "there", "/root-there", tmpdir=f"{HERE}/tmp")
    params = unpickled((programs / "script").read_text())[0].params
    assert params.below == f"/root-there{tmp_path}/x"
    assert params.path == Path(f"/root-there{tmp_path}/y")


def test_the_text_of_a_job_is_the_same_in_every_session(cache, tmp_path):
    for name in ("a.py", "a.R"):
        first, other = (lines(job(name, cache, **VALUES), tmpdir=HERE) for _ in range(2))
        assert first == other
    first, other = (lines(job(None, cache, notebook="a.py.ipynb"), tmpdir=HERE) for _ in range(2))
    assert first == other


# Snakemake does not close what it reads
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_equals_that_of_snakemake(name, cache, programs, tmp_path):
    wanted = job(None, cache, notebook=name, **VALUES)
    cells = []
    for run in (lambda: run_ours(wanted, tmp_path), lambda: run_theirs(notebook, wanted)):
        run()
        read = json.loads((programs / "script").read_text())["cells"]
        assert (programs / "n").read_text() == "4\n"
        cells.append([{**cell, "id": ""} for cell in read])
    ours, theirs = cells
    if "r.ipynb" in name:
        assert ours == theirs
    else:
        objects = [unpickled("".join(cell["source"]))[0] for cell in (ours[0], theirs[0])]
        assert values_of(objects[0]) == values_of(objects[1])
        assert f"os.chdir(r'{tmp_path}')" in "".join(ours[0]["source"])
        assert ours[1:] == theirs[1:]


def test_a_notebook_is_run_by_nbconvert_where_there_is_no_papermill(cache, programs, tmp_path):
    (programs.parent / "programs/papermill").unlink()
    called = tmp_path / "called"
    nbconvert = programs.parent / "programs/jupyter-nbconvert"
    nbconvert.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$IPYTHONDIR" > {called}\n')
    nbconvert.chmod(0o755)
    there = tmp_path / "there"
    run_ours(job(None, cache, notebook="a.py.ipynb"), there)
    arguments = called.read_text().splitlines()
    assert arguments[arguments.index("--output") + 1] == f"{there}/log"
    assert arguments[-1] == f"{there}/osgpilot-tmp/osgpilot"


def test_a_value_without_counterpart_in_r_is_named(cache):
    with pytest.raises(InputError, match=r"rule r: .* Unsupported value for conversion into R"):
        lines(job("a.R", cache, strange=object()))


def test_a_value_that_cannot_be_pickled_is_reported_with_its_rule(cache):
    with pytest.raises(InputError, match=r"rule r: its script cannot be sent: .*lambda"):
        lines(job("a.py", cache, strange=lambda: 1))


def test_a_missing_interpreter_is_named_with_its_image(cache, tmp_path):
    ours = lines(job("a.jl", cache), "docker://tools")
    done = subprocess.run(
        ["/bin/bash", "-c", place(ours.write + ours.command, tmp_path)],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 127
    assert "\nosgpilot: rule r: its image docker://tools has no julia;" in done.stderr


def test_the_command_of_a_prefix_may_bring_the_interpreter(cache, tmp_path):
    (tmp_path / "julia").write_text("#!/bin/sh\nexit $STATUS\n")
    (tmp_path / "julia").chmod(0o755)
    ours = lines(job("a.jl", cache))
    text = place(f'{ours.write}PATH="{tmp_path}:$PATH"; {ours.command}', tmp_path)
    for status in (0, 127):
        done = subprocess.run(
            ["/bin/bash", "-c", text], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "STATUS": str(status)},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_python_3_runs_a_script_where_there_is_no_python(cache, tmp_path, monkeypatch, shell):
    for image, names, called in (
        ("image.sif", ["python3"], "python3"),
        ("image.sif", ["python", "python3"], "python"),
        ("", ["python", "python3"], "python3"),
    ):
        folder = tmp_path / called / str(len(names))
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\necho {name} > {folder}/called\n")
            (folder / name).chmod(0o755)
        for tool in ("mkdir",):
            if not (folder / tool).exists():
                (folder / tool).symlink_to(f"/bin/{tool}")
        ours = lines(job("a.py", cache), image)
        subprocess.run(
            [f"/bin/{shell}", "-c", place(ours.write + ours.command, tmp_path)],
            env={"PATH": str(folder)}, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert (folder / "called").read_text() == f"{called}\n"


def test_wrappers_are_found_by_prefix_and_by_absolute_path(cache, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-wrappers"
    (outside / "bio/x").mkdir(parents=True)
    (outside / "bio/x/wrapper.py").write_text("print('wrapped')\n")
    (outside / "bio/x/helper.py").write_text("MARK = 1\n")
    prefixed = lines(job(None, cache, wrapper="bio/x", prefix=f"file://{outside}/"))
    absolute = lines(job(None, cache, wrapper=f"file://{outside}/bio/x"))
    assert prefixed.write == absolute.write
    assert "print(" in prefixed.write
    assert "helper.py" in prefixed.write


def test_a_wrapper_that_cannot_be_read_is_one_line_with_each_cause_once(cache, tmp_path):
    with pytest.raises(InputError) as caught:
        lines(job(None, cache, wrapper="bio/y", prefix=f"file://{tmp_path}/"))
    said = str(caught.value)
    assert "\n" not in said
    assert "wrapper bio/y cannot be read" in said
    assert said.count(f"{tmp_path}/bio/y/wrapper.*") == 1


def test_modules_of_snakemake_suffice_for_a_bare_python(cache, tmp_path, monkeypatch):
    there = tmp_path / "there"
    Path("a.py").write_text(
        "from snakemake.shell import shell\n"
        "import sys\n"
        "shell('echo {snakemake.params.n} $OMP_NUM_THREADS > out', threads=2)\n"
        "print(snakemake.log_fmt_shell(), snakemake.params.get('n'), file=open('more', 'w'))\n"
    )
    ours = lines(job("a.py", cache, n=5), "image.sif")
    assert ours.modules == ()
    there.mkdir()
    write_modules(there)
    python = tmp_path / "programs/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys._base_executable} -I -S "$@"\n')
    python.chmod(0o755)
    subprocess.run(
        ["/bin/bash", "-c", place(ours.write + ours.command, there)],
        check=True, cwd=there, env={"PATH": f"{python.parent}:/usr/bin:/bin"},
    )  # fmt: skip
    assert (there / "out").read_text() == "5 2\n"
    assert (there / "more").read_text() == " > log 2>&1 5\n"


def python_with_modules(code, folder):
    """Return what a bare Python prints that has only the modules that travel."""
    path = write_modules(folder)
    setup = "import sys\nsys.path.append(sys.argv[1])\n"
    argv = [sys.executable, "-I", "-S", "-c", setup + code, str(path)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_a_script_without_shell_starts_without_its_modules(tmp_path):
    code = "from snakemake.logging import logger\nfrom snakemake.iocontainers import Snakemake\n"
    names = "print(*{'asyncio', 'snakemake.shell', 'snakemake.io'} & set(sys.modules))"
    assert python_with_modules(code + names, tmp_path) == "\n"


@pytest.mark.parametrize(
    "code",
    [
        "from snakemake import shell",
        "from snakemake.shell import shell",
        "import snakemake.shell\nshell = snakemake.shell",
        "import snakemake.utils\nfrom snakemake.shell import shell as _\nshell = snakemake.shell",
    ],
)
def test_shell_is_the_function_however_a_script_imports_it(code, tmp_path):
    assert python_with_modules(f"{code}\nshell('echo ran')", tmp_path) == "ran\n"


def test_a_script_may_name_more_modules_of_snakemake(cache, tmp_path):
    Path("a.py").write_text(
        "from snakemake.script import Snakemake\nfrom snakemake.io import expand\n"
        "import snakemake.nothing_that_exists\n"
    )
    named = lines(job("a.py", cache)).modules
    assert named == ("snakemake.nothing_that_exists", "snakemake.script")
    path = write_modules(tmp_path, named)
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.path.append(sys.argv[1])\n"]
    argv[-1] += "from snakemake.script import Snakemake"
    subprocess.run([*argv, str(path)], check=True)
    failed = subprocess.run([*argv, str(write_modules(tmp_path))], capture_output=True)
    assert failed.returncode == 1


def test_more_modules_start_where_packages_are_installed_that_are_not_here(tmp_path):
    """Jupyter and Dask have tornado, for which tenacity imports one more of its modules."""
    (tmp_path / "tornado").mkdir()
    for name, text in {
        "__init__.py": "",
        "gen.py": "sleep = None\ncoroutine = staticmethod",
    }.items():
        (tmp_path / "tornado" / name).write_text(text)
    path = write_modules(tmp_path, ("snakemake.script",))
    code = "import sys; sys.path += sys.argv[1:]\nimport snakemake.script, tenacity.tornadoweb"
    argv = [sys.executable, "-I", "-S", "-c", code, str(path), str(tmp_path)]
    subprocess.run(argv, check=True)


def test_modules_are_the_same_file_in_every_session(tmp_path):
    path = write_modules(tmp_path)
    os.utime(path, (1, 1))
    assert write_modules(tmp_path).stat().st_mtime == 1
    path.write_bytes(b"of another version")
    content = write_modules(tmp_path).read_bytes()
    assert re.search(rb"snakemake/iocontainers\.py", content)
    assert not list(tmp_path.glob("*.part"))


def test_modules_of_snakemake_are_python_3_10(tmp_path):
    with zipfile.ZipFile(write_modules(tmp_path)) as archive:
        for name in archive.namelist():
            ast.parse(archive.read(name), name, feature_version=(3, 10))
