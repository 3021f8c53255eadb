"""Submit descriptions, event logs as HTCondor writes them, and the worker process."""

import sys
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.access_point import client
from snakemake_executor_plugin_osgpilot.access_point.description import (
    claimed_memory_mb,
    describe,
    items,
    requirements,
    runtime_bucket_s,
)
from snakemake_executor_plugin_osgpilot.access_point.events import EventLog
from snakemake_executor_plugin_osgpilot.core.jobs import EventKind
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.errors import BadInput, Refused, Unanswered
from snakemake_executor_plugin_osgpilot.ports import Seat, Submission

SEAT = Seat("alice", "MyProject", "r1")
FOLDER = Path("/home/alice/my work/.snakemake/osgpilot/r1")


def submission(**more):
    return Submission(("000001",), Request(JobClass(Shape(2, 500, 1000)), **more))


def test_a_job_carries_project_workflow_and_key():
    text = describe(submission(), SEAT, FOLDER)
    assert text["My.ProjectName"] == '"MyProject"'
    assert text["My.OSGPilotWorkflow"] == '"r1"'
    assert text["My.OSGPilotJobKey"] == '"r1/$(OSGPilotKey)"'
    assert (text["request_cpus"], text["request_memory"]) == ("2", "500")


def test_a_failing_rule_never_misses_its_output_folder():
    text = describe(submission(), SEAT, FOLDER)
    assert text["transfer_output_files"] == "osgpilot-out"
    assert text["when_to_transfer_output"] == "ON_EXIT"


@pytest.mark.parametrize("bad", ["/w/$(HOME)", "/w/a\n+Evil = 1", '/w/"x"', "/w/x;y"])
def test_a_folder_that_the_submit_language_would_read_otherwise_is_refused(bad):
    with pytest.raises(BadInput, match="working folder"):
        describe(submission(), SEAT, Path(bad))


def test_urls_are_listed_for_the_job_that_wants_them():
    request = Request(JobClass(Shape(2, 500, 1000)))
    both = Submission(("1", "2"), request, {"2": ("https://h/a", "osdf:///b")})
    assert items(both) == [
        {"OSGPilotKey": "1", "OSGPilotUrls": ""},
        {"OSGPilotKey": "2", "OSGPilotUrls": ",https://h/a,osdf:///b"},
    ]
    assert describe(both, SEAT, FOLDER)["transfer_input_files"] == "in/$(OSGPilotUrls)"


@pytest.mark.parametrize("bad", ["https://h/a,b", "https://h/$(X)", "https://h/a b", "a", "h://\n"])
def test_a_url_cannot_carry_commands(bad):
    with pytest.raises(BadInput, match="the URL"):
        items(Submission(("1",), Request(JobClass(Shape(2, 500, 1000))), {"1": (bad,)}))


@pytest.mark.parametrize("bad", ["x\n+Evil=1", "$(X)", "a b", 'docker://"'])
def test_an_image_name_cannot_carry_commands(bad):
    with pytest.raises(BadInput, match="container_image"):
        describe(submission(container_image=bad), SEAT, FOLDER)


def test_an_image_makes_a_container_job():
    text = describe(submission(container_image="/opt/a.sif"), SEAT, FOLDER)
    assert (text["universe"], text["container_image"]) == ("container", "/opt/a.sif")


def test_memory_is_counted_as_the_pilot_will_hand_it_out():
    assert [claimed_memory_mb(mb) for mb in (1, 128, 500, 512, 3800)] == [128, 128, 512, 512, 3840]


def test_runtimes_share_few_requirements():
    assert {runtime_bucket_s(s) for s in range(1, 301)} == {300}
    assert runtime_bucket_s(0) == 0
    assert runtime_bucket_s(100_000) == 100_000
    assert "GLIDEIN_ToDie" in requirements(300)
    assert requirements(0) == "true"


LOG = (Path(__file__).parent / "event_log.txt").read_text()
"""Written by HTCondor 25.14 for real jobs; the host's addresses are shortened."""


def test_an_event_log_is_read_once_and_in_order(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    assert log.read() == []
    with path.open("a") as opened:
        opened.write(LOG)
    events = log.read()
    assert [(i, e.kind) for i, e in events] == [
        ("12.0", EventKind.SUBMIT),
        ("12.0", EventKind.EXECUTE),
        ("12.0", EventKind.TERMINATED),
        ("12.1", EventKind.ABORTED),
        ("12.2", EventKind.HELD),
    ]
    executed, ended, removed, held = (e for _, e in events[1:])
    assert (executed.pilot, executed.allocation_id) == ("osgpilot-r1-1", "42")
    assert (ended.exit_status, ended.at_s - executed.at_s) == (3, 5)
    assert removed.text == "osgpilot: the workflow ended (by user alice)"
    assert "disk quota exceeded" in held.text
    assert log.read() == []
    log.close()


FAKE_WORKER = """
import json, os, sys, time
for line in sys.stdin:
    do = json.loads(line)["do"]
    if do == "sleep": time.sleep(60)
    if do == "die": os._exit(1)
    errors = {"refuse": "Invalid thing", "fail": "Failed to connect to schedd"}
    answer = {"error": errors[do]} if do in errors else {"ok": os.getpid()}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def worker(monkeypatch):
    start = client.start_worker
    monkeypatch.setattr(
        client, "start_worker", lambda _, env: start([sys.executable, "-c", FAKE_WORKER], env)
    )
    made = client.Worker()
    yield made
    made.close()


def test_one_worker_serves_many_requests(worker):
    first = worker.ask({"do": "pid"}, timeout_s=20)
    assert worker.ask({"do": "pid"}, timeout_s=20) == first


def test_a_worker_that_hangs_is_replaced_after_the_deadline(worker):
    first = worker.ask({"do": "pid"}, timeout_s=20)
    with pytest.raises(Unanswered, match="did not answer `sleep`"):
        worker.ask({"do": "sleep"}, timeout_s=0.2)
    assert worker.ask({"do": "pid"}, timeout_s=20) != first


def test_a_worker_that_dies_is_replaced(worker):
    with pytest.raises(Unanswered):
        worker.ask({"do": "die"}, timeout_s=20)
    assert worker.ask({"do": "pid"}, timeout_s=20)


def test_no_is_told_from_no_answer(worker):
    with pytest.raises(Refused, match="Invalid thing"):
        worker.ask({"do": "refuse"}, timeout_s=20)
    with pytest.raises(Unanswered, match="connect"):
        worker.ask({"do": "fail"}, timeout_s=20)
