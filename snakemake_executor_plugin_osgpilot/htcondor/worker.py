"""The worker process: one JSON request a line in, one JSON answer a line out.

The HTCondor bindings hold Python's global lock during network calls, and a dead host can block them
for a minute. In a process of their own they cannot block Snakemake, and a deadline can be enforced.
"""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import remote_operations as remote

ACT_CHUNK = 1000
"""Jobs named in one request to the schedd."""

BLOCKED = 9
OF_RULES = "OSGPilotJobKey =!= undefined"
"""Selects jobs of rules, and not those that keep an image."""

FIRST = 2**31 - 1
"""Priority of a job beside room that the schedd did not offer. In 25.14, a schedd offers 20 jobs of
a user per cycle, by priority and age (SCHEDD_ENABLE_PER_USER_MATCH_LIMITS): 20 that match nothing,
as those of another run without a pilot, keep all others back."""

IDLE = f"(JobStatus == 1 || JobStatus == {BLOCKED})"
"""In 25.14, a job is blocked while its image is on the way to its pilot."""

_WAITING = (
    *("ClusterId", "ProcId", "JobStatus", "EnteredCurrentStatus", "ServerTime"),
    *("LastRejMatchTime", "JobCoolDownExpiration"),
)

HOLD_REASON = "osgpilot: temporary hold to trigger rematching"

SECOND_LATEST_CYCLE = "LastNegotiationCycleTime1"
"""The start of the cycle before the latest one (HTCondor manual, Negotiator ClassAd Attributes)."""

_METHODS = "HasFileTransferPluginMethods"
_TESTED = "OSG_NODE_VALIDATED"
"""Attribute of a slot: true when the container's tests of its node were passed. START needs it."""
_SLOT_SIZES = {"Cpus": 1, "Memory": 1, "Disk": 1024, "GPUs": 1}
"""Attributes of a slot for its size, and their divisors: disk is in KB (HTCondor manual, Machine
ClassAd Attributes)."""

Request = dict[str, Any]
"""The operation to `do`, and `at` the address of a schedd (see `remote_operations`), None for the
one of this machine. Only jobs that `constraint` selects are affected."""


def main() -> None:
    """Serve requests until standard input closes."""
    import htcondor2

    for line in sys.stdin:
        request: Request = json.loads(line)
        try:
            answer = {"ok": OPERATIONS[request["do"]](htcondor2, request)}
        except htcondor2.HTCondorException as error:
            # a schedd that was restarted has another address
            remote.forget()
            answer = {"error": " ".join(str(error).split())}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        # before the answer, after which the next request may come; Snakemake may be stopped or dead
        for turn in request.get("turn", ()):
            fcntl.flock(turn, fcntl.LOCK_UN)
        print(json.dumps(answer), flush=True)


def _schedd(htcondor: ModuleType, request: Request) -> remote.Schedd:
    address = request["at"]
    at = (remote.location(htcondor, address),) if address else ()
    schedd: remote.Schedd = htcondor.Schedd(*at)
    return schedd


def _ping(htcondor: ModuleType, request: Request) -> dict[str, str]:
    schedd = htcondor.Schedd()
    schedd.query(constraint="false", projection=["ClusterId"], limit=1)
    located = htcondor.Collector().locate(htcondor.DaemonType.Schedd)
    user = htcondor.ping(located, "WRITE").get("MyRemoteUserName", "")
    return {"version": str(located.get("CondorVersion", "")), "user": str(user)}


def _submit(htcondor: ModuleType, request: Request) -> dict[str, int]:
    submit, schedd = htcondor.Submit(request["description"]), _schedd(htcondor, request)
    if request["at"]:
        result = remote.submit(htcondor, schedd, submit, request["items"])
    else:
        result = schedd.submit(submit, itemdata=iter(request["items"]))
    if expected := request["expected"]:
        _check(htcondor, schedd, result.cluster(), expected)
    return {"cluster": result.cluster(), "first_proc": result.first_proc()}


def _check(
    htcondor: ModuleType, schedd: remote.Schedd, cluster: int, expected: dict[str, str]
) -> None:
    """Remove the jobs again if the access point has changed attributes that identify them."""
    of_cluster = f"ClusterId == {cluster}"
    for ad in schedd.query(constraint=of_cluster, projection=list(expected), limit=1):
        for name, value in expected.items():
            if ad.get(name) != value:
                reason = ("osgpilot: its pilots would not accept it", 1)
                schedd.act(htcondor.JobAction.Remove, of_cluster, reason=reason)
                raise htcondor.HTCondorException(
                    f"it changes {name} of jobs from {value!r} to {ad.get(name)!r}, so that no "
                    "pilot of this run would take them; ask its administrators"
                )


def _keep_image(htcondor: ModuleType, request: Request) -> remote.Keeper:
    schedd, description = _schedd(htcondor, request), request["description"]
    return remote.keep_image(htcondor, schedd, request["constraint"], description)


def _find(htcondor: ModuleType, request: Request) -> dict[str, str]:
    attributes = ["ClusterId", "ProcId", "OSGPilotJobKey"]
    schedd, constraint = _schedd(htcondor, request), request["constraint"]
    if request["at"]:
        constraint = remote.sweep(htcondor, schedd, constraint)
    ads = schedd.query(constraint=f"({constraint}) && {OF_RULES}", projection=attributes)
    # a job that ended may still be there beside its resubmission
    ads.sort(key=lambda ad: (ad["ClusterId"], ad["ProcId"]))
    return {ad["OSGPilotJobKey"]: f"{ad['ClusterId']}.{ad['ProcId']}" for ad in ads}


def _held(htcondor: ModuleType, request: Request) -> dict[str, dict[str, float | str]]:
    attributes = ["ClusterId", "ProcId", "EnteredCurrentStatus", "HoldReason"]
    attributes += ["HoldReasonCode", "HoldReasonSubCode"]
    held = f"({request['constraint']}) && JobStatus == 5 && {OF_RULES}"
    ads = _schedd(htcondor, request).query(constraint=held, projection=attributes)
    return {
        f"{ad['ClusterId']}.{ad['ProcId']}": {
            "at_s": float(ad.get("EnteredCurrentStatus", 0)),
            "code": int(ad.get("HoldReasonCode", 0)),
            "subcode": int(ad.get("HoldReasonSubCode", 0)),
            "text": " ".join(str(remote.value(ad, "HoldReason") or "").split()),
        }
        for ad in ads
    }


def _tagged(htcondor: ModuleType, request: Request) -> list[list[str]]:
    # with spooled inputs, a job's Iwd is a folder of the schedd
    attributes = ["OSGPilotWorkflow", "SUBMIT_Iwd", "Iwd"]
    ads = _schedd(htcondor, request).query(constraint=request["constraint"], projection=attributes)
    return [
        [ad["OSGPilotWorkflow"], remote.value(ad, "SUBMIT_Iwd") or remote.value(ad, "Iwd")]
        for ad in ads
    ]


def _remove(htcondor: ModuleType, request: Request) -> None:
    # (reason, code): a bare string is dropped by the bindings
    _act(htcondor, htcondor.JobAction.Remove, request, reason=(request["reason"], 1))


def _force_remove(htcondor: ModuleType, request: Request) -> None:
    _act(htcondor, htcondor.JobAction.RemoveX, request)


def _release(htcondor: ModuleType, request: Request) -> None:
    schedd = _schedd(htcondor, request)
    for ids in _chunks(request["ids"]):
        # by constraint: the id of a job that is gone would undo the whole transaction
        _edit_all(htcondor, schedd, f"JobStatus == 5 && {_named(request, ids)}", request["edits"])
    _act(htcondor, htcondor.JobAction.Release, request)


def _rematch(htcondor: ModuleType, request: Request) -> None:
    schedd, ours = _schedd(htcondor, request), f"HoldReasonSubCode == {int(request['subcode'])}"
    for ids in _chunks(request["ids"]):
        # by constraint: a job that runs by now must not be held
        named, reason = _named(request, ids), (HOLD_REASON, request["subcode"])
        held = f"JobStatus == 5 && {ours} && {named}"
        schedd.act(htcondor.JobAction.Hold, f"{IDLE} && {named}", reason=reason)
        _edit_all(htcondor, schedd, f"{held} && JobPrio < {FIRST}", {"JobPrio": str(FIRST)})
        schedd.act(htcondor.JobAction.Release, held)


def _negotiation(htcondor: ModuleType, request: Request) -> dict[str, object]:
    """Return idle jobs that were refused since, or that the schedd itself delays."""
    waits = f"LastRejMatchTime > {int(request['since_s'])} || JobCoolDownExpiration > time()"
    idle = f"({request['constraint']}) && {IDLE} && ({waits} || JobStatus == {BLOCKED})"
    ads = _schedd(htcondor, request).query(constraint=idle, projection=list(_WAITING))
    found = _collector(htcondor, request).query(
        htcondor.AdType.Negotiator, projection=[SECOND_LATEST_CYCLE]
    )
    begun_s = [ad[SECOND_LATEST_CYCLE] for ad in found if SECOND_LATEST_CYCLE in ad]
    by_id = {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in ads}
    return {
        "cycles_s": max(begun_s, default=None),
        "refused": [
            i for i, ad in by_id.items() if ad.get("LastRejMatchTime", 0) > request["since_s"]
        ],
        "resting": [
            i for i, ad in by_id.items() if ad.get("JobCoolDownExpiration", 0) > ad["ServerTime"]
        ],
        "blocked_for_s": {
            i: ad["ServerTime"] - ad["EnteredCurrentStatus"]
            for i, ad in by_id.items()
            if ad["JobStatus"] == BLOCKED
        },
    }


def _edit(htcondor: ModuleType, request: Request) -> None:
    _edit_all(htcondor, _schedd(htcondor, request), request["constraint"], request["edits"])


def _let_start(htcondor: ModuleType, request: Request) -> None:
    for ids in _chunks(request["ids"]):
        _edit_all(htcondor, _schedd(htcondor, request), _named(request, ids), request["edits"])


def _prioritize(htcondor: ModuleType, request: Request) -> None:
    schedd, edits = _schedd(htcondor, request), {"JobPrio": str(int(request["priority"]))}
    for ids in _chunks(request["ids"]):
        _edit_all(htcondor, schedd, f"JobPrio =!= {FIRST} && {_named(request, ids)}", edits)


def _edit_all(
    htcondor: ModuleType, schedd: remote.Schedd, constraint: str, edits: dict[str, str]
) -> None:
    """Set attributes of the jobs that `constraint` selects; it is no error if there are none."""
    for attribute, value in edits.items():
        try:
            schedd.edit(constraint, attribute, value)
        except htcondor.HTCondorException:
            if schedd.query(constraint=constraint, projection=["ClusterId"], limit=1):
                raise


def _act(
    htcondor: ModuleType, action: object, request: Request, reason: tuple[str, int] | None = None
) -> None:
    """Act on the jobs that `constraint` selects, only on `ids` among them if given."""
    schedd, ids = _schedd(htcondor, request), request["ids"]
    parts = [None] if ids is None else _chunks(ids)
    for part in parts:
        selected = request["constraint"] if part is None else _named(request, part)
        schedd.act(action, selected, reason=reason)


def _named(request: Request, ids: list[str]) -> str:
    return remote.named(request["constraint"], ids)


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + ACT_CHUNK] for start in range(0, len(ids), ACT_CHUNK)]


def _collector(htcondor: ModuleType, request: Request) -> remote.Collector:
    manager = request["manager"]
    collector: remote.Collector = htcondor.Collector(*filter(None, [manager]))
    return collector


def _pilots(htcondor: ModuleType, request: Request) -> dict[str, object]:
    attributes = ["OSGPILOT_PILOT_ID", "JobId", "Machine", _TESTED, _METHODS, *_SLOT_SIZES]
    ads = _collector(htcondor, request).query(
        htcondor.AdType.Startd, constraint=request["constraint"], projection=attributes
    )
    found: dict[str, dict[str, list[int]]] = {}
    methods: dict[str, str] = {}
    machines: dict[str, str] = {}
    tested: set[str] = set()
    # anybody who may advertise a slot in the pool can put anything into its ad
    for ad in filter(_is_slot, ads):
        pilot = ad["OSGPILOT_PILOT_ID"]
        jobs = found.setdefault(pilot, {})
        methods[pilot] = str(ad.get(_METHODS, ""))
        machines[str(ad.get("Machine", ""))] = pilot
        if ad.get(_TESTED) is True:
            tested.add(pilot)
        if job_id := ad.get("JobId"):
            jobs[job_id] = [int(ad.get(a, 0)) // part for a, part in _SLOT_SIZES.items()]
    untested = sorted(found.keys() - tested)
    return {"jobs": found, "methods": methods, "machines": machines, "untested": untested}


def _occupied(htcondor: ModuleType, request: Request) -> dict[str, list[Any]]:
    """Return for each pilot when the pool last got its ad, and the jobs in it."""
    attributes = ["OSGPILOT_PILOT_ID", "JobId", "LastHeardFrom", "PartitionableSlot"]
    ads = _collector(htcondor, request).query(
        htcondor.AdType.Startd, constraint=request["constraint"], projection=attributes
    )
    found: dict[str, list[Any]] = {}
    for ad in filter(_is_slot, ads):
        heard = found.setdefault(ad["OSGPILOT_PILOT_ID"], [0.0, []])
        heard_s = ad.get("LastHeardFrom", 0)
        if ad.get("PartitionableSlot") and type(heard_s) in (int, float):
            heard[0] = float(heard_s)
        if "JobId" in ad:
            heard[1].append(ad["JobId"])
    return found


def _is_slot(ad: remote.Ad) -> bool:
    """Return True if the attributes to read from a slot's ad are valid."""
    names = (ad.get("OSGPILOT_PILOT_ID"), ad.get("JobId", ""))
    sizes = (ad.get(name, 0) for name in _SLOT_SIZES)
    return all(type(name) is str for name in names) and all(
        type(size) in (int, float) and 0 <= size < float("inf") for size in sizes
    )


def _greet(htcondor: ModuleType, request: Request) -> dict[str, object]:
    try:
        return remote.greet(htcondor, request["at"])
    except remote.NotReadyError as why:
        return {"problem": str(why)}


def _gate(htcondor: ModuleType, request: Request) -> dict[str, str]:
    address = request["at"]
    if address:
        there = remote.location(htcondor, address)
    else:
        there = htcondor.Collector().locate(htcondor.DaemonType.Schedd)
    user = htcondor.ping(there, "WRITE")["MyRemoteUserName"]
    return {"address": str(there.get("MyAddress", "")), "user": str(user)}


def _look(htcondor: ModuleType, request: Request) -> remote.Rows:
    constraint = f"({request['constraint']}) && {OF_RULES}"
    return remote.look(_schedd(htcondor, request), constraint, request["attributes"])


def _history(htcondor: ModuleType, request: Request) -> remote.Rows:
    named = _named(request, request["ids"])
    return remote.history(
        _schedd(htcondor, request), named, request["attributes"], len(request["ids"])
    )


def _retrieve(htcondor: ModuleType, request: Request) -> remote.Retrieved:
    return remote.retrieve(
        htcondor, _schedd(htcondor, request), request["constraint"], request["ids"]
    )


OPERATIONS: dict[str, Callable[[ModuleType, Request], object]] = {
    "ping": _ping,
    "pilots": _pilots,
    "occupied": _occupied,
    "submit": _submit,
    "keep_image": _keep_image,
    "find": _find,
    "held": _held,
    "tagged": _tagged,
    "remove": _remove,
    "force_remove": _force_remove,
    "release": _release,
    "rematch": _rematch,
    "negotiation": _negotiation,
    "edit": _edit,
    "let_start": _let_start,
    "prioritize": _prioritize,
    "greet": _greet,
    "gate": _gate,
    "look": _look,
    "history": _history,
    "retrieve": _retrieve,
}

if __name__ == "__main__":
    main()
