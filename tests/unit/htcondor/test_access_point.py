"""Submit descriptions, event logs as HTCondor writes them, and the worker process."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import classad2
import htcondor2  # noqa: F401  # with it, ClassAd functions answer as daemons do
import pytest

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    OutcomeUnknownError,
    QueueFullError,
    RejectedError,
)
from snakemake_executor_plugin_osgpilot.htcondor import worker_client as client
from snakemake_executor_plugin_osgpilot.htcondor.event_log import SILENCE_S, EventLog
from snakemake_executor_plugin_osgpilot.htcondor.local_schedd import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import (
    AGAIN_AFTER_S,
    claimed_memory_mb,
    describe,
    items,
    needed_life_s,
    require_gpus,
    requirements,
    runtime_bucket_s,
)
from snakemake_executor_plugin_osgpilot.htcondor.worker import OPERATIONS
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import SharedFile
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

SEAT = RunIdentity("alice", "MyProject", "r1")
FOLDER = Path("/home/alice/my work/.snakemake/osgpilot/r1")


def submission(**more):
    return Submission(("000001",), Request(JobClass(Shape(2, 500, 1000)), **more))


def test_job_has_project_workflow_and_key():
    text = describe(submission(), SEAT, FOLDER)
    assert text["My.ProjectName"] == '"MyProject"'
    assert text["My.OSGPilotWorkflow"] == '"r1"'
    assert text["My.OSGPilotJobKey"] == '"r1/$(OSGPilotKey)"'
    assert (text["request_cpus"], text["request_memory"]) == ("2", "500")


def test_larger_jobs_have_priority_unless_the_rule_sets_it():
    assert describe(submission(), SEAT, FOLDER)["priority"] == "$(OSGPilotPriority)"
    small, large = (
        items(Submission(("1",), Request(JobClass(Shape(cores, 500)))))[0] for cores in (1, 2)
    )
    assert int(small["OSGPilotPriority"]) < int(large["OSGPilotPriority"])
    own = submission(extras=(("priority", "-5"),))
    assert describe(own, SEAT, FOLDER)["priority"] == "-5"


def test_every_run_has_its_own_log():
    """Nothing of earlier runs is read, and two workflows in one folder do not meet."""
    logs = {describe(submission(), SEAT, Path(f"/w/{run}"))["log"] for run in ("r1", "r2")}
    assert logs == {"/w/r1/jobs.log", "/w/r2/jobs.log"}


def test_output_folder_is_transferred_also_after_a_failure():
    text = describe(submission(), SEAT, FOLDER)
    assert text["transfer_output_files"] == "osgpilot-out"
    assert text["when_to_transfer_output"] == "ON_EXIT"


@pytest.mark.parametrize("bad", ["/w/$(HOME)", "/w/a\n+Evil = 1", '/w/"x"', "/w/x;y"])
def test_folder_with_unsafe_characters_is_rejected(bad):
    with pytest.raises(InputError, match="misread"):
        describe(submission(), SEAT, Path(bad))


def test_urls_are_listed_for_their_job():
    request = Request(JobClass(Shape(2, 500, 1000)))
    urls = {"2": ("https://h/a", "osdf:///b")}
    both = Submission(("1", "2"), request, urls=urls, priorities={"1": 7, "2": -7})
    assert items(both) == [
        {"OSGPilotKey": "1", "OSGPilotUrls": "", "OSGPilotPriority": "7"},
        {
            "OSGPilotKey": "2",
            "OSGPilotUrls": ",https://h/a,osdf:///b",
            "OSGPilotPriority": "-7",
        },
    ]
    assert describe(both, SEAT, FOLDER)["transfer_input_files"] == "osgpilot-in/$(OSGPilotUrls)"


@pytest.mark.parametrize("bad", ["https://h/a,b", "https://h/$(X)", "https://h/a b", "a", "h://\n"])
def test_url_cannot_contain_commands(bad):
    with pytest.raises(InputError, match="the URL"):
        items(Submission(("1",), Request(JobClass(Shape(2, 500, 1000))), urls={"1": (bad,)}))


@pytest.mark.parametrize("bad", ["x\n+Evil=1", "$(X)", "a b", 'docker://"'])
def test_image_name_cannot_contain_commands(bad):
    with pytest.raises(InputError, match="container_image"):
        describe(submission(container_image=bad), SEAT, FOLDER)


def test_container_image_makes_a_container_job():
    text = describe(submission(container_image="/opt/a.sif"), SEAT, FOLDER)
    assert (text["universe"], text["container_image"]) == ("container", "/opt/a.sif")


def container_lines(image, keys=("1", "2"), *, common_images=True, **more):
    request = Request(JobClass(Shape(1, 500)), image, **more)
    lines = describe(Submission(keys, request), SEAT, FOLDER, common_images=common_images)
    return lines.get("container_is_common"), lines.get("transfer_container")


def test_image_is_common_for_many_jobs_if_supported():
    for image in ("/opt/a.sif", "https://h/a.sif"):
        assert container_lines(image) == ("true", None)
        assert container_lines(image, common_images=False) == (None, None)
        assert container_lines(image, keys=("1",)) == (None, None)
    assert container_lines("docker://a") == (None, None)
    assert container_lines("/opt/a.sif", transfer_image=False) == (None, "false")
    assert container_lines("/opt/a.sif", common=False) == (None, None)


class Keeper:
    """A worker whose schedd keeps images as clusters 7, 8 and so on, unless it `refuses`."""

    refuses: Exception | None = None

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.described: list[dict[str, str]] = []

    def ask(self, request, *, timeout_s):
        if request["do"] == "submit":
            self.described.append(request["description"])
            return {"cluster": 100 + len(self.described), "first_proc": 0}
        assert request["do"] == "keep_image"
        if self.refuses:
            raise self.refuses
        assert "transfer_input_files" not in request["description"]
        name = request["description"]["My.OSGPilotImage"]
        assert request["constraint"].endswith(f"OSGPilotImage =?= {name}")
        return {"cluster": self.kept.setdefault(name, 7 + len(self.kept)), "path": ""}


def scopes(tmp_path, worker, *submissions):
    """Return the cluster through which the jobs of each submission share their image."""
    made = LocalAccessPoint(SEAT, tmp_path)
    made.common_images = made.keeps_images = True
    made._worker = worker
    for image, count in submissions:
        request = Request(JobClass(Shape(1, 500)), image)
        made.submit(Submission(tuple(map(str, range(count))), request))
    assert all(
        ("My.DAGManJobId" in each) <= ("container_is_common" in each) for each in worker.described
    )
    return [each.get("My.DAGManJobId") for each in worker.described]


def test_submissions_share_an_image_through_one_job(tmp_path):
    image, other = (str(tmp_path / name) for name in ("a.sif", "b.sif"))
    for path in (image, other):
        Path(path).write_text("image")
    sent = [(image, 2), (image, 1), (other, 2), (image, 3), ("docker://a", 2), ("", 2)]
    assert scopes(tmp_path, Keeper(), *sent) == ["7", "7", "8", "7", None, None]


def test_the_first_job_of_an_image_shares_it_with_nobody(tmp_path):
    url = "https://h/a.sif"
    assert scopes(tmp_path, Keeper(), (url, 1), (url, 1), (url, 1)) == [None, "7", "7"]


def test_a_changed_image_is_another_one(tmp_path):
    image, worker = tmp_path / "a.sif", Keeper()
    image.write_text("image")
    assert scopes(tmp_path, worker, (str(image), 2)) == ["7"]
    os.utime(image, (0, 0))
    assert scopes(tmp_path, worker, (str(image), 2)) == ["7", "7"]
    worker.described.pop()
    image.write_text("another")
    assert scopes(tmp_path, worker, (str(image), 2)) == ["7", "8"]


@pytest.mark.parametrize(
    ("image", "scheme"),
    [("osdf:///a.sif", {"osdf"}), ("oras://h/a:1", set()), ("/a.sif", set()), ("", set())],
)
def test_a_scheme_of_an_image_needs_a_plugin_like_one_of_an_input(tmp_path, image, scheme):
    made = LocalAccessPoint(SEAT, tmp_path)
    made._worker = Keeper()
    made.submit(Submission(("1",), Request(JobClass(Shape(1, 500)), image)))
    assert made.wanted == scheme


@pytest.mark.parametrize("refusal", [RejectedError("no"), QueueFullError("no", 0, at_once=False)])
def test_jobs_are_submitted_if_no_job_may_keep_their_image(tmp_path, refusal):
    worker = Keeper()
    worker.refuses = refusal
    assert scopes(tmp_path, worker, ("https://h/a.sif", 2)) == [None]
    assert worker.described[0]["container_is_common"] == "true"


GENOME, INDEX = SharedFile("osgpilot_1", 12 << 20), SharedFile("osgpilot_2", 1 << 30)


def sharing(image="", **more):
    """Return the description and the variables of two jobs, of which one shares an input."""
    request = Request(JobClass(Shape(1, 500, 100)), image, common=more.pop("common", True))
    shared = {"1": (GENOME, INDEX)}
    given = Submission(("1", "2"), request, shared=shared)
    return describe(given, SEAT, FOLDER, **more), items(given)


def test_shared_inputs_are_common_files_of_the_jobs_that_have_them():
    lines, (first, second) = sharing(keeper_cluster=7)
    assert lines["My.DAGManJobId"] == "7"
    assert lines["My._x_catalog_osgpilot_1"] == f'"{FOLDER}/jobs/shared/osgpilot_1"'
    assert lines["My.CommonInputCatalogs"] == '"$(OSGPilotCatalogs)"'
    assert first["OSGPilotCatalogs"] == ",osgpilot_1,osgpilot_2"
    assert second["OSGPilotCatalogs"] == ""
    assert lines["transfer_input_files"] == "osgpilot-in/$(OSGPilotUrls)"
    assert "LastVacateTime" in lines["requirements"]


@pytest.mark.parametrize("more", [{}, {"keeper_cluster": 7, "common": False}])
def test_shared_inputs_travel_with_each_job_otherwise(more):
    lines, (first, second) = sharing(**more)
    assert "My.CommonInputCatalogs" not in lines
    assert lines["transfer_input_files"].endswith("$(OSGPilotShared)")
    assert first["OSGPilotShared"] == ",../shared/osgpilot_1,../shared/osgpilot_2"
    assert second["OSGPilotShared"] == ""
    assert lines["request_disk"] == "100MB"


def test_an_image_is_common_beside_shared_inputs():
    lines, _ = sharing("/opt/a.sif", keeper_cluster=7)
    (name,) = (each for each in lines if each.startswith("My._x_catalog_container_"))
    assert lines[name] == '"/opt/a.sif"'
    assert lines["My.CommonInputCatalogs"] == f'"{name[14:]}$(OSGPilotCatalogs)"'


def test_jobs_without_shared_inputs_are_described_as_before():
    plain = Submission(("1", "2"), Request(JobClass(Shape(1, 500, 100))))
    lines = describe(plain, SEAT, FOLDER, common_images=True)
    assert not [each for each in lines if "atalog" in each]
    assert [sorted(each) for each in items(plain)] == [
        ["OSGPilotKey", "OSGPilotPriority", "OSGPilotUrls"]
    ] * 2


def test_all_jobs_of_a_run_share_inputs_through_one_job(tmp_path):
    made, worker = LocalAccessPoint(SEAT, tmp_path), Keeper()
    made.common_images = made.keeps_images = made.shares_inputs = True
    made._worker = worker
    for image, shared in (("", GENOME), ("https://h/a.sif", INDEX)):
        request = Request(JobClass(Shape(1, 500)), image)
        made.submit(Submission(("1",), request, shared={"1": (shared,)}))
    assert [each["My.DAGManJobId"] for each in worker.described] == ["7", "7"]
    assert list(worker.kept) == ['"inputs"']


def test_an_image_that_is_gone_is_for_the_access_point_to_name(tmp_path):
    assert scopes(tmp_path, Keeper(), (str(tmp_path / "gone.sif"), 2)) == [None]


@pytest.mark.parametrize(
    ("job", "starts"),
    [
        ("[]", True),
        ("[LastVacateTime = time() - 1000]", True),
        (f"[LastVacateTime = time() - {AGAIN_AFTER_S - 10}]", False),
        ("[OSGPilotPaused = true]", False),
    ],
)
def test_job_with_common_image_waits_after_a_lost_pilot(job, starts):
    request = Request(JobClass(Shape(1, 500)), "/opt/a.sif")
    common, alone = (
        describe(Submission(keys, request), SEAT, FOLDER, common_images=True)["requirements"]
        for keys in (("1", "2"), ("1",))
    )
    match = classad2.ClassAd(job)
    match["Requirements"] = classad2.ExprTree(common)
    assert match.eval("Requirements") is starts
    assert "LastVacateTime" not in alone


def test_gpu_request_includes_model_and_manufacturer():
    assert "request_gpus" not in describe(submission(), SEAT, FOLDER)
    job_class = JobClass(Shape(1, 500, 100, gpus=2))
    text = describe(Submission(("1",), Request(job_class, gpu_model="a100")), SEAT, FOLDER)
    assert text["request_gpus"] == "2"
    assert "DeviceName" in text["require_gpus"]


@pytest.mark.parametrize(
    ("model", "manufacturer", "device", "fits"),
    [
        ("a100", "nvidia", "NVIDIA A100-SXM4-40GB", True),
        ("A100 40GB", "", "A100-SXM4-40GB", False),
        ("tesla_v100", "NVIDIA", "Tesla V100-PCIE-16GB", True),
        ("a10", "", "NVIDIA A100-SXM4-40GB", False),
        ("v100", "amd", "Tesla V100-PCIE-16GB", False),
        ("MI250X", "amd", "AMD Instinct MI250X", True),
        ("", "nvidia", "AMD Instinct MI250X", False),
    ],
)
def test_gpu_model_matches_words_of_the_device_name(model, manufacturer, device, fits):
    gpu = classad2.ClassAd({"DeviceName": device})
    gpu["Fits"] = classad2.ExprTree(require_gpus(model, manufacturer))
    assert gpu.eval("Fits") is fits


def test_long_job_has_its_category_and_needs_long_pilots():
    hour_s = 3600
    assert needed_life_s(9 * hour_s, 100 * hour_s) == 12 * hour_s
    assert needed_life_s(11 * hour_s, 100 * hour_s) == 40 * hour_s
    assert needed_life_s(11 * hour_s, 40 * hour_s) == 12 * hour_s
    request = Request(JobClass(Shape(1, 500), 40 * hour_s))
    assert describe(Submission(("1",), request), SEAT, FOLDER)["My.JobDurationCategory"] == '"Long"'


def test_claimed_memory_is_rounded_like_the_slot():
    assert [claimed_memory_mb(mb) for mb in (1, 128, 500, 512, 3800)] == [128, 128, 512, 512, 3840]


def test_runtimes_are_rounded_to_few_requirements():
    assert {runtime_bucket_s(s) for s in range(1, 301)} == {300}
    assert runtime_bucket_s(0) == 0
    assert runtime_bucket_s(100_000) == 100_000
    assert "GLIDEIN_ToDie" in requirements(300)
    assert "GLIDEIN_ToDie" not in requirements(0)


def test_jobs_with_offers_match_only_pilots_that_advertise_them():
    pinned = classad2.ExprTree(requirements(0, ("short/4c", "a,b/2c")))
    offers = {"OSGPILOT_OFFER": "a,b/2c"}, {"OSGPILOT_OFFER": "b/2c"}, {}
    job = classad2.ClassAd({"Requirements": pinned})
    slots = [classad2.ClassAd({**offer, "Requirements": True}) for offer in offers]
    assert [slot.matches(job) for slot in slots] == [True, False, False]
    with pytest.raises(InputError, match="kind of pilot"):
        requirements(0, ('"}) || true',))


def test_jobs_avoid_pilots_that_are_gone():
    vanished = replace(submission(), avoid=("run-1", "run-3"))
    described = describe(vanished, SEAT, FOLDER)
    ad = classad2.ClassAd({"OSGPilotAvoid": classad2.ExprTree(described["My.OSGPilotAvoid"])})
    clause = classad2.ExprTree(described["requirements"])
    offered = [classad2.ClassAd({"OSGPILOT_PILOT_ID": f"run-{n}"}) for n in (1, 2, 3)]
    offered.append(classad2.ClassAd({"Name": "slot1@of-somebody-else"}))
    assert [clause.eval(scope=ad, target=slot) for slot in offered] == [False, True, False, True]


LOG = (Path(__file__).parent / "event_log.txt").read_text()
"""Written by HTCondor 25.14 for real jobs; the host's addresses are shortened."""


NOTED = """000 (271.000.000) 2026-01-02 03:04:05 Job submitted from host: <10.99.0.2:9618>
    [ JobBatchName = "osgpilot-r1" ]
    osgpilot 000077
...
000 (272.000.000) 2026-01-02 03:04:05 Job submitted from host: <10.99.0.2:9618>
    osgpilot 000078
...
"""
"""As HTCondor 25.14 writes it, with and without the name of a batch."""


def test_event_log_has_the_keys_of_submitted_jobs(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    path.write_text(NOTED)
    assert [(job_id, event.key) for job_id, event in log.read()] == [
        ("271.0", "000077"),
        ("272.0", "000078"),
    ]
    log.close()


def test_event_log_is_read_once_and_in_order(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    assert log.read() == []
    with path.open("a") as opened:
        opened.write(LOG)
    events = log.read()
    assert [(i, e.kind) for i, e in events] == [
        ("12.0", EventKind.SUBMIT),
        ("12.0", EventKind.EXECUTE),
        ("12.0", EventKind.USAGE),
        ("12.0", EventKind.TERMINATED),
        ("12.1", EventKind.ABORTED),
        ("12.2", EventKind.HELD),
    ]
    executed, used, ended, removed, held = (e for _, e in events[1:])
    assert (executed.pilot, executed.allocation_id) == ("osgpilot-r1-1", "42")
    assert (ended.exit_status, ended.at_s - executed.at_s) == (3, 5)
    assert removed.text == "osgpilot: the workflow ended (by user alice)"
    assert "disk quota exceeded" in held.text
    assert (held.code, held.subcode) == (12, 122)
    assert used.memory_mb == 5
    assert log.read() == []
    log.close()


def test_unknown_event_hides_no_other(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    path.write_text("098 (001.000.000) 2026-01-01 00:00:00 Something new\n...\n" + LOG)
    assert len(log.read()) == 6
    with path.open("a") as opened:
        opened.write("099 (001.000.000) 2026-01-01 00:00:00 Something new\n...\n")
    assert log.read() == []
    assert not log.take_missed()
    log.close()


def test_undecodable_event_counts_as_missed_and_hides_no_other(tmp_path):
    """HTCondor quotes the names of files that a job made."""
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    held = b"012 (001.000.000) 2026-01-01 00:00:01 Job was held.\n\tno file \xff\xfe\n\tCode 12 2\n"
    path.write_bytes(held + b"...\n" + LOG.encode())
    assert len(log.read()) == 6
    assert log.take_missed()
    log.close()


@pytest.mark.parametrize("zone", ["<-11>11", "America/New_York", "Asia/Kathmandu", "UTC"])
def test_event_times_are_independent_of_the_readers_timezone(tmp_path, monkeypatch, zone):
    path = tmp_path / "jobs.log"
    path.write_text(LOG)
    monkeypatch.delenv("TZ", raising=False)
    time.tzset()
    there = [event.at_s for _, event in EventLog(path).read()]
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [event.at_s for _, event in EventLog(path).read()] == there
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("do", ["held", "look"])
def test_undecodable_reason_hides_no_other_job(do):
    odd = '[ClusterId = {}; ProcId = 0; JobStatus = 5; HoldReasonCode = 12; HoldReason = "{}"]'
    ads = [
        classad2.ClassAd(odd.format(1, r"no file \377")),
        classad2.ClassAd(odd.format(2, "full")),
    ]
    schedd = SimpleNamespace(query=lambda **_: ads)
    htcondor = SimpleNamespace(Schedd=lambda: schedd)
    request = {"at": None, "constraint": "true", "attributes": ["HoldReasonCode", "HoldReason"]}
    rows = json.loads(json.dumps(OPERATIONS[do](htcondor, request)))
    assert set(rows) == {"1.0", "2.0"}
    assert any(r"no file \377" in str(each) for each in rows["1.0"].values())
    assert "full" in rows["2.0"].values()


@pytest.mark.parametrize(
    ("validated", "untested"),
    [("", ["p1"]), ("OSG_NODE_VALIDATED = false;", ["p1"]), ("OSG_NODE_VALIDATED = true;", [])],
)
def test_a_pilot_is_untested_until_its_container_says_otherwise(validated, untested):
    ad = classad2.ClassAd(f'[OSGPILOT_PILOT_ID = "p1"; Machine = "n1"; {validated}]')
    collector = SimpleNamespace(query=lambda *_, **__: [ad])
    htcondor = SimpleNamespace(Collector=lambda: collector, AdType=SimpleNamespace(Startd="startd"))
    found = OPERATIONS["pilots"](htcondor, {"manager": None, "constraint": "true"})
    assert found["untested"] == untested


def test_partly_written_event_counts_as_missed(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    path.write_text("005 (\n" + LOG)
    with pytest.raises(OutcomeUnknownError, match="cannot be read"):
        log.read()
    assert log.take_missed()
    assert len(log.read()) == 5
    log.close()


def test_long_silence_of_the_log_counts_as_missed(tmp_path, monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    log = EventLog(tmp_path / "jobs.log")
    (tmp_path / "jobs.log").write_text(LOG)
    now_s += SILENCE_S
    log.read()
    assert not log.take_missed()
    now_s += SILENCE_S
    assert log.read() == []
    assert log.take_missed()
    assert not log.take_missed(), "asked once a minute"
    log.close()


def test_truncated_log_is_read_from_its_start(tmp_path):
    path = tmp_path / "jobs.log"
    log = EventLog(path)
    path.write_text(LOG + LOG)
    assert len(log.read()) == 12
    assert not log.take_missed()
    path.write_text(LOG)
    assert len(log.read()) == 6
    assert log.take_missed()
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
        client, "start_worker", lambda _, *more: start([sys.executable, "-c", FAKE_WORKER], *more)
    )
    made = client.Worker()
    yield made
    made.close()


def test_one_worker_serves_many_requests(worker):
    first = worker.ask({"do": "pid"}, timeout_s=20)
    assert worker.ask({"do": "pid"}, timeout_s=20) == first


def test_hanging_worker_is_replaced_after_the_deadline(worker):
    first = worker.ask({"do": "pid"}, timeout_s=20)
    with pytest.raises(OutcomeUnknownError, match="did not answer `sleep`"):
        worker.ask({"do": "sleep"}, timeout_s=0.2)
    assert worker.ask({"do": "pid"}, timeout_s=20) != first


def test_hanging_request_can_be_interrupted(worker):
    first = worker.ask({"do": "pid"}, timeout_s=20)
    timer = threading.Timer(0.3, worker.interrupt)
    timer.start()
    with pytest.raises(OutcomeUnknownError):
        worker.ask({"do": "sleep"}, timeout_s=50)
    assert worker.ask({"do": "pid"}, timeout_s=20) != first


def test_dead_worker_is_replaced(worker):
    with pytest.raises(OutcomeUnknownError):
        worker.ask({"do": "die"}, timeout_s=20)
    assert worker.ask({"do": "pid"}, timeout_s=20)


def test_rejection_is_distinct_from_no_answer(worker):
    with pytest.raises(RejectedError, match="Invalid thing"):
        worker.ask({"do": "refuse"}, timeout_s=20)
    with pytest.raises(OutcomeUnknownError, match="connect"):
        worker.ask({"do": "fail"}, timeout_s=20)


ORPHAN = """
import sys
from pathlib import Path
from snakemake_executor_plugin_osgpilot.htcondor import worker_client as client
from snakemake_executor_plugin_osgpilot.htcondor import worker

place = Path(sys.argv[1])

def slowly(htcondor, request):
    (place / "begun").touch()
    while not (place / "go").exists():
        time.sleep(0.01)
    (place / "submitted").touch()

if sys.argv[2:]:
    import time
    worker.OPERATIONS["submit"] = slowly
    worker.main()
else:
    start = client.start_worker
    argv = [sys.executable, "-c", sys.orig_argv[2], str(place), "worker"]
    client.start_worker = lambda _, *more: start(argv, *more)
    client.Worker(place / "asking").ask({"do": "submit"}, timeout_s=60)
"""
"""A Snakemake whose worker process takes long to submit."""


def test_next_session_waits_for_the_request_of_a_killed_one(tmp_path, worker):
    argv = [sys.executable, "-c", ORPHAN, str(tmp_path)]
    with subprocess.Popen(argv) as killed:
        while not (tmp_path / "begun").exists():
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    following = client.Worker(tmp_path / "asking")
    seen = []

    def ask():
        following.ask({"do": "pid"}, timeout_s=20)
        seen.append((tmp_path / "submitted").exists())

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(1.0)
    (tmp_path / "go").touch()
    asking.join()
    assert seen == [True]
    following.close()


def test_orphaned_worker_that_never_ends_is_reported(tmp_path, worker, monkeypatch):
    monkeypatch.setattr(client, "TURN_S", 0.2)
    with (tmp_path / "asking").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        stuck = client.Worker(tmp_path / "asking")
        with pytest.raises(
            OutcomeUnknownError, match=r"a previous session of this run .*/asking is locked"
        ):
            stuck.ask({"do": "pid"}, timeout_s=20)
    assert stuck.ask({"do": "pid"}, timeout_s=20)
    stuck.close()
