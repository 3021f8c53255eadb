"""Run a `script:` in bash or R without Snakemake: written and started as Snakemake would."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from snakemake.script import BashScript, RScript, get_source
from snakemake.sourcecache import LocalSourceFile

from ..common.snakemake_compat import rendered_script
from ..errors import InputError
from .payload import HERE

_FOLDER = ".snakemake/scripts"
"""The folder that Snakemake uses, too; programs see the path (snakemake.script)."""


def runs_alone(rule: Any) -> bool:
    """Return True if the rule's script needs only bash or R once its preamble is written."""
    return str(rule.script).endswith((".sh", ".R"))


def needs_r(rule: Any) -> bool:
    """Return True if the rule's script is in R."""
    return str(rule.script or "").endswith(".R")


def script_lines(
    job: Any, resources: Mapping[str, Any], number: int = 0, repeat: int | None = None
) -> tuple[str, str]:
    """Return shell text that writes the rule's script as Snakemake does, and its command.

    `number` is that of the job in its group, `repeat` that of its benchmark.
    Raises `InputError` if a value of the rule has no counterpart in the script's language.
    """
    script = _script(job, resources, repeat)
    path = f"{_FOLDER}/osgpilot{number or ''}{PurePosixPath(str(job.rule.script)).suffix}"
    try:
        text, command = rendered_script(script, path)
    except ValueError as error:
        raise InputError(f"rule {job.rule.name}: {error}") from error
    quoted = shlex.quote(text)
    return f"mkdir -p {_FOLDER} && printf %s {quoted} > {path} || exit\n", command


def _script(job: Any, resources: Mapping[str, Any], repeat: int | None) -> Any:
    rule = job.rule
    workflow = rule.workflow
    path, source, language, is_local, cached = get_source(
        rule.script, workflow.sourcecache, rule.basedir, job.wildcards, job.params
    )
    if is_local:
        path = LocalSourceFile(f"{HERE}/{os.path.relpath(path.get_path_or_uri(secret_free=True))}")
    return {"bash": BashScript, "r": RScript}[language](
        path=path, cache_path=cached, source=source, basedir=rule.basedir, input_=job.input,
        output=job.output, params=job.params, wildcards=job.wildcards, threads=job.threads,
        resources=resources, log=job.log, config=rule.module_globals["config"], rulename=rule.name,
        conda_env=None, conda_base_path=None, container_img=None, singularity_args="",
        env_modules=None, bench_record=None, jobid=job.jobid, bench_iteration=repeat,
        cleanup_scripts=True, shadow_dir=None, is_local=is_local, runtime_paths=None,
    )  # fmt: skip
