"""Short jobs travel several at a time; in all other respects each is a job of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from conftest import PATIENCE_S, SITE, nothing_left, pilots_in_slurm, tool, until

JOBS = 40

KINDS = f"""
N = range({JOBS})
RULES = "good", "fails", "big", "evil"
rule all:
    input: expand("{{rule}}/{{n}}", n=N, rule=RULES)

rule good:
    input: "in/{{n}}"
    output: "good/{{n}}"
    log: "log/{{n}}"
    benchmark: "benchmark/{{n}}"
    resources: mem_mb=128
    shell: "cat {{input}} {{input}} > {{output}}; echo said {{wildcards.n}} > {{log}}"

rule fails:
    output: "fails/{{n}}"
    resources: mem_mb=128, attempt=lambda wildcards, attempt: attempt
    retries: 1
    shell:
        "[ {{wildcards.n}} != 30 ] || [ {{resources.attempt}} = 2 ]; "
        "echo {{resources.attempt}} > {{output}}"

# each state lasts until the test has seen it
rule big:
    output: "big/{{n}}"
    resources: mem_mb=128, attempt=lambda wildcards, attempt: attempt
    retries: 1
    shell:
        "[ {{wildcards.n}} != 30 ] || "
        "(head -c 300M /dev/zero; ! grep -q '^RequestMemory = 128$' $_CONDOR_JOB_AD || sleep 600) |"
        " tail -c 300M > x; echo {{resources.attempt}} > {{output}}"

# one of them takes away what has ended and what is to come, and ends the bundle
rule evil:
    output: "evil/{{n}}"
    resources: mem_mb=128
    shell:
        "[ {{wildcards.n}} != 30 ] || [ ! -e ../osgpilot-out ] || "
        "{{{{ rm -rf ../osgpilot-out/0* ../0*/; ln -s /etc/passwd ../osgpilot-out/link; "
        "kill -KILL $PPID; }}}}; echo {{wildcards.n}} > {{output}}"
"""


def folders(workflow) -> list[Path]:
    return list((workflow.folder / ".snakemake/osgpilot").glob("*/"))


def log(workflow) -> str:
    return "".join((folder / "jobs.log").read_text() for folder in folders(workflow))


def submitted(workflow) -> list[str]:
    """Return the keys of the jobs in each job of HTCondor."""
    return re.findall(r"^\s*osgpilot ([0-9+]+)$", log(workflow), re.M)


def text(workflow, rule: str) -> list[str]:
    return [(workflow.folder / rule / str(n)).read_text() for n in range(JOBS)]


def test_bundled_jobs_fail_grow_and_are_hostile_each_on_its_own(workflow):
    workflow.write_site(
        {
            **SITE,
            "condor": {
                **SITE["condor"],
                "STARTER_UPDATE_INTERVAL": 3,
                "STARTER_INITIAL_UPDATE_INTERVAL": 2,
            },
        }
    )
    workflow.snakefile(KINDS)
    (workflow.folder / "in").mkdir()
    for n in range(JOBS):
        # some are too large to be part of the job's own file
        (workflow.folder / "in" / str(n)).write_text(f"{n}\n" * (100_000 if n % 3 == 0 else 1))
    assert workflow.run("--osgpilot-max-pilots", "1") == 0, workflow.said
    print(workflow.said)
    together = Counter(len([k for k in keys.split("+") if k]) for keys in submitted(workflow))
    print(together)
    assert sum(n * count for n, count in together.items()) > 4 * JOBS
    assert max(together) > 2
    # on a busy machine jobs take longer, and bundles are smaller
    assert 2 * together[1] < sum(n * count for n, count in together.items()), "most are in bundles"
    for n, content in enumerate(text(workflow, "good")):
        assert content == f"{n}\n" * (200_000 if n % 3 == 0 else 2)
        assert (workflow.folder / "log" / str(n)).read_text() == f"said {n}\n"
        assert (workflow.folder / "benchmark" / str(n)).read_text().startswith("s\th:m:s")
    attempts = ["2\n" if n == 30 else "1\n" for n in range(JOBS)]
    assert text(workflow, "fails") == attempts, "one failed, and only that one was retried"
    assert text(workflow, "big") == ["1\n"] * JOBS, "more memory is no retry of Snakemake"
    assert "exceeded 128 MB of memory" in workflow.said
    assert text(workflow, "evil") == [f"{n}\n" for n in range(JOBS)]
    rules = workflow.record()["rules"]
    for rule in ("good", "big", "evil"):
        assert (rules[rule]["done"], rules[rule]["failed"]) == (JOBS, 0)
    (folder,) = folders(workflow)
    assert len(list((folder / "jobs").iterdir())) == 1, "that of the job that failed"
    assert nothing_left()


BLOCKED = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))
rule one:
    output: "out/{{n}}"
    shell:
        "echo {{wildcards.n}} >> {place}/ran; "
        "[ ! -e $_CONDOR_SCRATCH_DIR/../osgpilot-job ] || "
        "until [ -e {place}/open ]; do sleep 0.2; done; "
        "echo {{wildcards.n}} > {{output}}"
"""
"""Jobs by themselves end at once; those in bundles wait."""


def start_blocked(workflow, place):
    workflow.snakefile(BLOCKED.format(place=place, jobs=JOBS))
    process = workflow.start(
        "--osgpilot-shared-prefixes",
        str(place),
        "--osgpilot-max-pilots",
        "1",
        "--nolock",
        "--rerun-incomplete",
    )
    until(lambda: bundles_running(workflow) >= 2, "bundles that run")
    return process


def bundles_running(workflow) -> int:
    if not folders(workflow):
        return 0
    events = re.findall(r"^(00[015]) \((\d+\.\d+)", log(workflow), re.M)
    bundles = [
        i
        for (kind, i), _ in zip(
            ((k, i) for k, i in events if k == "000"), submitted(workflow), strict=False
        )
    ]
    together = {i for i, keys in zip(bundles, submitted(workflow), strict=False) if "+" in keys}
    return len(together & {i for kind, i in events if kind == "001"})


def all_done(workflow) -> None:
    assert [(workflow.folder / "out" / str(n)).read_text() for n in range(JOBS)] == [
        f"{n}\n" for n in range(JOBS)
    ]
    counts = json.loads((folders(workflow)[0] / "record.json").read_text())["rules"]["one"]
    assert (counts["jobs"], counts["done"], counts["failed"]) == (JOBS, JOBS, 0)
    assert nothing_left()


def test_bundles_continue_while_snakemake_is_dead_and_nothing_runs_twice(workflow, shared):
    process = start_blocked(workflow, shared)
    explained = subprocess.run(
        [sys.executable, "-m", "snakemake_executor_plugin_osgpilot", "explain", "one"],
        cwd=workflow.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(explained.stdout, explained.stderr)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(submitted(workflow))
    (shared / "open").touch()
    until(lambda: log(workflow).count("\n005 (") >= before, "the end of the bundles")
    assert (
        workflow.run(
            "--osgpilot-shared-prefixes",
            str(shared),
            "--osgpilot-max-pilots",
            "1",
            "--nolock",
            "--rerun-incomplete",
        )
        == 0
    ), workflow.said
    print(workflow.said)
    ran = Counter((shared / "ran").read_text().split())
    assert set(ran.values()) == {1}, ran
    all_done(workflow)


def test_a_bundle_that_is_lost_with_its_pilot_costs_no_job(workflow, shared):
    process = start_blocked(workflow, shared)
    (pilot,) = pilots_in_slurm()
    tool("scancel", "--signal=KILL", "--full", pilot.split()[0])
    (shared / "open").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    print(workflow.said)
    assert "did not end in their bundle; they run one by one" in workflow.said
    all_done(workflow)


CHAINS = """
N = range(160)
rule all:
    input: expand("second/{n}", n=N)
rule first:
    output: "first/{n}"
    shell: "sleep 0.5; echo {wildcards.n} > {output}"
rule second:
    input: "first/{n}"
    output: "second/{n}"
    resources: osgpilot_bundle="off"
    shell: "cat {input} > {output}"
"""


def test_results_that_others_wait_for_one_by_one_come_back_early(workflow):
    workflow.snakefile(CHAINS)
    assert workflow.run("--osgpilot-max-pilots", "1") == 0, workflow.said
    bundles = [len(list(filter(None, keys.split("+")))) for keys in submitted(workflow)]
    print(bundles)
    assert max(bundles) > 1, "jobs of half a second are bundled"
    assert max(bundles) <= 20, "in ten seconds; without the jobs that wait, a bundle has 26"
    for n in range(160):
        assert (workflow.folder / "second" / str(n)).read_text() == f"{n}\n"
    assert nothing_left()


KNOWN = """
rule all:
    input: expand("out/{n}", n=range(60))
rule one:
    input: "in"
    output: "out/{n}"
    shell: "sleep 0.2; cat {input} > {output}"
"""


def test_what_earlier_runs_took_is_known_from_the_first_job_on(workflow):
    workflow.snakefile(KNOWN)
    (workflow.folder / "in").write_text("x\n")
    assert workflow.run("--osgpilot-max-pilots", "1") == 0, workflow.said
    assert "+" not in submitted(workflow)[0], "nothing is known of the first job"
    (first,) = folders(workflow)
    assert workflow.run("--osgpilot-max-pilots", "1", "--forceall") == 0, workflow.said
    (again,) = (folder for folder in folders(workflow) if folder != first)
    before_any_start = (again / "jobs.log").read_text().partition("\n001 (")[0]
    known = re.findall(r"^\s*osgpilot ([0-9+]+)$", before_any_start, re.M)
    assert any("+" in keys for keys in known), known
    for n in range(60):
        assert (workflow.folder / "out" / str(n)).read_text() == "x\n"
    assert nothing_left()
