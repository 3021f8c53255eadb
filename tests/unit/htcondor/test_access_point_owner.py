"""Requests to the access point affect only own jobs, even if others use the same tags."""

import contextlib
import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

import classad2
import htcondor2
import pytest
from doubles import SEAT, HandClock

from snakemake_executor_plugin_osgpilot.errors import InputError, OsgpilotError
from snakemake_executor_plugin_osgpilot.htcondor import remote_operations as far
from snakemake_executor_plugin_osgpilot.htcondor import worker
from snakemake_executor_plugin_osgpilot.htcondor.local_schedd import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.htcondor.remote_schedd import Address, RemoteAccessPoint
from snakemake_executor_plugin_osgpilot.htcondor.schedd_queue import CondorQueue
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING, SPOOLING
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

NOW_S = 1_000_000_000
STATES = {
    "idle": {"JobStatus": 1, "LastRejMatchTime": NOW_S},
    "held": {"JobStatus": 5, "HoldReasonSubCode": REMATCHING},
    "cut off": {"JobStatus": 5, "HoldReasonCode": SPOOLING},
    "done": {"JobStatus": 4, "StageInFinish": NOW_S, "JobFinishedHookDone": NOW_S},
}
OWNERS = ("bob", "Alice", "alice", "alicex")
"""Each has a job in every state, with tag and key of a job of alice's run."""

QUEUE = {
    f"{cluster}.{proc}": {
        "ClusterId": cluster, "ProcId": proc, "Owner": owner, "OSGPilotWorkflow": SEAT.run,
        "OSGPilotJobKey": f"{SEAT.run}/{proc:06}", "Iwd": f"/home/{owner}/jobs/{proc}",
        "EnteredCurrentStatus": NOW_S, "ServerTime": NOW_S, **state,
    }
    for cluster, owner in enumerate(OWNERS, 1)
    for proc, state in enumerate(STATES.values())
}  # fmt: skip
ALL = tuple(QUEUE)
MINE = tuple(job_id for job_id, ad in QUEUE.items() if ad["Owner"] == SEAT.owner)
SUBMISSION = Submission(("000009",), Request(JobClass(Shape(1, 500))))


class Queued:
    """A double of the bindings: a schedd that permits everything on all jobs."""

    JobAction = Enum("JobAction", "Remove RemoveX Hold Release")
    AdType, DaemonType = htcondor2.AdType, htcondor2.DaemonType
    HTCondorException = htcondor2.HTCondorException

    def __init__(self) -> None:
        self.touched: set[str] = set()

    def _selected(self, what: object) -> list[dict[str, Any]]:
        if isinstance(what, list):
            found = {job_id: QUEUE[job_id] for job_id in what}
        else:
            wanted = classad2.ExprTree(str(what))
            found = {i: ad for i, ad in QUEUE.items() if _is_true(wanted, ad)}
        self.touched |= found.keys()
        return list(found.values())

    def Schedd(self, *_: object) -> "Queued":
        return self

    def Collector(self, *_: object) -> "Collector":
        return Collector()

    def Submit(self, description: dict[str, str]) -> dict[str, str]:
        return description

    def ping(self, *_: object) -> dict[str, str]:
        return {"MyRemoteUserName": f"{SEAT.owner}@there"}

    def query(self, constraint: str, projection: object = (), limit: int = -1) -> list:
        return self._selected(constraint)

    def history(self, constraint: str, projection: object, most: int) -> list:
        return self._selected(constraint)

    def act(self, action: object, what: object, reason: object = None) -> None:
        self._selected(what)

    def edit(self, what: object, attribute: str, value: str) -> None:
        self._selected(what)

    def retrieve(self, what: object) -> None:
        self._selected(what)

    def submit(self, *_: object, **__: object) -> "Submitted":
        return Submitted()

    def spool(self, result: object) -> None:
        """There is nothing to send."""


TRUE_SLOT = {"OSGPILOT_PILOT_ID": "p1", "JobId": "7.0", "Cpus": 2, "Memory": 512, "Disk": 2048}
SLOTS = [
    TRUE_SLOT,
    *(
        {**TRUE_SLOT, name: bad}
        for name in TRUE_SLOT
        for bad in (True, None, [1], classad2.ClassAd())
    ),
    *({**TRUE_SLOT, "JobId": "8.0", name: "x"} for name in ("Cpus", "Memory", "Disk")),
    *({**TRUE_SLOT, "JobId": "8.0", "Cpus": bad} for bad in (-1, float("inf"), float("nan"))),
    {"Name": "slot1@elsewhere"},
]
"""Ads of slots. Any user of the pool with a token for pilots can advertise such as these."""


class Collector:
    def locate(self, *_: object) -> dict[str, str]:
        return {"MyAddress": "<10.0.0.1:9618>", "CondorVersion": "$CondorVersion: 25.14.1 $"}

    def query(self, kind: object, **_: object) -> list:
        return SLOTS if kind == htcondor2.AdType.Startd else []


class Submitted:
    def cluster(self) -> int:
        return 99

    def first_proc(self) -> int:
        return 0


def _is_true(wanted: "classad2.ExprTree", ad: dict[str, Any]) -> bool:
    return wanted.eval(scope=classad2.ClassAd(ad)) is True


class InProcess:
    """A double of the worker process with the same operations."""

    def __init__(self, bindings: Queued) -> None:
        self._bindings = bindings

    def ask(self, request: dict[str, Any], *, timeout_s: float) -> Any:
        asked = json.loads(json.dumps(request))
        return json.loads(json.dumps(worker.OPERATIONS[asked["do"]](self._bindings, asked)))

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def bindings(monkeypatch) -> Queued:
    monkeypatch.setattr(far, "RELEASE_PAUSE_S", 0)
    far.forget()
    yield Queued()
    far.forget()


@pytest.fixture(params=["local", "remote"])
def access_point(request, bindings, tmp_path) -> CondorQueue:
    if request.param == "local":
        made: CondorQueue = LocalAccessPoint(SEAT, tmp_path)
    else:
        address = Address("ap", "cm")
        made = RemoteAccessPoint(SEAT, tmp_path, "cm", address, HandClock(), poll_s=60)
        made._poller.follow(ALL)
        made._to_clear = list(ALL)
    made._worker = InProcess(bindings)
    return made


def _submit_with_image(access_point: CondorQueue) -> None:
    access_point.keeps_images = True
    request = replace(SUBMISSION.request, container_image="https://host/image.sif")
    for keys in (("1",), ("2",)):
        # this queue keeps nothing
        with contextlib.suppress(htcondor2.HTCondorException):
            access_point.submit(Submission(keys, request))


SHAPE = Shape(1, 1000)
ASK: dict[str, Callable[[Any], object]] = {
    "find": lambda ap: ap.find(),
    "remove": lambda ap: ap.remove(ALL, "why"),
    "remove all": lambda ap: ap.remove(None, "why"),
    "force_remove": lambda ap: ap.force_remove(ALL),
    "force-remove all": lambda ap: ap.force_remove(None),
    "release": lambda ap: ap.release(ALL, SHAPE),
    "negotiation_status": lambda ap: ap.negotiation_status(NOW_S - 1),
    "rematch": lambda ap: ap.rematch(ALL),
    "avoid": lambda ap: ap.avoid(["p1"]),
    "set_paused": lambda ap: ap.set_paused(paused=True),
    "let_start": lambda ap: ap.let_start(ALL),
    "prioritize": lambda ap: ap.prioritize(ALL, 7),
    "keep_apart": lambda ap: ap.keep_apart(apart=True),
    "held": lambda ap: ap.held(),
    "ended": lambda ap: ap.ended(ALL),
    "past_events": lambda ap: ap.past_events(ALL),
    "folders_of_jobs": lambda ap: ap.folders_of_jobs(),
}
"""Requests that concern jobs."""

ASK_NO_JOBS: dict[str, Callable[[Any], object]] = {
    "ping": lambda ap: ap.ping(),
    "gate": lambda ap: ap.gate(),
    "pilots": lambda ap: ap.pilots(),
    "occupied": lambda ap: ap.occupied(),
    "submit": lambda ap: ap.submit(SUBMISSION),
    "submit with an image": lambda ap: _submit_with_image(ap),
    "events": lambda ap: ap.events(),
    "missed_events": lambda ap: ap.missed_events(),
    "description": lambda ap: ap.description(SUBMISSION),
    "close": lambda ap: ap.close(),
    "clear": lambda ap: (setattr(ap, "keeps_images", True), ap.clear()),
    "interrupt": lambda ap: None,
}
"""Those that concern none, those just submitted, or those that are followed."""


@pytest.mark.parametrize("what", ASK)
def test_requests_affect_only_own_jobs(access_point, bindings, what):
    ASK[what](access_point)
    assert bindings.touched
    assert bindings.touched <= set(MINE)


@pytest.mark.parametrize("what", ASK_NO_JOBS)
def test_other_requests_do_not_affect_foreign_jobs(access_point, bindings, what):
    with contextlib.suppress(OsgpilotError):
        ASK_NO_JOBS[what](access_point)
    assert bindings.touched <= set(MINE)


def test_polls_and_fetched_outputs_are_of_own_jobs(bindings, tmp_path):
    clock = HandClock()
    there = RemoteAccessPoint(SEAT, tmp_path, "", Address("ap"), clock, poll_s=1)
    there._worker = InProcess(bindings)
    there._poller.follow(ALL)
    there.events()
    assert set(MINE) - {MINE[0]} <= bindings.touched <= set(MINE)


@pytest.mark.parametrize("kind", [LocalAccessPoint, RemoteAccessPoint])
def test_every_request_is_covered(kind):
    public = {
        name
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public - ASK.keys() - ASK_NO_JOBS.keys() == set()


def test_malformed_slot_ads_hide_no_others(access_point):
    assert access_point.pilots() == {"p1": {"7.0": Shape(2, 512, 2, 0)}}


def test_find_returns_only_own_jobs(access_point):
    assert set(access_point.find().values()) <= set(MINE)
    assert set(access_point.held()) <= set(MINE)
    assert all(
        str(folder).startswith("/home/alice/") for _, folder in access_point.folders_of_jobs()
    )


def test_jobs_are_selected_by_the_mapped_owner(access_point, bindings):
    """It may differ from the user name of this machine."""
    bindings.ping = lambda *_: {"MyRemoteUserName": "bob@there"}
    assert access_point.ping() == "bob"
    assert set(access_point.find().values()) <= {i for i in ALL if QUEUE[i]["Owner"] == "bob"}
    assert '"bob"' in access_point.removal_hint


def test_owner_with_unsafe_characters_is_rejected(access_point, bindings):
    bindings.ping = lambda *_: {"MyRemoteUserName": 'a" || true || "@there'}
    with pytest.raises(InputError, match="user name"):
        access_point.ping()


def test_jobs_with_another_owner_are_removed_again(access_point, bindings, monkeypatch):
    submitted = f"ClusterId == {Submitted().cluster()}"
    changed = {"ProjectName": SEAT.project, "OSGPilotWorkflow": SEAT.run, "Owner": "nobody"}
    answers, taken_back = {submitted: [changed]}, []
    monkeypatch.setattr(bindings, "query", lambda constraint, **_: answers.get(constraint, []))
    monkeypatch.setattr(bindings, "act", lambda action, what, reason=None: taken_back.append(what))
    with pytest.raises(htcondor2.HTCondorException, match="Owner of jobs from 'alice'"):
        access_point.submit(SUBMISSION)
    assert taken_back == [submitted]
