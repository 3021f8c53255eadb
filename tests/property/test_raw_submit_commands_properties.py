"""Any accepted value in a submit description means exactly itself."""

import string
from pathlib import Path

import classad2
import htcondor2
from hypothesis import example, given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.raw_submit_commands import (
    attribute,
    submit_command,
)
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import describe
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

SEAT = RunIdentity("alice", "MyProject", "r1")
PLAIN = Request(JobClass(Shape(1, 512, 100)))

TRAPS = (
    *("\n", "\r\n", "\\", "\\\n", '"', "'", "$(HOME)", "$$(Memory)", "$ENV(HOME)", "#", "=", ";"),
    *("queue 5", "queue", "+Evil = 1", "My.Evil = 1", "@=end", "@end", "if true", "endif"),
    *(
        "include : /etc/passwd",
        "\0",
        "\x85",
        "\u2028",
        "\t",
        " ",
        "]",
        ")",
        "(",
        "/*",
        "||",
        "true",
    ),
)
WORDS = (
    *("if", "elif", "else", "endif", "use", "include", "error", "warning", "queue", "on", "my"),
    *("OSGPilotKey", "log", "Cmd", "executable", "hold", "rank", "priority", "DOLLAR"),
)
hostile = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=5)), max_size=6).map("".join)
values = st.one_of(hostile, st.booleans(), st.integers(), st.floats())
plain_names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)
names = st.one_of(plain_names, st.sampled_from(WORDS), hostile)


def submitted(*extras: tuple[str, str]) -> dict[str, str]:
    """Return the description of a job with `extras` as HTCondor reads it, macros expanded."""
    request = Request(PLAIN.job_class, extras=extras)
    lines = describe(Submission(("000001",), request), SEAT, Path("/run"))
    # each job has a value of its own
    submit = htcondor2.Submit({"OSGPilotPriority": "7"} | lines)
    assert submit.getQArgs() in (None, "")
    return {key: submit.expand(key) for key in submit}


OURS = submitted()


def added(line: tuple[str, str]) -> str:
    """Return the text of the line, after a check that all others are unchanged."""
    read = submitted(line)
    text = read.pop(line[0])
    # the only command that has a value of ours and may be replaced
    ours = {key: value for key, value in OURS.items() if line[0] != key or key != "priority"}
    assert read == ours
    return text


@given(names, values)
@example("A", "\u00a0x")
def test_attribute_has_exactly_the_value_of_the_resource(name, value):
    try:
        line = attribute(name, value)
    except InputError:
        return
    ad = classad2.parseOne(f"A = {added(line)}\n", classad2.ParserType.Old)
    assert list(ad) == ["A"]
    got = ad["A"]
    assert (got, type(got)) == (value, type(value))


@given(names, values)
@example("PRIORITY", 7)
@example("priority", False)
def test_command_has_exactly_the_text_of_the_resource(name, value):
    try:
        line = submit_command(name, value)
    except InputError:
        return
    if line[0] == "requirements":
        return
    text = added(line)
    assert text == (value.strip() if isinstance(value, str) else line[1])


@given(hostile)
def test_requirements_never_loosen_the_defaults(text):
    try:
        line = submit_command("requirements", text)
    except InputError:
        return
    read = submitted(line)
    assert read.keys() == OURS.keys()
    assert {k: v for k, v in read.items() if k != "requirements"} == {
        k: v for k, v in OURS.items() if k != "requirements"
    }
    never = read["requirements"].replace(OURS["requirements"], "false", 1)
    assert classad2.ExprTree(never).eval() is False
