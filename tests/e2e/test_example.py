"""The example workflow, as a newcomer runs it."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "example-workflow"
RESULTS = EXAMPLE / "results"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def in_pool(*command: str) -> str:
    done = run("osgpilot", "pool", "exec", "--", *command)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def pool() -> Iterator[None]:
    """A pool that outlives the example, so that what it left there can be seen."""
    was_up = run("osgpilot", "pool", "exec", "--dir", "/", "--", "true").returncode == 0
    yield
    if not was_up:
        run("osgpilot", "pool", "down")


@pytest.fixture(scope="module")
def output(pool: None) -> str:
    done = run(str(EXAMPLE / "run"), "--keep")
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def record(output: str) -> dict[str, Any]:
    status = run("osgpilot", "status", "--json", "--dir", str(EXAMPLE))
    assert status.returncode == 0, status.stdout
    content: dict[str, Any] = json.loads(status.stdout)
    return content


@pytest.mark.usefixtures("output")
def test_variants_are_called() -> None:
    with gzip.open(RESULTS / "variants.vcf.gz", "rt") as lines:
        variants = [line for line in lines if not line.startswith("#")]
    assert len(variants) > 50


def test_the_plot_is_drawn_where_the_last_line_says(output: str) -> None:
    plot = Path(output.splitlines()[-1].removeprefix("Plot: "))
    assert plot == RESULTS / "coverage.png"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_table_names_the_slurm_jobs_that_ran_each_rule(
    output: str, record: dict[str, Any]
) -> None:
    jobs = {name: rule["jobs"] for name, rule in record["rules"].items()}
    assert jobs == {"split": 2, "index": 1, "map": 40, "merge": 1, "call": 1, "depth": 1, "plot": 1}
    table = output[output.rindex(f"run {record['run']}") :]
    for name, rule in record["rules"].items():
        assert rule["done"] == rule["jobs"]
        slurm_jobs = ", ".join(sorted(rule["allocations"], key=int))
        assert re.search(rf"\b{name}\b.*\b{slurm_jobs}\b", table)


def test_more_than_one_pilot_ran_jobs(record: dict[str, Any]) -> None:
    started = {pilot["allocation"] for pilot in record["pilots"]}
    served = {a for rule in record["rules"].values() for a in rule["allocations"]}
    assert len(served) >= 2
    assert served <= started
    assert 0 < record["used_core_h"] <= record["charged_core_h"]


@pytest.mark.usefixtures("output")
def test_the_next_plan_expects_of_pilots_what_these_took() -> None:
    planned = in_pool("sh", "-c", f"cd {EXAMPLE} && osgpilot plan -- --forceall")
    assert re.search(r"boot .*: from [1-4] pilots? of the run of 2", planned), planned


@pytest.mark.usefixtures("output")
def test_nothing_is_left_in_slurm_and_htcondor() -> None:
    assert in_pool("squeue", "--noheader") == ""
    assert in_pool("condor_q", "-allusers", "-af", "ClusterId") == ""
