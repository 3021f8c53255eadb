"""What an access point on this machine and one on another host have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from snakemake_executor_plugin_osgpilot.common.names import safe_name
from snakemake_executor_plugin_osgpilot.htcondor.job_ad import ATTRIBUTES, sight
from snakemake_executor_plugin_osgpilot.htcondor.polling import ended
from snakemake_executor_plugin_osgpilot.htcondor.schemes import scheme_of, unfetched
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import (
    APART,
    AVOID,
    PAUSED,
    avoided,
    describe,
    items,
    resource_attributes,
)
from snakemake_executor_plugin_osgpilot.htcondor.worker_client import Worker
from snakemake_executor_plugin_osgpilot.htcondor.worker_lock import ASKING
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import WAKING
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import NegotiationStatus
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Shape

PING_S, SUBMIT_S, QUERY_S = 20.0, 120.0, 60.0


class CondorQueue:
    """Jobs of one run in a schedd's queue.

    `address` says which schedd (see `worker`), None the one of this machine; `manager` is the
    central manager, empty for the configured one. `image_way` says how an image travels, to a user;
    `wanted` are schemes of URLs among the inputs of the jobs submitted.
    """

    submit_s = SUBMIT_S
    common_images = False
    token: Mapping[str, str] = MappingProxyType({})
    """What is known since `ping` of the token that the schedd took, see `credentials`."""
    image_way = "with each job"
    signs = False
    """Whether its shadows sign URLs of S3 with keys from files of this machine."""

    def __init__(
        self,
        seat: RunIdentity,
        run_folder: Path,
        manager: str = "",
        address: dict[str, str] | None = None,
    ) -> None:
        self._seat = seat
        self._folder = run_folder
        self._manager = manager
        self._address = address
        self._worker = Worker(run_folder / ASKING if run_folder.name else None)
        self._checked = False
        self.wanted: set[str] = set()
        self.unfetched: frozenset[str] = frozenset()
        self.machines: dict[str, str] = {}

    @property
    def _names(self) -> dict[str, str]:
        """What pilots, and we ourselves, know the jobs of this run by."""
        seat = self._seat
        return {
            "ProjectName": seat.project,
            "OSGPilotWorkflow": seat.run,
            "Owner": seat.owner,
        }

    @property
    def _owned(self) -> str:
        """Selects our own jobs: the schedd sets Owner, and lets nobody choose or change it."""
        return f'Owner =?= "{safe_name(self._seat.owner, "user name")}"'

    @property
    def _mine(self) -> str:
        """Selects the jobs of this run. Its tag is not enough: anybody can give it to a job."""
        return f'{self._owned} && OSGPilotWorkflow =?= "{self._seat.run}"'

    def _known_as(self, user: str) -> str:
        """Take in the user that the schedd maps us to; return the name that it gives our jobs."""
        owner = safe_name(user.partition("@")[0], "user name")
        self._seat = replace(self._seat, owner=owner)
        return owner

    @property
    def removal_hint(self) -> str:
        where = ""
        if self._address:
            where = f"-name {self._address['schedd']} "
            where += f"-pool {self._address['collector']} " if self._address["collector"] else ""
        return f"condor_rm {where}-constraint '{self._mine}'"

    def pilots(self) -> dict[str, dict[str, Shape]]:
        clause = f'OSGPILOT_RUN_ID =?= "{self._seat.run}"'
        if not self._seat.pilot_sharing.shared:
            clause += " && PartitionableSlot =?= true"
        told = self._ask("pilots", manager=self._manager, constraint=clause)
        self.unfetched = unfetched(self.wanted, told["methods"])
        # another thread reads it
        self.machines = self.machines | told["machines"]
        return {
            pilot: {job_id: Shape(*shape) for job_id, shape in jobs.items()}
            for pilot, jobs in told["jobs"].items()
        }

    def occupied(self) -> dict[str, tuple[float, frozenset[str]]]:
        clause = f'OSGPILOT_RUN_ID =?= "{self._seat.run}"'
        told = self._ask("occupied", manager=self._manager, constraint=clause)
        return {pilot: (heard_s, frozenset(jobs)) for pilot, (heard_s, jobs) in told.items()}

    def submit(self, submission: Submission) -> dict[str, str]:
        answer = self._ask(
            "submit",
            self.submit_s,
            description=self.description(submission),
            items=items(submission),
            expected={} if self._checked else self._names,
        )
        self._checked = True
        self.wanted |= {scheme_of(url) for urls in submission.urls.values() for url in urls}
        cluster, first = answer["cluster"], answer["first_proc"]
        return {key: f"{cluster}.{first + n}" for n, key in enumerate(submission.keys)}

    def description(self, submission: Submission) -> dict[str, str]:
        """Return the submit description of `submission`, see `describe`."""
        return describe(submission, self._seat, self._folder, common_images=self.common_images)

    def find(self) -> dict[str, str]:
        found = self._ask("find")
        return {key.rpartition("/")[2]: job_id for key, job_id in found.items()}

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        ids = None if job_ids is None else list(job_ids)
        self._ask("remove", ids=ids, reason=reason)

    def forget(self, job_ids: Iterable[str] | None) -> None:
        ids = None if job_ids is None else list(job_ids)
        self._ask("forget", ids=ids)

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        edits = {} if shape is None else resource_attributes(shape)
        self._ask("release", ids=list(job_ids), edits=edits)

    def offers(self, since_s: float) -> NegotiationStatus:
        told = self._ask("offers", manager=self._manager, since_s=int(since_s))
        refused, resting = frozenset(told["refused"]), frozenset(told["resting"])
        return NegotiationStatus(told["cycles_s"], refused, resting, told["blocked_for_s"])

    def wake(self, job_ids: Iterable[str]) -> None:
        self._ask("wake", ids=list(job_ids), subcode=WAKING)

    def avoid(self, pilots: Iterable[str]) -> None:
        self._ask("edit", edits={AVOID: avoided(pilots)})

    def set_paused(self, *, paused: bool) -> None:
        self._ask("edit", edits={PAUSED: str(paused).lower()})

    def let_start(self, job_ids: Iterable[str]) -> None:
        self._ask("let_start", ids=list(job_ids), edits={PAUSED: "false"})

    def keep_apart(self, *, apart: bool) -> None:
        self._ask("edit", edits={APART: str(apart).lower()})

    def held(self) -> dict[str, Event]:
        found = self._ask("held")
        return {job_id: Event(EventKind.HELD, **why) for job_id, why in found.items()}

    def ended(self, job_ids: Iterable[str]) -> dict[str, Event]:
        past = self._ask("history", ids=list(job_ids), attributes=ATTRIBUTES)
        seen = {job_id: sight(ad) for job_id, ad in past.items()}
        return {job_id: ended(each) for job_id, each in seen.items() if each.over}

    def missed_events(self) -> bool:
        return False

    def gate(self) -> tuple[str, str]:
        """Return the access point's host and port, and the user as whom it lets us submit.

        Raises `OutcomeUnknownError` or `RejectedError` if it does not.
        """
        answer = self._ask("gate", PING_S)
        return host_and_port(answer["address"]), answer["user"]

    def folders_of_jobs(self) -> list[tuple[str, Path]]:
        """Return run and job folder of each job that runs of this owner have in the queue."""
        clause = f"{self._owned} && OSGPilotWorkflow =!= undefined"
        return [(run, Path(folder)) for run, folder in self._ask("tagged", constraint=clause)]

    def interrupt(self) -> None:
        self._worker.interrupt()

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def _ask(self, do: str, timeout_s: float = QUERY_S, **more: Any) -> Any:
        request = {"do": do, "at": self._address, "constraint": self._mine, **more}
        return self._worker.ask(request, timeout_s=timeout_s)


def version(text: str) -> tuple[int, int]:
    """Return the release in a daemon's CondorVersion, (0, 0) if there is none."""
    found = re.search(r"(\d+)\.(\d+)\.", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def host_and_port(address: str) -> str:
    """Return `HOST:PORT` of a daemon's address (`<10.0.0.1:9618?addrs=...>`), empty if not told."""
    found = re.match(r"<(\[[0-9A-Fa-f:]+\]|[^:?<>]+):(\d+)", address)
    return f"{found[1]}:{found[2]}" if found else ""
