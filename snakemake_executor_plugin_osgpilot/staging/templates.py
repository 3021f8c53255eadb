"""Rules with a `template_engine:`: rendered here, where Snakemake and its engines are."""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory

from snakemake_interface_common.exceptions import WorkflowError

from ..common.snakemake_compat import rendered_template
from ..common.snakemake_types import Rule, SingleJob
from ..errors import InputError


def is_template(rule: Rule) -> bool:
    """Return True if the rule renders a template."""
    return bool(getattr(rule, "template_engine", None))


def template_lines(job: SingleJob) -> str:
    """Return the shell command that writes what the job's template renders.

    Raises `InputError` if it cannot be rendered.
    """
    with TemporaryDirectory() as folder:
        try:
            text = rendered_template(job, Path(folder) / "rendered")
        except WorkflowError as error:
            raise InputError(f"rule {job.rule.name}: {error}") from error
    return f"printf %s {shlex.quote(text)} > {shlex.quote(str(job.output[0]))}"
