"""The order in which jobs start: the priority of their rule, then the longest ones first."""

from __future__ import annotations

import json

import pytest
from conftest import PATIENCE_S, Workflow, past_jobs, tool, until

from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY
from snakemake_executor_plugin_osgpilot.report.replay import fold

KILOBYTES = [*(7 * n % 25 for n in range(1, 25)), 2, 40, 8, 20, 4, 12]
"""Size of each job's input; a job takes a second for six of them, and one more."""

SNAKEFILE = """
rule all:
    input: expand("out/{n}", n=NUMBERS), URGENT
rule map:
    input: "in/{n}"
    output: "out/{n}"
    shell:
        "sleep $(($(stat -c %s {input}) / 6000 + 1)); touch {output}"
rule urgent:
    output: "urgent"
    priority: 5
    shell: "sleep 1; touch {output}"
"""


def idle_in_order(workflow: Workflow) -> list[str]:
    """Return the labels of the idle jobs in the queue, as the schedd takes them."""
    listed = tool(
        "condor_q", "-constraint", "JobStatus == 1 && OSGPilotJobKey =!= undefined",
        "-af", "JobPrio", "ProcId", "OSGPilotJobKey",
    )  # fmt: skip
    rows = [(-int(prio), int(proc), key) for prio, proc, key in map(str.split, listed.splitlines())]
    if len({prio for prio, *_ in rows}) < 2:
        return []
    known = labels(workflow, rows[0][-1].partition("/")[0])
    keys = [key.partition("/")[2] for *_, key in sorted(rows)]
    # the history is written a moment later
    return [known[key] for key in keys] if known.keys() >= {*keys} else []


def labels(workflow: Workflow, run: str) -> dict[str, str]:
    """Return what distinguishes each job from others of its rule, by its key."""
    history = workflow.folder / ".snakemake/osgpilot" / run / HISTORY
    jobs = fold(map(json.loads, history.read_text().splitlines())).jobs
    return {key: job.label.removeprefix("n=") for key, job in jobs.items()}


def started_s(workflow: Workflow) -> dict[str, int]:
    """Return when the schedd started each job of the latest run, by label, in seconds."""
    run = workflow.record()["run"]
    known = labels(workflow, run)
    return {
        known[ad["OSGPilotJobKey"].partition("/")[2]]: ad["JobCurrentStartDate"]
        for ad in past_jobs(run)
    }


def longest_first(labels: list[str]) -> bool:
    """Return True if of several jobs whose runtimes differ much the longer ones are first."""
    sizes = [KILOBYTES[int(label)] for label in labels]
    return len(sizes) > 3 and all(
        later < 1.5 * earlier for at, earlier in enumerate(sizes) for later in sizes[at:]
    )


def test_jobs_start_by_priority_and_the_longest_first_as_inputs_show(
    workflow: Workflow, request: pytest.FixtureRequest
):
    (workflow.folder / "in").mkdir()
    for number, kilobytes in enumerate(KILOBYTES):
        (workflow.folder / f"in/{number}").write_bytes(b"x" * 1000 * kilobytes)

    def snakefile(numbers: list[int], urgent: list[str]) -> None:
        text = SNAKEFILE.replace("NUMBERS", str(numbers))
        workflow.snakefile(text.replace("URGENT", str(urgent)))

    # in the first run it is learned from the first jobs, and the others are put in order
    snakefile(list(range(24)), [])
    # the queue has each job by itself
    limits = ("--osgpilot-max-pilots", "1", "--osgpilot-bundle", "off")
    process = workflow.start(*limits)
    until(lambda: longest_first(idle_in_order(workflow)), "an order by size", PATIENCE_S)
    assert process.wait(PATIENCE_S) == 0, workflow.said

    # a later run knows it from the start; no pilot is there yet
    full_cluster = request.getfixturevalue("full_cluster")
    snakefile(list(range(24, 30)), ["urgent"])
    process = workflow.start(*limits)
    longest = sorted(range(24, 30), key=KILOBYTES.__getitem__, reverse=True)
    wanted = ["", *map(str, longest)]
    until(lambda: idle_in_order(workflow) == wanted, "all jobs in the queue", PATIENCE_S)
    full_cluster()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    starts_s = started_s(workflow)
    others_s = [starts_s.pop(str(n)) for n in longest[3:]]
    assert max(starts_s.values()) <= min(others_s), "the pilot has capacity for four at a time"
