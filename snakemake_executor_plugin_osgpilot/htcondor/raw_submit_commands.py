"""Check the submit commands (`htcondor_…`) and attributes (`classad_…`) that a rule adds.

An accepted value means exactly itself. A submit description is text, one line per command, so
anything that could end a line, join it with the next or be expanded in it is rejected; so is every
command and attribute that osgpilot or HTCondor sets, with the option to use instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import classad2

from ..errors import InputError

COMMAND, ATTRIBUTE = "htcondor_", "classad_"
"""Prefixes of resources that are submit commands and attributes."""

Value = str | int | float | bool

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_INTEGERS = range(-(2**63), 2**63)

_OUR_COMMANDS = (
    (r"requestcpus", "use `threads`"),
    (r"requestmemory|retryrequest.*", "use `mem_mb`"),
    (r"requestdisk", "use `disk_mb`"),
    (r"requestgpus", "use `gpu`"),
    (r"requiregpus", "use `gpu_model`"),
    (r"request.*", "pilots offer cores, memory, disk and GPUs only"),
    (r"(container|docker).*|universe|jobuniverse", "use `container_image`"),
    (r"env.*|getenv", "use Snakemake's `envvars:`"),
    (r"maxretries|retryuntil|successexitcode|onexit.*|numjobretries", "use Snakemake's `retries:`"),
    (
        r"(transfer|encrypt|dontencrypt|publicinput).*|shouldtransferfiles|preserverelativepaths"
        r"|whentotransferoutput|outputdestination|(job)?(in|out)puts?",
        "files travel as the rule's `input:` and `output:`",
    ),
    (
        r"executable|cmd|arg(ument)?s\d?|shell|noop.*|tooldaemon.*|jar.*|java.*|job(cmd|args).*",
        "the rule itself says what runs",
    ),
    (
        r"in|out|err|error|stream.*|log.*|userlog.*|dagman.*|ulog.*|(remote)?initialdir"
        r"|(job|remote)?iwd|appendfiles|copytospool|skipfilechecks|checkpoint.*|skipifdataflow|submitevent.*",
        "osgpilot follows its jobs by it",
    ),
    (
        r"hold|leaveinqueue|joblease.*|maxidle|maxmaterialize|materialize.*|cron.*|deferral.*"
        r"|batch.*|jobbatch.*|osgpilot.*|machinecount|nodecount.*|(cluster|proc)(id)?|process",
        "osgpilot keeps the queue by it",
    ),
    (r"queue|if|elif|else|endif|include|use|warning", "it is a statement, not a command"),
)
"""Reserved commands, without `_` and in lower case, as HTCondor has two names for most of them."""

_OUR_ATTRIBUTES = {
    "projectname": "use --osgpilot-project",
    "jobdurationcategory": "use `runtime`",
    "requestcpus": "use `threads`",
    "requestmemory": "use `mem_mb`",
    "requestdisk": "use `disk_mb`",
    "requestgpus": "use `gpu`",
    "requiregpus": "use `gpu_model`",
    "requirements": "use `htcondor_requirements`",
    "rank": "use `htcondor_rank`",
    "jobprio": "use `htcondor_priority`",
    "singularityimage": "use `container_image`",
}
"""Attributes with a better way to set them."""

_WORDS = frozenset(
    ("error", "false", "is", "isnt", "my", "parent", "self", "target", "true", "undefined")
)
_OF_HTCONDOR = re.compile(
    r"(activation|assigned|auto|block|bytes|cluster|committed|common|concurrency|condor|container"
    r"|cumulative|current|device|docker|enteredcurrent|env|execut|exit|global|hold|imagesize"
    r"|job|last|machineattr|num|onexit|network|periodic|proc|proportional|recent|release"
    r"|remote|remove|request|residentset|stats|stream|submit|total|transfer|userlog|vacate|want(container|docker|sandbox)"
    r"|x509).*"
    r"|acc(oun)?t(ing)?group.*|arg(ument)?s|cmd|completiondate|coresize|err|firstjobmatchdate|in"
    r"|initialwait.*|iwd|killsig|leavejobinqueue|(orig)?maxhosts|minhosts|(my|target)type"
    r"|niceuser|out|owner|.*(provisioned|usage(_raw)?)|qdate|scratchdirfilecount|shouldtransferfiles"
    r"|spooledoutputfiles|startdprincipal|stdoutmtime|terminationpending|user|wantsif"
    r"|whentotransferoutput"
)
"""Attributes, in lower case, that commands or daemons set; a test compares it with real job ads."""


@lru_cache(maxsize=1024, typed=True)
def submit_command(name: str, value: Value) -> tuple[str, str]:
    """Return the line of the submit description for the command `name`. Raises `InputError`."""
    _check_name(name)
    plain = name.lower().replace("_", "")
    for pattern, remedy in _OUR_COMMANDS:
        if re.fullmatch(pattern, plain):
            raise InputError(f"the command {name} is not free: {remedy}")
    text = _bare(value) if isinstance(value, str) else _literal(value)
    if plain == "requirements":
        text = _expression(text)
    return name.lower(), text


@lru_cache(maxsize=1024, typed=True)
def attribute(name: str, value: Value) -> tuple[str, str]:
    """Return the line that gives the job ad the attribute `name`. Raises `InputError`."""
    _check_name(name)
    plain = name.lower()
    if remedy := _OUR_ATTRIBUTES.get(plain):
        raise InputError(f"the attribute {name} is not free: {remedy}")
    if plain in _WORDS:
        raise InputError(f"{name} is a word of the ClassAd language and no name")
    if plain.startswith(("_", "osgpilot")) or _OF_HTCONDOR.fullmatch(plain):
        raise InputError(f"the attribute {name} is not free: osgpilot or HTCondor sets it")
    return f"My.{name}", _literal(value)


def merge(ours: Mapping[str, str], extras: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return `ours` with `extras`; requirements are combined, nothing else of `ours` changes."""
    lines = dict(extras)
    merged = lines | dict(ours)
    if "requirements" in lines:
        merged["requirements"] = f"({ours['requirements']}) && ({lines['requirements']})"
    return merged


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name: a letter, then letters, digits and _ only")


def _harmless(text: str) -> str:
    if not text.isprintable():
        raise InputError("line breaks and other control characters are not possible")
    if "$" in text:
        raise InputError("`$` is not possible, HTCondor replaces what follows it")
    return text


def _bare(text: str) -> str:
    """Return `text` for use after `=` without quotes."""
    text = _harmless(text).strip()
    if not text:
        raise InputError("an empty value says nothing")
    if text.endswith("\\"):
        raise InputError("a `\\` at the end would swallow the next line")
    return text


def _literal(value: Value) -> str:
    """Return `value` in the ClassAd language, of the type it has."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise InputError("an integer of HTCondor has 64 bits")
        return str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError("a number has to be finite")
        return repr(value)
    # HTCondor reads descriptions as old ClassAds: only a quote is escaped, a backslash is literal
    quoted = _harmless(value).replace('"', '\\"')
    return f'"{quoted}"'


def _expression(text: str) -> str:
    """Return `text` if it is one ClassAd expression, so that it stays one in brackets."""
    try:
        # alone, against a bracket that closes the outer one; in brackets, against unparsed text
        classad2.ExprTree(text)
        classad2.ExprTree(f"({text})")
    except Exception as error:
        raise InputError("it is not an expression of the ClassAd language") from error
    return text
