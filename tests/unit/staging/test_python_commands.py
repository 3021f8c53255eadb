"""Shell commands that need the Python environment of Snakemake."""

import pytest

from snakemake_executor_plugin_osgpilot.staging.python_commands import (
    programs,
    runs_any_of,
    runs_python_script,
)

PREFIX = "/home/me/envs/snakemake"


@pytest.mark.parametrize(
    "command",
    [
        "python scripts/x.py {input} > {output}",
        "\n    python3 -m package\n",
        "python3.12 x.py",
        "set -e; cat {input} | python x.py",
        "mkdir -p out && (cd out; PYTHONPATH=. python x.py)",
        "x=$(python -c 'print(1)'); echo $x",
        "if true; then time nice -n 5 python x.py; fi",
        "timeout 60 python x.py",
        "{{ python x.py; }} > {output}",
        f"{PREFIX}/bin/python x.py",
        "multiqc . && mv multiqc_report.html {output}",
        '"python" x.py',
    ],
)
def test_commands_of_the_environment_are_recognized(command):
    assert runs_any_of(command, PREFIX, {"multiqc"})


@pytest.mark.parametrize(
    "command",
    [
        "cp scripts/python.txt {output}",
        "echo python > {output}",
        "samtools view {input} python",
        "bash python/x.sh",
        "/usr/bin/python2.7 x.py",
        "{params.python}/run {input}",
        f"cat {PREFIX}/bin/python",
        "",
    ],
)
def test_other_commands_run_on_the_node_as_it_is(command):
    assert not runs_any_of(command, PREFIX, {"multiqc"})


@pytest.mark.parametrize(
    ("first_line", "is_python"),
    [
        ("#!/usr/bin/env python", True),
        ("#! /usr/bin/env -S python3 -u", True),
        ("#!/usr/bin/python3", False),
        ("#!/usr/bin/env perl", False),
        ("# python", False),
        ("", False),
    ],
)
def test_scripts_that_ask_for_python_are_recognized_by_their_first_line(
    tmp_path, monkeypatch, first_line, is_python
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x").write_text(f"{first_line}\n")
    for command in ("scripts/x {input}", "cat y | {workflow.basedir}/scripts/x", "'./scripts/x'"):
        assert runs_python_script(command, str(tmp_path)) is is_python
    for command in ("cat scripts/x", "bash scripts/x", "scripts/none", "scripts", "{input}/x"):
        assert not runs_python_script(command, str(tmp_path))


def test_every_command_of_a_line_counts():
    assert list(programs("A=1 a x | b y && c; (d) & e")) == ["a", "b", "c", "d", "e"]
