"""An access point on another host, with a double of the worker process."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import SEAT, HandClock

from snakemake_executor_plugin_osgpilot.errors import MissingPrerequisiteError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.htcondor import remote_schedd as remote
from snakemake_executor_plugin_osgpilot.htcondor.bundle_folder import STATUS
from snakemake_executor_plugin_osgpilot.htcondor.job_ad import NODE, PILOT, job_snapshot
from snakemake_executor_plugin_osgpilot.htcondor.polling import Status
from snakemake_executor_plugin_osgpilot.htcondor.remote_schedd import Address, RemoteAccessPoint
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import (
    INPUT_FOLDER,
    JOB_FILE,
    OUTPUT_FOLDER,
    describe,
    spooled,
)
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

REQUEST = Request(JobClass(Shape(1, 500)))
IDLE = {"JobStatus": 1, "ServerTime": 1010, "QDate": 1000, "EnteredCurrentStatus": 1000}
RUNNING = {
    **IDLE, "JobStatus": 2, "NumShadowStarts": 1, "EnteredCurrentStatus": 1020,
    "JobCurrentStartDate": 1020, "JobCurrentStartExecutingDate": 1021, PILOT: "p1", NODE: "n1",
}  # fmt: skip
DONE = {**RUNNING, "JobStatus": 4, "EnteredCurrentStatus": 1050, "ExitCode": 0}


class FakeWorker:
    """A schedd in memory; `fails` is raised at every request whose name is in it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.queue: dict[str, dict] = {}
        self.past: dict[str, dict] = {}
        self.removed: list[str] = []
        self.unfetchable: set[str] = set()
        self.fails: dict[str, Exception] = {}
        self.on_retrieve = lambda: None
        self.answer_to_greet: dict[str, object] = {"user": "alice@there", "token": {}}

    def ask(self, request, *, timeout_s):
        do = request["do"]
        self.asked.append(do)
        assert request["at"] == {"schedd": "ap", "collector": "cm"}
        if error := self.fails.get(do):
            raise error
        return getattr(self, f"do_{do}")(request)

    def do_greet(self, request):
        return self.answer_to_greet

    def do_submit(self, request):
        self.described = request["description"]
        self.queue |= {f"1.{n}": IDLE for n in range(len(request["items"]))}
        return {"cluster": 1, "first_proc": 0}

    def do_look(self, request):
        return dict(self.queue)

    def do_history(self, request):
        return {i: self.past[i] for i in request["ids"] if i in self.past}

    def do_retrieve(self, request):
        self.on_retrieve()
        failed = sorted(self.unfetchable & set(request["ids"]))
        return {"failed": failed, "why": "half of it" if failed else ""}

    def do_remove(self, request):
        gone = list(self.queue) if request["ids"] is None else request["ids"]
        self.removed += gone
        for job_id in gone:
            self.queue.pop(job_id, None)

    def do_keep_image(self, request):
        self.kept = request
        return {"cluster": 7, "path": "/spool/7/a.sif"}

    def do_find(self, request):
        return {f"r1/{n}": job_id for n, job_id in enumerate(self.queue)}

    def close(self):
        """Nothing to close."""


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def worker():
    return FakeWorker()


@pytest.fixture
def there(clock, worker):
    """An access point with two jobs in its queue."""
    made = RemoteAccessPoint(SEAT, Path("/w/r1"), "cm", Address("ap", "cm"), clock, poll_s=60)
    made._worker = worker
    assert made.submit(Submission(("a", "b"), REQUEST)) == {"a": "1.0", "b": "1.1"}
    worker.asked.clear()
    return made


@pytest.fixture
def bundled(clock, worker, tmp_path):
    """An access point with a bundle of two jobs and what came back of the first in its queue."""
    for key in ("a1", "b1"):
        (tmp_path / "jobs" / key / INPUT_FOLDER).mkdir(parents=True)
        (tmp_path / "jobs" / key / INPUT_FOLDER / JOB_FILE).write_text("exit\n\0" + 3 * "0\0")
    made = RemoteAccessPoint(SEAT, tmp_path, "cm", Address("ap", "cm"), clock, poll_s=60)
    made._worker = worker
    submission = Submission(("a1", "b1"), REQUEST, bundles=(("a1", "b1"),), bundle_s=60.0)
    assert made.submit(submission) == {"a1": "1.0/0", "b1": "1.0/1"}
    return made


def comes_back(tmp_path):
    """The files that HTCondor fetches for a bundle whose second job did not end, in one folder."""
    back = tmp_path / "jobs/bundle-a1" / OUTPUT_FOLDER / "a1"
    back.parent.mkdir(exist_ok=True)
    back.mkdir(exist_ok=True)
    (back / "returned").mkdir(exist_ok=True)
    (back / "status").write_text("3 0 1 5\n")


def test_the_jobs_of_a_bundle_end_when_their_results_were_fetched(bundled, worker, clock, tmp_path):
    assert new_events(bundled, clock) == [("1.0/0", EventKind.SUBMIT), ("1.0/1", EventKind.SUBMIT)]
    worker.queue["1.0"] = RUNNING
    assert new_events(bundled, clock) == [
        ("1.0/0", EventKind.EXECUTE), ("1.0/1", EventKind.MATCHED),
    ]  # fmt: skip
    worker.queue["1.0"] = DONE
    worker.on_retrieve = lambda: comes_back(tmp_path)
    clock.at_s += 60
    (first, ended), (second, apart) = bundled.events()
    assert (first, ended.kind, ended.exit_status) == ("1.0/0", EventKind.TERMINATED, 3)
    assert (second, apart.kind) == ("1.0/1", EventKind.APART)
    assert (tmp_path / "jobs/a1" / OUTPUT_FOLDER).is_dir()


def test_results_that_were_taken_just_before_a_session_died_are_fetched_again(
    bundled, worker, clock, tmp_path
):
    comes_back(tmp_path)
    bundled._bundle_folders.take(("a1", "b1"))
    worker.queue["1.0"] = DONE
    worker.on_retrieve = lambda: comes_back(tmp_path)
    kinds = dict(new_events(bundled, clock))
    assert kinds["1.0/0"] is EventKind.TERMINATED


CLEARED = {
    **DONE, "JobStatus": 3, "EnteredCurrentStatus": 1060, "CompletionDate": 1050,
    "RemoveReason": "osgpilot: its outputs were fetched (by user alice)",
}  # fmt: skip


def test_jobs_that_a_session_fetched_before_it_died_have_all_their_events(clock, worker, tmp_path):
    (tmp_path / "jobs/a1").mkdir(parents=True)
    (tmp_path / "jobs/a1" / STATUS).write_text("3 0 1 5\n")
    worker.past = {
        "1.0": {**CLEARED, "OSGPilotJobKey": "r1/a1+b1+"},
        "1.1": {**CLEARED, "OSGPilotJobKey": "r1/c1"},
        "1.2": {**CLEARED, "OSGPilotJobKey": "r1/d1", "RemoveReason": "by bob"},
    }
    later = RemoteAccessPoint(SEAT, tmp_path, "cm", Address("ap", "cm"), clock, poll_s=60)
    later._worker = worker
    wanted = ("1.0/0", "1.1", "1.2")
    found = later.past_events(wanted)
    by_job = {i: [event for own, event in found if own == i] for i in wanted}
    kinds = {i: [event.kind for event in events] for i, events in by_job.items()}
    before = [EventKind.SUBMIT, EventKind.EXECUTE]
    assert kinds["1.0/0"] == kinds["1.1"] == [*before, EventKind.TERMINATED]
    assert kinds["1.2"] == [*before, EventKind.ABORTED]
    assert by_job["1.0/0"][-1].exit_status == 3
    assert by_job["1.1"][-1].at_s == 1050, "the end of its command, not that of its ad"


def test_a_run_folder_that_cannot_be_written_leaves_the_end_of_a_bundle_to_the_fetch(
    bundled, worker, clock, tmp_path
):
    shutil.rmtree(tmp_path / "jobs")
    worker.queue["1.0"] = DONE
    worker.unfetchable = {"1.0"}
    with pytest.raises(OutcomeUnknownError, match="outputs cannot be fetched: half of it"):
        new_events(bundled, clock)
    assert worker.queue, "it is still there"


def test_a_job_of_a_bundle_is_removed_with_its_bundle(bundled, worker, clock):
    bundled.remove(["1.0/1"], "test")
    assert worker.removed == ["1.0"]
    assert new_events(bundled, clock) == []


def new_events(access_point, clock, after_s=60.0):
    clock.at_s += after_s
    return [(job_id, event.kind) for job_id, event in access_point.events()]


@pytest.mark.parametrize(
    ("version", "image", "more", "used"),
    [
        ("$CondorVersion: 25.14.1 2026 $", "a.sif", {}, "/spool/7/a.sif"),
        ("$CondorVersion: 25.0.1 2026 $", "a.sif", {}, None),
        ("$CondorVersion: 25.14.1 2026 $", "a.sif", {"transfer_image": False}, None),
        ("$CondorVersion: 25.14.1 2026 $", "a.sif", {"common": False}, None),
        ("$CondorVersion: 25.14.1 2026 $", "https://h/a.sif", {}, None),
    ],
)
def test_an_image_is_kept_at_an_access_point_that_can(
    there, worker, tmp_path, version, image, more, used
):
    (tmp_path / "a.sif").write_text("image")
    image = image if "://" in image else str(tmp_path / image)
    worker.answer_to_greet = {"user": "alice@there", "token": {}, "version": version}
    there.ping()
    there.submit(Submission(("c",), replace(REQUEST, container_image=image, **more)))
    assert worker.described["container_image"] == (used or image)
    assert worker.described.get("container_is_common") == ("true" if used else None)
    assert worker.described.get("My.DAGManJobId") == ("7" if used else None)
    assert ("keep_image" in worker.asked) is bool(used)
    if used:
        assert worker.kept["description"]["transfer_input_files"] == image
        assert worker.kept["description"]["requirements"] == "false"
        named = worker.kept["description"]["My.OSGPilotImage"]
        assert worker.kept["constraint"].endswith(f"OSGPilotImage =?= {named}")
        (tmp_path / "a.sif").write_text("another")
        there.submit(Submission(("d",), replace(REQUEST, container_image=image, **more)))
        assert worker.kept["description"]["My.OSGPilotImage"] != named


def test_queue_is_polled_once_per_interval(there, worker, clock):
    for _ in range(50):
        there.events()
        clock.at_s += 1
    assert worker.asked == []
    clock.at_s += 10
    assert [job_id for job_id, _ in there.events()] == ["1.0", "1.1"]
    assert there.events() == []
    assert worker.asked == ["look"]


def test_end_is_reported_after_outputs_arrived(there, worker, clock):
    worker.queue = {"1.0": DONE, "1.1": RUNNING}
    worker.unfetchable = {"1.0"}
    assert ("1.0", EventKind.TERMINATED) not in new_events(there, clock)
    worker.unfetchable = set()
    assert new_events(there, clock) == [
        ("1.0", EventKind.SUBMIT),
        ("1.0", EventKind.EXECUTE),
        ("1.0", EventKind.TERMINATED),
    ]


def test_reported_job_is_removed_at_the_next_poll(there, worker, clock):
    worker.queue = {"1.0": DONE, "1.1": RUNNING}
    new_events(there, clock)
    assert worker.removed == []
    assert new_events(there, clock) == []
    assert worker.removed == ["1.0"]


def test_reported_job_is_removed_at_close(there, worker, clock):
    worker.queue = {"1.0": DONE, "1.1": DONE}
    new_events(there, clock)
    there.close()
    assert worker.removed == ["1.0", "1.1"]


def test_end_without_outputs_is_reported_after_retries(there, worker, clock):
    worker.queue["1.0"] = DONE
    worker.unfetchable = {"1.0"}
    for _ in range(remote.FETCH_TRIES - 1):
        assert ("1.0", EventKind.TERMINATED) not in new_events(there, clock)
        with pytest.raises(OutcomeUnknownError, match="half of it"):
            there.events()
        worker.queue["1.1"] = RUNNING if worker.queue["1.1"] is IDLE else IDLE
    assert ("1.0", EventKind.TERMINATED) in new_events(there, clock)


def test_failed_poll_proves_nothing(there, worker, clock):
    new_events(there, clock)
    worker.fails["look"] = OutcomeUnknownError("no answer")
    clock.at_s += 60
    for _ in range(3):
        with pytest.raises(OutcomeUnknownError, match="no answer"):
            there.events()
    assert worker.asked.count("look") == 2
    del worker.fails["look"]
    assert new_events(there, clock) == []


def test_job_missing_from_the_queue_is_in_the_history(there, worker, clock):
    new_events(there, clock)
    worker.queue = {}
    worker.past = {
        "1.0": {**RUNNING, "JobStatus": 3, "RemoveReason": "by bob"},
        "1.1": {**DONE, "ExitBySignal": True, "ExitSignal": 9},
    }
    clock.at_s += 60
    ends = {job_id: event for job_id, event in there.events() if event.kind is not EventKind.USAGE}
    assert (ends["1.0"].kind, ends["1.0"].text) == (EventKind.ABORTED, "by bob")
    assert (ends["1.1"].kind, ends["1.1"].exit_status) == (EventKind.TERMINATED, 137)
    assert new_events(there, clock) == []


def test_failed_history_query_proves_nothing(there, worker, clock):
    new_events(there, clock)
    worker.queue = {}
    worker.fails["history"] = OutcomeUnknownError("no answer")
    for _ in range(5):
        with pytest.raises(OutcomeUnknownError):
            new_events(there, clock)
    del worker.fails["history"]
    assert new_events(there, clock) == []


def test_job_being_removed_is_still_queued(there, worker, clock):
    new_events(there, clock)
    worker.queue["1.0"] = {**RUNNING, "JobStatus": 3}
    for _ in range(5):
        assert new_events(there, clock) == []
    assert "history" not in worker.asked


def test_events_are_complete_up_to_the_last_full_poll(there, worker, clock):
    assert there.complete_until_s < clock.now_s()
    new_events(there, clock)
    looked_s = clock.now_s()
    assert there.complete_until_s == looked_s
    clock.at_s += 30
    there.events()
    assert there.complete_until_s == looked_s
    worker.queue = {"1.0": DONE, "1.1": RUNNING}
    worker.unfetchable = {"1.0"}
    new_events(there, clock, 30)
    assert there.complete_until_s == looked_s


def test_jobs_of_a_previous_process_have_all_their_events(worker, clock):
    worker.queue = {"7.0": DONE}
    there = RemoteAccessPoint(SEAT, Path("/w/r1"), "cm", Address("ap", "cm"), clock, poll_s=60)
    there._worker = worker
    assert there.find() == {"0": "7.0"}
    assert new_events(there, clock, 0) == [
        ("7.0", EventKind.SUBMIT),
        ("7.0", EventKind.EXECUTE),
        ("7.0", EventKind.TERMINATED),
    ]


def test_removed_jobs_are_not_polled(there, worker, clock):
    there.remove(["1.0"], "given up")
    assert {job_id for job_id, _ in new_events(there, clock)} == {"1.1"}
    there.remove(None, "over")
    assert new_events(there, clock) == []
    assert worker.asked.count("look") == 1


def test_output_of_a_held_job_is_fetched(there, worker, clock):
    worker.queue["1.0"] = {**RUNNING, "JobStatus": 5, "NumHolds": 1, "HoldReasonCode": 12}
    assert ("1.0", EventKind.HELD) in new_events(there, clock)
    assert worker.asked == ["look", "retrieve"]
    assert worker.removed == []


def test_job_whose_inputs_are_being_spooled_is_idle():
    assert job_snapshot({**IDLE, "JobStatus": 5, "HoldReasonCode": 16}).status is Status.IDLE
    assert job_snapshot({**IDLE, "JobStatus": 9}).status is Status.IDLE


STARTING = {
    **IDLE, "JobStatus": 2, "NumShadowStarts": 2, "EnteredCurrentStatus": 1100,
    "JobCurrentStartDate": 1100, "JobCurrentStartExecutingDate": 1021, PILOT: "p2",
    "RemoteHost": "slot1_1@somewhere",
}  # fmt: skip


def test_starting_job_has_a_pilot(there, worker, clock):
    worker.queue["1.0"] = STARTING
    clock.at_s += 60
    events = [event for job_id, event in there.events() if job_id == "1.0"]
    assert [e.pilot for e in events if e.kind is EventKind.MATCHED] == ["p2"]
    assert events[-1].kind is EventKind.MATCHED


def test_pilot_of_an_earlier_start_is_not_reported_again():
    unborn = {name: value for name, value in STARTING.items() if name != "RemoteHost"}
    assert job_snapshot(STARTING).pilot == "p2"
    assert job_snapshot(unborn).pilot == ""


def test_pilot_without_an_id_has_no_name():
    assert (
        job_snapshot({name: value for name, value in STARTING.items() if name != PILOT}).pilot == ""
    )


def test_end_of_a_job_has_its_usage(there, worker, clock):
    took = {"RemoteUserCpu": 30.5, "RemoteSysCpu": 1.0, "ResidentSetSize": 2049, "DiskUsage": 10}
    took |= {"BytesRecvd": 2048.0, "BytesSent": 512.0}
    worker.queue["1.0"] = {**DONE, **took}
    clock.at_s += 60
    (ended,) = (e for _, e in there.events() if e.kind is EventKind.TERMINATED)
    assert ended.usage == (31.5, 3, 1, 2.0, 0.5)


def test_interruption_has_its_reason(there, worker, clock):
    worker.queue["1.0"] = RUNNING
    new_events(there, clock)
    again = {"JobStatus": 1, "VacateReasonCode": 1007, "VacateReason": "starter died"}
    worker.queue["1.0"] = {**RUNNING, **again, "EnteredCurrentStatus": 1100}
    clock.at_s += 60
    ((_, event),) = there.events()
    assert (event.kind, event.code, event.text) == (EventKind.EVICTED, 1007, "starter died")
    assert event.at_s == 1100


def test_new_start_is_distinct_from_the_previous_one():
    again = {**RUNNING, "NumShadowStarts": 2, "JobCurrentStartDate": 1040}
    assert job_snapshot(again).started_s is None


def test_mapped_user_is_the_owner(there, worker):
    assert there.ping() == "alice"
    worker.answer_to_greet = {"problem": "get a token"}
    with pytest.raises(MissingPrerequisiteError, match="get a token"):
        there.ping()


def test_removal_hint_names_the_remote_schedd(there):
    assert there.removal_hint == (
        'condor_rm -name ap -pool cm -constraint \'Owner =?= "alice" && OSGPilotWorkflow =?= "r1"\''
    )


def test_spooled_description_has_one_input_folder_and_no_log():
    text = spooled(describe(Submission(("1",), REQUEST), SEAT, Path("/w/r1")))
    assert text["transfer_input_files"] == "osgpilot-in$(OSGPilotUrls)"
    assert text["arguments"] == "osgpilot-in/osgpilot-job"
    assert "log" not in text
    assert "JobStatus == 4" in text["leave_in_queue"]
