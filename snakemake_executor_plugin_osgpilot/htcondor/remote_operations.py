"""What the worker process does at a schedd on another host, beside what it does at any schedd."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from snakemake_executor_plugin_osgpilot.htcondor import credentials
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import SPOOLING

RELEASE_LOOKS, RELEASE_PAUSE_S = 50, 0.2
"""A schedd releases jobs a moment after their inputs have arrived."""

Address = dict[str, str]
"""`schedd` is its name, `collector` a host and port that know it (empty: the configured ones)."""

Rows = dict[str, dict[str, Any]]
"""Attributes of jobs by `cluster.proc`; those that are not defined are left out."""

_located: dict[tuple[str, str], Any] = {}


class NotReadyError(Exception):
    """The access point cannot be used; the text says why and what to do."""


def location(htcondor: Any, address: Address) -> Any:
    """Return where the schedd is; the collector is asked once."""
    key = address["schedd"], address["collector"]
    if key not in _located:
        ad = _collector(htcondor, address).locate(htcondor.DaemonType.Schedd, address["schedd"])
        if ad is None:
            raise htcondor.HTCondorException(
                f"cannot locate `{address['schedd']}`: {_collector_name(address)} does not know it"
            )
        _located[key] = ad
    return _located[key]


def forget() -> None:
    """Ask for every location anew."""
    _located.clear()


def greet(htcondor: Any, address: Address) -> dict[str, Any]:
    """Return the `user` that the schedd knows us as, and the `token` by which (see `credentials`).

    Raises `NotReadyError` unless it lets us submit.
    """
    try:
        there = _collector(htcondor, address).locate(htcondor.DaemonType.Schedd, address["schedd"])
    except htcondor.HTCondorException as error:
        raise NotReadyError(f"{_collector_name(address)} does not answer ({error})") from error
    if there is None:
        raise NotReadyError(
            f"{_collector_name(address)} knows no access point `{address['schedd']}`; "
            f"{_known(htcondor, address)}"
        )
    try:
        htcondor.Schedd(there).query(constraint="false", projection=["ClusterId"], limit=1)
    except htcondor.HTCondorException as error:
        raise NotReadyError(
            f"access point {address['schedd']} does not answer ({error})"
        ) from error
    try:
        answer = htcondor.ping(there, "WRITE")
        user = str(answer["MyRemoteUserName"])
    except (htcondor.HTCondorException, KeyError) as error:
        raise NotReadyError(_no_token(htcondor, address["schedd"], there)) from error
    return {"user": user, "token": credentials.taken(htcondor, answer)}


def _collector(htcondor: Any, address: Address) -> Any:
    name = address["collector"]
    return htcondor.Collector(name) if name else htcondor.Collector()


def _collector_name(address: Address) -> str:
    return f"the collector {address['collector']}" if address["collector"] else "the collector"


def _known(htcondor: Any, address: Address) -> str:
    ads = _collector(htcondor, address).query(htcondor.AdType.Schedd, projection=["Name"])
    names = sorted(str(ad["Name"]) for ad in ads)
    return f"it knows {', '.join(names[:10])}{' and others' if names[10:] else ''}"


def _no_token(htcondor: Any, schedd: str, there: Any) -> str:
    try:
        # what anybody may do tells whose tokens are taken there
        domain = str(htcondor.ping(there, "READ").get("TrustDomain", ""))
    except htcondor.HTCondorException:
        domain = ""
    return (
        f"access point {schedd} does not let you submit: "
        f"{credentials.complaint(htcondor, domain)}; get a new one there with "
        f"{credentials.RENEW} and put it into a file in {credentials.folder(htcondor)} that you "
        "alone can read"
    )


def submit(htcondor: Any, schedd: Any, description: Any, items: list[dict[str, str]]) -> Any:
    """Submit jobs with their inputs, or none: what was submitted without inputs is taken back."""
    result = schedd.submit(description, spool=True, itemdata=iter(items))
    try:
        schedd.spool(result)
    except htcondor.HTCondorException:
        schedd.act(
            htcondor.JobAction.Remove,
            f"ClusterId == {result.cluster()}",
            ("osgpilot: its inputs did not arrive", 1),
        )
        raise
    _await_release(schedd, result.cluster())
    return result


def _await_release(schedd: Any, cluster: int) -> None:
    """Wait until the schedd has taken note of the inputs, so that `sweep` spares these jobs."""
    for _ in range(RELEASE_LOOKS):
        waiting = f"ClusterId == {cluster} && JobStatus == 5 && HoldReasonCode == {SPOOLING}"
        if not schedd.query(constraint=waiting, projection=["ProcId"], limit=1):
            return
        time.sleep(RELEASE_PAUSE_S)


def sweep(htcondor: Any, schedd: Any, constraint: str) -> str:
    """Remove the jobs whose inputs have not arrived; return a constraint that leaves them out.

    They are those of a submission that was cut off, and would wait for ever.
    """
    half = f"({constraint}) && JobStatus == 5 && HoldReasonCode == {SPOOLING}"
    schedd.act(htcondor.JobAction.Remove, half, ("osgpilot: its inputs did not arrive", 1))
    return f"({constraint}) && (JobStatus =!= 3 || StageInFinish =!= undefined)"


def look(schedd: Any, constraint: str, attributes: Iterable[str]) -> Rows:
    """Return all jobs that `constraint` selects, in one query."""
    projection = ["ClusterId", "ProcId", *attributes]
    return _rows(schedd.query(constraint=constraint, projection=projection), attributes)


def named(constraint: str, ids: Iterable[str]) -> str:
    """Return the constraint that selects those of these jobs that `constraint` selects."""
    procs: defaultdict[int, list[int]] = defaultdict(list)
    for cluster, proc in (map(int, job_id.split(".")) for job_id in ids):
        procs[cluster].append(proc)
    each = (f"ClusterId == {c} && member(ProcId, {{{str(p)[1:-1]}}})" for c, p in procs.items())
    return f"({constraint}) && ({' || '.join(each) or 'false'})"


def history(schedd: Any, constraint: str, attributes: Iterable[str], most: int) -> Rows:
    """Return the jobs that have left the queue and that `constraint` selects, the latest `most`."""
    projection = ["ClusterId", "ProcId", *attributes]
    return _rows(schedd.history(constraint, projection, most), attributes)


def _rows(ads: Iterable[Any], attributes: Iterable[str]) -> Rows:
    plain = (int, float, str, bool)
    wanted = tuple(attributes)
    return {
        f"{ad['ClusterId']}.{ad['ProcId']}": {
            name: told for name in wanted if type(told := value(ad, name)) in plain
        }
        for ad in ads
    }


def value(ad: Any, name: str) -> Any:
    """Return an attribute of a job, None if it is not defined.

    A reason may quote a file name of the job, in which there can be any byte: then it is returned
    as ClassAds write it.
    """
    try:
        return ad.get(name)
    except UnicodeDecodeError:
        return str(ad.lookup(name))


def retrieve(htcondor: Any, schedd: Any, constraint: str, ids: list[str]) -> dict[str, Any]:
    """Fetch the outputs of those of these jobs that `constraint` selects into their folders; return
    which `failed`, and `why` the last did.

    One that fails ends a request for many, so the others are then fetched one by one.
    """
    try:
        schedd.retrieve(named(constraint, ids))
    except htcondor.HTCondorException as error:
        if len(ids) == 1:
            # raises where the schedd is out of reach: that says nothing of the job
            schedd.query(constraint="false", projection=["ClusterId"], limit=1)
            return {"failed": ids, "why": str(error)}
        parts = [retrieve(htcondor, schedd, constraint, [job_id]) for job_id in ids]
        return {
            "failed": [job_id for part in parts for job_id in part["failed"]],
            "why": next((part["why"] for part in reversed(parts) if part["why"]), ""),
        }
    return {"failed": [], "why": ""}
