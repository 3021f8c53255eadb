"""Rules with a `cwl:`: cwltool is called as Snakemake would call it."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote
from urllib.request import url2pathname

from ..common.snakemake_compat import cwl_call
from ..common.snakemake_types import Resources, Rule, SingleJob
from .path_rewriting import PathRewriter
from .payload import HERE
from .scripts import ScriptLines

_FOLDER = ".snakemake/scripts"


def is_cwl(rule: Rule) -> bool:
    """Return True if the rule calls a tool that CWL describes."""
    return bool(getattr(rule, "cwl", None))


def cwl_lines(
    job: SingleJob,
    resources: Resources,
    paths: PathRewriter,
    image: str,
    number: int = 0,
) -> ScriptLines:
    """Return the shell text that calls the tool; files that it describes itself come back.

    `image` is named in messages, `number` is that of the job in its group.
    """
    url, inputs = cwl_call(job, resources)
    named: dict[str, None] = {}

    def text_there(value: str) -> str:
        text, files = paths.value(value)
        named.update(dict.fromkeys(files))
        return text

    def moved(value: object) -> object:
        if isinstance(value, dict):
            return {name: moved(each) for name, each in value.items()}
        if isinstance(value, list):
            return [moved(each) for each in value]
        if not isinstance(value, str):
            return value
        return text_there(value)

    if url.startswith("file:"):
        # two slashes, which cwltool wants and Snakemake does not write with every Python
        place = text_there(url2pathname(url.removeprefix("file:").replace("///", "/", 1)))
        url = f"file://{quote(place, safe='/@')}"
    file = f"{_FOLDER}/osgpilot{number or ''}.cwl.json"
    text = json.dumps(moved(json.loads(inputs)), ensure_ascii=False)
    where = f"its image {image} has" if image else "where its jobs run, without an image, there is"
    missing = f"osgpilot: rule {job.rule.name}: {where} no cwltool; name an image that has it"
    return ScriptLines(
        f"mkdir -p {_FOLDER} && printf %s {shlex.quote(text)} > {file} || exit\n",
        f"command -v cwltool > /dev/null || {{ echo {shlex.quote(missing)} >&2; exit 127; }}; "
        f"cwltool {shlex.quote(url)} {HERE}/{file}",
        tuple(named),
    )
