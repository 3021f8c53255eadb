"""Operations of the worker process for a schedd on another host."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol, TypedDict

from ..jobs.state.hold_policy import SPOOLING
from . import credentials

RELEASE_LOOKS, RELEASE_PAUSE_S = 50, 0.2
"""A schedd releases jobs a moment after their inputs have arrived."""

Address = dict[str, str]
"""`schedd` is its name, `collector` host and port of its collector (empty: the configured one)."""

Value = int | float | str | bool
"""Value of an attribute, as far as JSON has it."""

Rows = dict[str, dict[str, Value]]
"""Attributes of jobs by `cluster.proc`, without undefined ones."""


class Ad(Protocol):
    """A ClassAd of the bindings; expressions that they cannot evaluate stay expressions."""

    def __getitem__(self, name: str, /) -> Any: ...
    def get(self, name: str, default: object = None, /) -> Any: ...
    def lookup(self, name: str, /) -> object: ...
    def __contains__(self, name: object, /) -> bool: ...


class SubmitResult(Protocol):
    """The jobs of one submission."""

    def cluster(self) -> int: ...
    def first_proc(self) -> int: ...


class Schedd(Protocol):
    """A schedd, as the bindings know it (HTCondor manual, `htcondor2.Schedd`)."""

    def query(self, *, constraint: str, projection: Iterable[str], limit: int = -1) -> list[Ad]: ...
    def history(
        self, constraint: str, projection: Iterable[str], match: int, /
    ) -> Iterable[Ad]: ...
    def submit(
        self,
        description: object,
        /,
        *,
        spool: bool = False,
        itemdata: Iterator[dict[str, str]] | None = None,
    ) -> SubmitResult: ...
    def spool(self, result: SubmitResult, /) -> None: ...
    def act(
        self, action: object, selected: str, /, reason: tuple[str, int] | None = None
    ) -> object: ...
    def edit(self, constraint: str, attribute: str, value: str, /) -> object: ...
    def retrieve(self, constraint: str, /) -> None: ...


class Collector(Protocol):
    """A collector, as the bindings know it (HTCondor manual, `htcondor2.Collector`)."""

    def query(
        self, kind: object, /, *, constraint: str = "", projection: Iterable[str] = ()
    ) -> list[Ad]: ...
    def locate(self, kind: object, name: str = "", /) -> Ad | None: ...


class Keeper(TypedDict, total=False):
    """A job through which others share an image."""

    cluster: int
    path: str


class Retrieved(TypedDict):
    """The jobs whose outputs could not be fetched, and why the last could not."""

    failed: list[str]
    why: str


_located: dict[tuple[str, str], Ad] = {}


class NotReadyError(Exception):
    """The access point cannot be used; the text has the reason and what to do."""


def location(htcondor: ModuleType, address: Address) -> Ad:
    """Return the location of the schedd; the collector is queried once."""
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
    """Forget all locations, so that they are queried again."""
    _located.clear()


def greet(htcondor: ModuleType, address: Address) -> dict[str, object]:
    """Return the `user` that the schedd maps this user to, and the accepted `token` (see
    `credentials`).

    Raises `NotReadyError` unless it allows submissions.
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
    token = credentials.accepted(htcondor, answer)
    return {"user": user, "token": token, "version": str(there.get("CondorVersion", ""))}


def _collector(htcondor: ModuleType, address: Address) -> Collector:
    name = address["collector"]
    found: Collector = htcondor.Collector(name) if name else htcondor.Collector()
    return found


def _collector_name(address: Address) -> str:
    return f"the collector {address['collector']}" if address["collector"] else "the collector"


def _known(htcondor: ModuleType, address: Address) -> str:
    ads = _collector(htcondor, address).query(htcondor.AdType.Schedd, projection=["Name"])
    names = sorted(str(ad["Name"]) for ad in ads)
    return f"it knows {', '.join(names[:10])}{' and others' if names[10:] else ''}"


def _no_token(htcondor: ModuleType, schedd: str, there: Ad) -> str:
    try:
        # a ping for READ, which anybody may do, has the issuer of accepted tokens
        domain = str(htcondor.ping(there, "READ").get("TrustDomain", ""))
    except htcondor.HTCondorException:
        domain = ""
    return (
        f"access point {schedd} does not let you submit: "
        f"{credentials.complaint(htcondor, domain)}; get a new one there with "
        f"{credentials.RENEW} and put it into a file in {credentials.folder(htcondor)} that you "
        "alone can read"
    )


def submit(
    htcondor: ModuleType, schedd: Schedd, description: object, items: list[dict[str, str]]
) -> SubmitResult:
    """Submit jobs with their inputs, or none: jobs whose inputs fail to arrive are removed."""
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


def keep_image(
    htcondor: ModuleType, schedd: Schedd, constraint: str, description: Mapping[str, str]
) -> Keeper:
    """Return the `cluster` of a job through which others share an image, and the `path` of the
    image if it was sent to the access point; submit that job unless `constraint` selects one.
    """
    is_sent = "transfer_input_files" in description
    if kept := _keeper(schedd, constraint, is_sent=is_sent):
        return kept
    job = htcondor.Submit(dict(description))
    made = submit(htcondor, schedd, job, [{"OSGPilotKey": ""}]) if is_sent else schedd.submit(job)
    # a job that waits would be considered in every negotiation cycle
    reason = ("osgpilot: it keeps an image for the jobs of its run", 1)
    schedd.act(htcondor.JobAction.Hold, f"ClusterId == {made.cluster()}", reason)
    if kept := _keeper(schedd, constraint, is_sent=is_sent):
        return kept
    raise htcondor.HTCondorException("the access point does not keep the image of a job")


def _keeper(schedd: Schedd, constraint: str, *, is_sent: bool) -> Keeper:
    """Return the job that `constraint` selects, empty if there is none whose image has arrived."""
    there = f"({constraint}) && JobStatus =!= 3"
    there += " && StageInFinish =!= undefined" if is_sent else ""
    wanted = ["ClusterId", "Iwd", "TransferInput"]
    for ad in schedd.query(constraint=there, projection=wanted, limit=1):
        path = f"{ad['Iwd']}/{ad['TransferInput']}" if is_sent else ""
        return {"cluster": ad["ClusterId"], "path": path}
    return {}


def _await_release(schedd: Schedd, cluster: int) -> None:
    """Wait until the schedd has registered the inputs, so that `sweep` spares these jobs."""
    for _ in range(RELEASE_LOOKS):
        waiting = f"ClusterId == {cluster} && JobStatus == 5 && HoldReasonCode == {SPOOLING}"
        if not schedd.query(constraint=waiting, projection=["ProcId"], limit=1):
            return
        time.sleep(RELEASE_PAUSE_S)


def sweep(htcondor: ModuleType, schedd: Schedd, constraint: str) -> str:
    """Remove the jobs whose inputs have not arrived; return a constraint without them.

    They are those of an interrupted submission, and would never start.
    """
    half = f"({constraint}) && JobStatus == 5 && HoldReasonCode == {SPOOLING}"
    schedd.act(htcondor.JobAction.Remove, half, ("osgpilot: its inputs did not arrive", 1))
    return f"({constraint}) && (JobStatus =!= 3 || StageInFinish =!= undefined)"


def look(schedd: Schedd, constraint: str, attributes: Iterable[str]) -> Rows:
    """Return all jobs that `constraint` selects, in one query."""
    projection = ["ClusterId", "ProcId", *attributes]
    return _rows(schedd.query(constraint=constraint, projection=projection), attributes)


def named(constraint: str, ids: Iterable[str]) -> str:
    """Return `constraint` limited to these jobs."""
    procs: defaultdict[int, list[int]] = defaultdict(list)
    for cluster, proc in (map(int, job_id.split(".")) for job_id in ids):
        procs[cluster].append(proc)
    each = (f"ClusterId == {c} && member(ProcId, {{{str(p)[1:-1]}}})" for c, p in procs.items())
    return f"({constraint}) && ({' || '.join(each) or 'false'})"


def history(schedd: Schedd, constraint: str, attributes: Iterable[str], most: int) -> Rows:
    """Return the jobs that have left the queue and that `constraint` selects, the latest `most`."""
    projection = ["ClusterId", "ProcId", *attributes]
    return _rows(schedd.history(constraint, projection, most), attributes)


def _rows(ads: Iterable[Ad], attributes: Iterable[str]) -> Rows:
    plain = (int, float, str, bool)
    wanted = tuple(attributes)
    return {
        f"{ad['ClusterId']}.{ad['ProcId']}": {
            name: found for name in wanted if type(found := value(ad, name)) in plain
        }
        for ad in ads
    }


def value(ad: Ad, name: str) -> Any:
    """Return an attribute of a job, None if undefined.

    A reason may quote a file name of the job, with any bytes: then it is returned in the syntax of
    ClassAds.
    """
    try:
        return ad.get(name)
    except UnicodeDecodeError:
        return str(ad.lookup(name))


def retrieve(htcondor: ModuleType, schedd: Schedd, constraint: str, ids: list[str]) -> Retrieved:
    """Fetch the outputs of these jobs, as far as `constraint` selects them, into their folders;
    return which `failed`, and `why` the last did.

    A failure ends a request for many jobs, so the others are then fetched one by one.
    """
    try:
        schedd.retrieve(named(constraint, ids))
    except htcondor.HTCondorException as error:
        if len(ids) == 1:
            # raises if the schedd cannot be reached: the job is not at fault then
            schedd.query(constraint="false", projection=["ClusterId"], limit=1)
            return {"failed": ids, "why": str(error)}
        parts = [retrieve(htcondor, schedd, constraint, [job_id]) for job_id in ids]
        return {
            "failed": [job_id for part in parts for job_id in part["failed"]],
            "why": next((part["why"] for part in reversed(parts) if part["why"]), ""),
        }
    return {"failed": [], "why": ""}
