"""Run a `script:`, `wrapper:` or `notebook:` without Snakemake: with the text and the command that
Snakemake itself would write and start.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake import script as languages
from snakemake.exceptions import WorkflowError
from snakemake.notebook import PythonJupyterNotebook, RJupyterNotebook
from snakemake.sourcecache import LocalSourceFile, SourceFile
from snakemake.wrapper import get_script

from ..common.snakemake_compat import OWN_FOLDER, relocated_preamble, rendered_script
from ..common.snakemake_types import Resources, Rule, SingleJob
from ..errors import InputError
from .failure_message import NOT_FOUND
from .path_rewriting import PathRewriter
from .payload import HERE, exports
from .portable_pickle import dumped, loading
from .snakemake_modules import MODULES, modules_named
from .workflow_sources import search_paths

_FOLDER = ".snakemake/scripts"
"""The folder that Snakemake uses, too; programs see the path (snakemake.script)."""


@dataclass(frozen=True)
class Language:
    """Snakemake's class for a kind of script, and the programs of which one has to be there."""

    script: type
    programs: tuple[str, ...]
    is_python: bool = False


_LANGUAGES = {
    "python": Language(languages.PythonScript, ("python", "python3"), is_python=True),
    "r": Language(languages.RScript, ("Rscript",)),
    "rmarkdown": Language(languages.RMarkdown, ("Rscript",)),
    "julia": Language(languages.JuliaScript, ("julia",)),
    "rust": Language(languages.RustScript, ("rust-script",)),
    "bash": Language(languages.BashScript, ("bash",)),
    "xonsh": Language(languages.XonshScript, ("xonsh",), is_python=True),
    "hy": Language(languages.HyScript, ("hy",), is_python=True),
}

_NOTEBOOK = ("papermill", "jupyter-nbconvert")
_NOTEBOOKS = {
    "jupyter_python": Language(PythonJupyterNotebook, _NOTEBOOK, is_python=True),
    "jupyter_r": Language(RJupyterNotebook, _NOTEBOOK),
}


@dataclass(frozen=True)
class ScriptLines:
    """Shell text that writes a script, and the command that starts it.

    `files` below the working folder are named by absolute paths in the script or its parameters.
    `modules` is None for a script that imports none of Snakemake, as in `Payload`.
    """

    write: str
    command: str
    files: tuple[str, ...] = ()
    modules: tuple[str, ...] | None = None


def has_script(rule: Rule) -> bool:
    """Return True if a rule has a script of any kind in place of a command."""
    return bool(rule.script or rule.notebook or rule.wrapper)


def needs_interpreter(rule: Rule) -> bool:
    """Return True if the rule's script needs a program that nodes need not have."""
    return has_script(rule) and not str(rule.script or "").endswith(".sh")


def is_in_python(job: SingleJob) -> bool:
    """Return True if the job has a script, notebook or wrapper in Python.

    One that cannot be read, as another job may have to make it, counts as another language.
    """
    if not has_script(job.rule):
        return False
    try:
        return _Source.of(job).language.is_python
    except Exception:
        return False


def interpreters(job: SingleJob) -> tuple[str, ...]:
    """Return the programs of which the job's script needs one, none if that is not known."""
    if not has_script(job.rule):
        return ()
    try:
        return _Source.of(job).language.programs
    except Exception:
        return ()


def lacking(rule: str, programs: Sequence[str], image: str) -> str:
    """Return the message for a rule whose script finds none of these programs in its image."""
    where = f"its image {image} has" if image else "where its jobs run, without an image, there is"
    what = f"rule {rule}: {where} no {' and no '.join(reversed(programs))}"
    return f"{what}; name an image that has it with container_image"


def script_lines(
    job: SingleJob,
    resources: Resources,
    paths: PathRewriter,
    image: str,
    *,
    number: int = 0,
    repeat: int | None = None,
) -> ScriptLines:
    """Return the shell text of the rule's script, notebook or wrapper.

    `image` is named in messages. `number` is that of the job in its group, whose files have names
    of their own, and `repeat` that of a benchmark. Raises `InputError` if the script cannot be
    read, or if a value of the rule has no counterpart in its language.
    """
    try:
        source = _Source.of(job)
        return _script_lines(source, job, resources, paths, image, number, repeat)
    except SyntaxError as error:
        raise InputError(
            f"rule {job.rule.name}: Snakemake cannot start a script in Python with its resource "
            "shell_exec"
        ) from error
    except Exception as error:
        raise InputError(f"rule {job.rule.name}: its script cannot be sent: {error}") from error


def _script_lines(
    source: _Source,
    job: SingleJob,
    resources: Resources,
    paths: PathRewriter,
    image: str,
    number: int,
    repeat: int | None,
) -> ScriptLines:
    named = [path for text in map(str, job.params) for path in paths.value(text)[1]]
    named += paths.rewritten(source.text)[1]
    own = f"osgpilot{number or ''}"
    file, beside_it = f"{_FOLDER}/{own}.{source.path.get_filename()}", f"{_FOLDER}/{own}-beside"
    rendered = rendered_script(
        source.script(job, resources, paths, repeat),
        f"{HERE}/{file}",
        preamble=lambda text: _preamble(text, source, paths, beside_it),
        value=_in_its_folder(job),
    )
    beside = dict(source.beside()) if source.language.is_python else {}
    text = _with_stable_ids(rendered.text, source.text) if job.rule.notebook else rendered.text
    folder = f"{HERE}/osgpilot-tmp/{own}"
    lines = (
        _programs(job.rule.name, source.language, image),
        _written(file, f"printf %s {shlex.quote(text)}"),
        *(_written(f"{beside_it}/{name}", _decoding(content)) for name, content in beside.items()),
        f"mkdir -p {folder} || exit\n" if rendered.environment else "",
        exports(rendered.environment),
    )
    command = rendered.command
    if rendered.tried:
        tried = f"{rendered.tried} > /dev/null 2>&1"
        command = f"if {tried}; then {command}; else {rendered.otherwise}; fi"
    write, command = (part.replace(OWN_FOLDER, folder) for part in ("".join(lines), command))
    modules = modules_named(source.text) if source.language.is_python else None
    return ScriptLines(write, command, tuple(named), modules)


def _with_stable_ids(notebook: str, source: str) -> str:
    """Return a notebook in which cells without an id have the same one in every session."""
    for number, cell in enumerate(json.loads(notebook)["cells"]):
        if (own := cell.get("id", "")) and own not in source:
            notebook = notebook.replace(json.dumps(own), f'"cell-{number}"', 1)
    return notebook


@dataclass(frozen=True)
class _Source:
    """The source of a script; `path` is where the script believes to be, `cached` its copy."""

    path: SourceFile
    text: str
    language: Language
    cached: str
    basedir: object
    is_local: bool
    is_below: bool
    origin: str

    @classmethod
    def of(cls, job: SingleJob) -> _Source:
        rule, known = job.rule, _NOTEBOOKS if job.rule.notebook else _LANGUAGES
        where: str | Path | SourceFile | None = rule.script or rule.notebook
        basedir: object = rule.basedir
        if isinstance(where, Path):
            # as Snakemake does when it runs a script
            where = str(where)
        if rule.wrapper:
            where, basedir = _wrapper(rule), ""
        path, text, name, is_local, cached = languages.get_source(
            where, rule.workflow.sourcecache, basedir, job.wildcards, job.params
        )
        if name not in known:
            raise WorkflowError(f"Snakemake does not know the language of {path}")
        origin = path.get_path_or_uri(secret_free=True)
        below = os.path.relpath(origin) if is_local else ".."
        is_below = not f"{below}/".startswith("../")
        if is_local:
            path = LocalSourceFile(f"{HERE}/{below}" if is_below else os.path.abspath(origin))  # noqa: PTH100
        return cls(path, text, known[name], cached, basedir, is_local, is_below, origin)

    def script(
        self,
        job: SingleJob,
        resources: Resources,
        paths: PathRewriter,
        repeat: int | None,
    ) -> Any:
        """Return Snakemake's object for the script, as in a container."""
        rule = job.rule
        return self.language.script(
            path=self.path, cache_path=self.cached, source=paths.rewritten(self.text)[0],
            basedir=self.basedir, input_=job.input, output=job.output, params=job.params,
            wildcards=job.wildcards, threads=job.threads, resources=resources, log=job.log,
            config=rule.module_globals["config"], rulename=rule.name, conda_env=None,
            conda_base_path=None, container_img="the image of the job", singularity_args="",
            env_modules=None, bench_record=None, jobid=job.jobid, bench_iteration=repeat,
            cleanup_scripts=True, shadow_dir=None, is_local=self.is_local, runtime_paths=None,
        )  # fmt: skip

    def searched(self, beside_it: str) -> list[str]:
        """Return the folders in which Python finds modules, in Snakemake's order."""
        folders = [f"{HERE}/{MODULES}", *(f"{HERE}/{path}" for path in search_paths())]
        if not self.is_below:
            folders.append(f"{HERE}/{beside_it}")
        if self.is_local:
            folders.append(self.path.get_basedir().get_path_or_uri(secret_free=True))
        return list(dict.fromkeys(os.path.normpath(folder) for folder in folders))

    def beside(self) -> Iterator[tuple[str, bytes]]:
        """Yield the modules beside a script that does not lie below the working folder."""
        if self.is_below:
            return
        folder = Path(self.origin if self.is_local else self.cached).parent
        for file in sorted(folder.glob("*.py")):
            if file.is_file():
                yield file.name, file.read_bytes()


def _wrapper(rule: Rule) -> SourceFile:
    workflow = rule.workflow
    prefix = workflow.workflow_settings.wrapper_prefix
    found = get_script(rule.wrapper, workflow.sourcecache, prefix)
    if isinstance(found, SourceFile):
        return found
    raise WorkflowError(f"wrapper {rule.wrapper} cannot be read ({_causes(found)})")


def _causes(errors: Mapping[str, str]) -> str:
    """Return in one line why none of several files can be read; mostly they share one cause."""
    shown = ((error.strip() or "no reason given") for error in errors.values())
    lines = (
        text.splitlines()[0].replace(name, "wrapper.*")
        for name, text in zip(errors, shown, strict=True)
    )
    return "; ".join(dict.fromkeys(lines))


def _preamble(text: str, source: _Source, paths: PathRewriter, beside_it: str) -> str:
    # notebooks change to the folder in which Snakemake was started
    here = Path.cwd()
    for change in ("os.chdir(r'{}')", "setwd('{}')"):
        text = text.replace(change.format(here), change.format(HERE))
    if not source.language.is_python:
        return paths.rewritten(text)[0]

    def unpickling(value: object) -> str:
        return loading(dumped(value, paths.marked))

    return relocated_preamble(text, source.searched(beside_it), unpickling)


def _in_its_folder(job: SingleJob) -> Callable[[str], str]:
    """Return a function that moves paths made absolute by Snakemake to the folder of the job."""
    given, here = {str(file) for file in (*job.output, *job.log)}, str(Path.cwd())

    def moved(value: str) -> str:
        if value in given or not f"{value}/".startswith(f"{here}/"):
            return value
        return f"{HERE}{value.removeprefix(here)}"

    return moved


def _written(path: str, command: str) -> str:
    """Return a shell line that writes what `command` prints to a file."""
    folder, target = shlex.quote(str(Path(path).parent)), shlex.quote(path)
    return f"mkdir -p {folder} && {command} > {target} || exit\n"


def _decoding(content: bytes) -> str:
    return f"printf %s {base64.b64encode(content).decode()} | base64 -d"


def _programs(rule: str, language: Language, image: str) -> str:
    """Return shell lines that name a missing interpreter with rule and image.

    `shell.prefix()` may bring it, so that only the end of the command shows that it is missing.
    Python is called by the name that Snakemake uses in a container, if that is there.
    """
    names = language.programs
    message = shlex.quote(f"osgpilot: {lacking(rule, names, image)}")
    none = " && ".join(f"! command -v {name} > /dev/null" for name in names)
    handler = f"if [ $? = {NOT_FOUND} ] && {none}; then echo {message} >&2; fi"
    lines = f"trap {shlex.quote(handler)} EXIT\n"
    if names[0] != "python":
        return lines
    # on a node without an image, `python` may be Python 2
    first, other = names if image else reversed(names)
    return (
        f"{lines}python() {{ unset -f python; if command -v {first} > /dev/null; "
        f'then {first} "$@"; else {other} "$@"; fi; }}\n'
    )
