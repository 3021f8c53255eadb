"""Requests to a schedd's queue, on this machine or another host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..common.cache_folder import key_of
from ..common.names import safe_name
from ..jobs.access_point import Submission
from ..jobs.state.bundles import Bundles
from ..jobs.state.bundling import LIMIT
from ..jobs.state.events import Event, EventKind
from ..jobs.state.hold_policy import REMATCHING
from ..jobs.state.job_ids import htcondor_id, htcondor_ids, is_bundled
from ..jobs.state.stuck_jobs import NegotiationStatus
from ..journal.run_folder import RunFolder
from ..model.identity import RunIdentity
from ..model.resources import Request, Shape
from .bundle_folder import BundleFolders
from .job_ad import ATTRIBUTES, JOB_KEY, job_snapshot
from .polling import JobSnapshot, ended
from .remote_operations import Keeper
from .submit_description import (
    APART,
    AVOID,
    KEPT_IMAGE,
    PAUSED,
    avoided,
    describe,
    items,
    keeper,
    resource_attributes,
)
from .worker_client import Worker
from .worker_lock import ASKING

PING_S, SUBMIT_S, QUERY_S = 20.0, 120.0, 60.0

TRANSFER_S = 3600.0
"""Deadline for the file transfer of many jobs. HTCondor itself gives up a stalled connection, so
this is for stalls that it does not notice."""

COMMON_IMAGES_SINCE = (25, 14)
"""The first version of HTCondor in which `container_is_common` works as documented."""


class CondorQueue:
    """Jobs of one run in a schedd's queue.

    `run_folder` is a path that HTCondor reads unchanged (see `neutral_path`).
    `address` is that of the schedd (see `worker`), None for the one of this machine; `manager` is
    the central manager, empty for the configured one. `image_way` explains to the user how an image
    is transferred; `wanted` are URL schemes among the inputs and images of submitted jobs.
    """

    submit_s = SUBMIT_S
    common_images = False
    keeps_images = False
    """True if the jobs of all submissions can share an image, see `keeper`."""
    shares_inputs = False
    """True if inputs can be sent once to each pilot, too."""
    token: Mapping[str, str] = MappingProxyType({})
    """The token that the schedd accepted, known after `ping`; see `credentials`."""
    image_way = "with each job"
    can_bundle = False
    """True if several jobs can run as one job of HTCondor."""
    signs = False
    """True if its shadows sign S3 URLs with keys from files of this machine."""

    def __init__(
        self,
        identity: RunIdentity,
        run_folder: Path,
        manager: str = "",
        address: dict[str, str] | None = None,
    ) -> None:
        self._identity = identity
        self._folder = run_folder
        self._manager = manager
        self._address = address
        self._worker = Worker(run_folder / ASKING if run_folder.name else None)
        self._checked = False
        self._bundles = Bundles()
        self._bundle_folders = BundleFolders(run_folder, RunFolder(run_folder).job)
        self.wanted: set[str] = set()
        self.unsupported_schemes: frozenset[str] = frozenset()
        self.untested: frozenset[str] = frozenset()
        self.machines: dict[str, str] = {}

    @property
    def _names(self) -> dict[str, str]:
        """Attributes by which pilots and this run identify its jobs."""
        identity = self._identity
        return {
            "ProjectName": identity.project,
            "OSGPilotWorkflow": identity.run,
            "Owner": identity.owner,
        }

    @property
    def _owned(self) -> str:
        """Constraint on the user's own jobs: the schedd sets Owner, and nobody can change it."""
        return f'Owner =?= "{safe_name(self._identity.owner, "user name")}"'

    @property
    def _mine(self) -> str:
        """Constraint on the jobs of this run. Its tag is not enough: anybody can set it."""
        return f'{self._owned} && OSGPilotWorkflow =?= "{self._identity.run}"'

    def _known_as(self, user: str) -> str:
        """Set the user that the schedd maps this user to; return the owner of the jobs."""
        owner = safe_name(user.partition("@")[0], "user name")
        self._identity = replace(self._identity, owner=owner)
        return owner

    @property
    def removal_hint(self) -> str:
        where = ""
        if self._address:
            where = f"-name {self._address['schedd']} "
            where += f"-pool {self._address['collector']} " if self._address["collector"] else ""
        return f"condor_rm {where}-constraint '{self._mine}'"

    def pilots(self) -> dict[str, dict[str, Shape]]:
        clause = f'OSGPILOT_RUN_ID =?= "{self._identity.run}"'
        if not self._identity.pilot_sharing.shared:
            clause += " && PartitionableSlot =?= true"
        answer = self._ask("pilots", manager=self._manager, constraint=clause)
        self.unsupported_schemes = unsupported(self.wanted, answer["methods"])
        self.untested = frozenset(answer["untested"])
        # another thread reads it
        self.machines = self.machines | answer["machines"]
        return {
            pilot: {self._ids(job_id)[0]: Shape(*shape) for job_id, shape in jobs.items()}
            for pilot, jobs in answer["jobs"].items()
        }

    def occupied(self) -> dict[str, tuple[float, frozenset[str]]]:
        clause = f'OSGPILOT_RUN_ID =?= "{self._identity.run}"'
        answer = self._ask("occupied", manager=self._manager, constraint=clause)
        return {pilot: (heard_s, self._all(jobs)) for pilot, (heard_s, jobs) in answer.items()}

    def _ids(self, job_id: str) -> list[str]:
        """Return the ids of the jobs in a job of HTCondor."""
        return self._bundles.ids(job_id)

    def _all(self, job_ids: Iterable[str]) -> frozenset[str]:
        return frozenset(own for job_id in job_ids for own in self._ids(job_id))

    def submit(self, submission: Submission) -> dict[str, str]:
        for keys in submission.bundles:
            self._bundle_folders.write(keys, LIMIT * submission.bundle_s)
        described, cluster = self._with_keeper(submission)
        answer = self._ask(
            "submit",
            self.submit_s,
            description=self.description(described, cluster),
            items=items(submission),
            expected={} if self._checked else self._names,
        )
        self._checked = True
        self.wanted |= {scheme_of(url) for urls in submission.urls.values() for url in urls}
        if is_file_url(submission.request.container_image):
            self.wanted.add(scheme_of(submission.request.container_image))
        cluster, first = answer["cluster"], answer["first_proc"]
        if submission.bundles:
            added = [
                self._bundles.add(f"{cluster}.{first + n}", keys)
                for n, keys in enumerate(submission.bundles)
            ]
            return {key: job_id for ids in added for key, job_id in ids.items()}
        return {key: f"{cluster}.{first + n}" for n, key in enumerate(submission.keys)}

    def description(self, submission: Submission, keeper_cluster: int = 0) -> dict[str, str]:
        """Return the submit description of `submission`, see `describe`."""
        return describe(
            submission,
            self._identity,
            self._folder,
            common_images=self.common_images,
            keeper_cluster=keeper_cluster,
        )

    def _with_keeper(self, submission: Submission) -> tuple[Submission, int]:
        """Return `submission` and the cluster of the job that keeps its image, 0 if none does."""
        return submission, 0

    def _shared_as(self, request: Request) -> str:
        """Return a name for the image of `request` with its content, empty if each job gets it."""
        image = request.container_image
        shared = request.transfer_image and request.common and image.endswith(".sif")
        if not (self.keeps_images and shared):
            return ""
        if "://" in image:
            return key_of(image)
        try:
            status = Path(image).stat()
        except OSError:
            # the access point says so, in its words
            return ""
        # not its date, which says when a run used it last, if it is one of the cache
        return key_of(image, status.st_size, status.st_ino)

    def _keep(self, submission: Submission, name: str, *, sent: bool) -> Keeper:
        """Return the `cluster` of the job that keeps an image as `name`, and the `path` of the
        image there if it was `sent`.
        """
        job = keeper(submission, self._identity, self._folder, name, sent=sent)
        kept = f'{self._mine} && {KEPT_IMAGE} =?= "{name}"'
        timeout_s = TRANSFER_S if sent else QUERY_S
        kept_by: Keeper = self._ask("keep_image", timeout_s, constraint=kept, description=job)
        return kept_by

    def find(self) -> dict[str, str]:
        found = self._ask("find")
        ids: dict[str, str] = {}
        for text, job_id in found.items():
            ids |= self._bundles.of_text(job_id, text.rpartition("/")[2])
        return ids

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        ids = None if job_ids is None else htcondor_ids(job_ids)
        self._ask("remove", ids=ids, reason=reason)
        for keys in filter(None, map(self._bundles.keys, ids or ())):
            self._bundle_folders.discard(keys)

    def clear(self) -> None:
        """Remove the jobs that keep images for the jobs of this run."""
        if self.keeps_images:
            kept = f"{self._mine} && {KEPT_IMAGE} =!= undefined"
            self._ask("remove", ids=None, reason="osgpilot: the workflow ended", constraint=kept)

    def force_remove(self, job_ids: Iterable[str] | None) -> None:
        ids = None if job_ids is None else htcondor_ids(job_ids)
        self._ask("force_remove", ids=ids)

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        edits = {} if shape is None else resource_attributes(shape)
        self._ask("release", ids=htcondor_ids(job_ids), edits=edits)

    def negotiation_status(self, since_s: float) -> NegotiationStatus:
        answer = self._ask("negotiation", manager=self._manager, since_s=int(since_s))
        refused, resting = self._all(answer["refused"]), self._all(answer["resting"])
        blocked_for_s = {
            own: for_s for i, for_s in answer["blocked_for_s"].items() for own in self._ids(i)
        }
        return NegotiationStatus(answer["cycles_s"], refused, resting, blocked_for_s)

    def rematch(self, job_ids: Iterable[str]) -> None:
        self._ask("rematch", ids=htcondor_ids(job_ids), subcode=REMATCHING)

    def avoid(self, pilots: Iterable[str]) -> None:
        self._ask("edit", edits={AVOID: avoided(pilots)})

    def set_paused(self, *, paused: bool) -> None:
        self._ask("edit", edits={PAUSED: str(paused).lower()})

    def let_start(self, job_ids: Iterable[str]) -> None:
        self._ask("let_start", ids=htcondor_ids(job_ids), edits={PAUSED: "false"})

    def keep_apart(self, *, apart: bool) -> None:
        self._ask("edit", edits={APART: str(apart).lower()})

    def prioritize(self, job_ids: Iterable[str], priority: int) -> None:
        self._ask("prioritize", ids=list(job_ids), priority=priority)

    def held(self) -> dict[str, Event]:
        found = self._ask("held")
        held = [(job_id, Event(EventKind.HELD, **why)) for job_id, why in found.items()]
        return {own: event for each in held for own, event in self._expand(*each)}

    def ended(self, job_ids: Iterable[str]) -> dict[str, Event]:
        wanted = set(job_ids)
        ends = {job_id: ended(each) for job_id, each in self._past(wanted).items() if each.over}
        # what came back shows the ends of the members of a bundle
        bundles = {htcondor_id(each) for each in wanted if is_bundled(each)} - ends.keys()
        ends |= {bundle: Event(EventKind.TERMINATED, 0.0) for bundle in bundles}
        expanded = [pair for each in ends.items() for pair in self._expand(*each)]
        return {own: event for own, event in expanded if own in wanted}

    def _past(self, job_ids: Iterable[str]) -> dict[str, JobSnapshot]:
        """Return the jobs of HTCondor that these are, or are in, and that the history has."""
        asked = (*ATTRIBUTES, JOB_KEY)
        past = self._ask("history", ids=htcondor_ids(job_ids), attributes=asked)
        for job_id, ad in past.items():
            self._bundles.of_text(job_id, str(ad.get(JOB_KEY, "")).rpartition("/")[2])
        return {job_id: job_snapshot(ad) for job_id, ad in past.items()}

    def past_events(self, job_ids: Iterable[str]) -> list[tuple[str, Event]]:
        # the log has what came before their ends
        return list(self.ended(job_ids).items())

    def _expand(self, job_id: str, event: Event) -> list[tuple[str, Event]]:
        """Return the events of jobs that follow from an event of a job of HTCondor."""
        return self._bundles.expand(job_id, event, self._bundle_folders.take)

    def missed_events(self) -> bool:
        return False

    def gate(self) -> tuple[str, str]:
        """Return the access point's host and port, and the user as whom submissions are allowed.

        Raises `OutcomeUnknownError` or `RejectedError` if they are not.
        """
        answer = self._ask("gate", PING_S)
        return host_and_port(answer["address"]), answer["user"]

    def folders_of_jobs(self) -> list[tuple[str, Path]]:
        """Return run and job folder of each job in the queue of all runs of this owner."""
        clause = f"{self._owned} && OSGPilotWorkflow =!= undefined"
        return [(run, Path(folder)) for run, folder in self._ask("tagged", constraint=clause)]

    def interrupt(self) -> None:
        self._worker.interrupt()

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def _ask(self, do: str, timeout_s: float = QUERY_S, **more: object) -> Any:
        request = {"do": do, "at": self._address, "constraint": self._mine, **more}
        return self._worker.ask(request, timeout_s=timeout_s)


def version(text: str) -> tuple[int, int]:
    """Return the release in a daemon's CondorVersion, (0, 0) if there is none."""
    found = re.search(r"(\d+)\.(\d+)\.", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def host_and_port(address: str) -> str:
    """Return `HOST:PORT` of a daemon's address (`<10.0.0.1:9618?addrs=...>`), empty if unknown."""
    found = re.match(r"<(\[[0-9A-Fa-f:]+\]|[^:?<>]+):(\d+)", address)
    return f"{found[1]}:{found[2]}" if found else ""


def is_file_url(image: str) -> bool:
    """Return True if HTCondor's plugins fetch an image, and not Apptainer from a registry."""
    return "://" in image and image.endswith(".sif")


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case."""
    return url.partition("://")[0].lower()


def unsupported(wanted: Iterable[str], methods: Mapping[str, str]) -> frozenset[str]:
    """Return the schemes of `wanted` that none of the pilots can fetch.

    `methods` are what pilots advertise (HasFileTransferPluginMethods), by name; if none advertises
    any, nothing is known.
    """
    advertised = [each for each in methods.values() if each]
    known = {method.strip().lower() for each in advertised for method in each.split(",")}
    return frozenset(wanted) - known if advertised else frozenset()
