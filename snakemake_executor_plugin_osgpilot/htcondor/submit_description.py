"""Write submit descriptions. The only input of users in them is names that have been checked.

Everything else a job needs (its command, its inputs, its outputs) is in files of its job folder, so
no quoting rule of the submit language can change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from ..common.names import SAFE_NAME, safe_name, safe_offer
from ..errors import InputError
from ..jobs.access_point import Submission
from ..jobs.state.bundles import text_of
from ..jobs.state.job import SharedFile
from ..journal.run_folder import JOB_LOG
from ..model.identity import RunIdentity
from ..model.job_order import priority
from ..model.memory_balance import CORES_KEPT_S
from ..model.resources import MEMORY_QUANTUM_MB, Request, Shape
from .raw_submit_commands import merge

INPUT_FOLDER = "osgpilot-in"
OUTPUT_FOLDER = "osgpilot-out"
JOB_OUTPUT = "output"
JOB_FILE = "osgpilot-job"
BUNDLE = "bundle-"
"""Prefix of the folder of a bundle beside those of jobs, before the key of its first job."""

SHELL = "/bin/bash"

SHARED_FOLDER = "shared"
"""Folder beside those of jobs, with links to the inputs that are sent once to each pilot."""

JOB_LEASE_S = 600
"""Time that a job waits for a pilot that cannot be reached. HTCondor's default (JobLeaseDuration)
would make every lost node cost 40 minutes; if Slurm knows that a pilot is gone,
`JobManager.pilot_ended` is quicker."""

KEPT_S = 10 * 24 * 3600
"""Time that a schedd on another host keeps a job that ended and was not fetched (HTCondor's own
default for spooled jobs)."""

PILOT_ATTRIBUTES = ("OSGPILOT_PILOT_ID", "OSGPILOT_SLURM_JOB_ID", "OSGPILOT_NODE")
"""Attributes of the slot that come with the execute event (`ulog_execute_attrs`)."""

AVOID = "OSGPilotAvoid"
"""Attribute of a job: the pilots that it must not start on."""

FAILED_ON = "OSGPilotFailedOn"
"""Attribute of a job: the nodes or pilots on which it failed before."""

ELSEWHERE_S = 300
NOT_THERE_AGAIN = (
    f"((stringListMember(TARGET.OSGPILOT_NODE, MY.{FAILED_ON})"
    f" || stringListMember(TARGET.OSGPILOT_PILOT_ID, MY.{FAILED_ON})) =!= true"
    f" || time() - MY.QDate > {ELSEWHERE_S})"
)
"""Keeps a job off the places on which it failed, for this time after its submission: the others may
have gone meanwhile. Only jobs that failed have it, since its time makes each an autocluster of its
own."""

PAUSED = "OSGPilotPaused"
"""Attribute of a job: true to keep it from starting for now."""

KEPT_IMAGE = "OSGPilotImage"
"""Attribute of a job that never runs: the jobs of all submissions share an image, or inputs,
through it."""

CATALOGS = "My.CommonInputCatalogs"
CATALOG = "My._x_catalog_"
"""The names of a job's sets of common input files, and the files of one of them (HTCondor 25.14,
`computeCommonInputFileCatalogs`). `common_input_files` would have one name for all of a run,
whatever is in it."""

SHARED_THROUGH = "My.DAGManJobId"
"""Jobs of all clusters with the same value share common files on a pilot, others only those of
their own cluster (HTCondor 25.14, `determineCIFScopeAndType`). It has to be the cluster of a job in
the queue: there the schedd notes that an image could not be sent, and then sends it with each job.
"""

APART = "OSGPilotApart"
"""Attribute of a job: true to spread it over pilots if it needs much memory."""

STARTS_BESIDE = (
    "MY.RequestMemory * TARGET.TotalSlotCpus <= MY.RequestCpus * TARGET.TotalSlotMemory"
    " || (TARGET.TotalSlotMemory - TARGET.Memory) * TARGET.TotalSlotCpus"
    " <= (TARGET.TotalSlotCpus - TARGET.Cpus) * TARGET.TotalSlotMemory"
    f" || (time() - TARGET.NumDynamicSlotsTime < {CORES_KEPT_S:.0f}) =!= true"
)
"""`memory_balance.may_start_beside` for a slot. NumDynamicSlotsTime is when a dynamic slot was last
created or removed there (HTCondor manual, STARTD_LATCH_EXPRS): no core is kept for long."""

NOTE = "osgpilot "
"""Prefix of the job's key in the user notes of a submit event, so that the log alone maps jobs to
ids. `submit_event_notes` does not work: in 25.14, the name of the batch replaces them."""

AGAIN_AFTER_S = 90
LATER_AGAIN = f"(isUndefined(MY.LastVacateTime) || time() - MY.LastVacateTime > {AGAIN_AFTER_S})"
"""Keeps a job with a common image from starting too soon after it lost its pilot. In a schedd of
25.14, the process that sent the image there lives on for 20 s of a lease and 10 s of shutdown,
under a number made from that of the job for which it was sent. If the image of that job is sent to
another pilot meanwhile, the schedd confuses the two, and jobs are never started."""

RUNTIME_BUCKETS_MIN = (5, 15, 30, 60, 120, 240, 480, 720, 1200)
"""Runtimes are rounded up to these, so that few different requirements reach the negotiator."""

LONG_AFTER_S = 10 * 3600
LONG_NEEDS_S = 40 * 3600
"""OSPool, JobDurationCategory: a Medium job is expected to take up to 10 h and held at 20 h, a Long
one up to 20 h and held at 40 h. Pilots take Long jobs only while they have more than 40 h to live
(osgvo-docker-pilot, 50-main.config)."""

CATEGORY_HOURS = {"Medium": 20, "Long": 40}
"""Hours of execution after which the access points of the OSG hold a job of a category."""

MANUFACTURERS = {
    "nvidia": '!regexp("(AMD|Radeon|Instinct|Intel)", DeviceName, "i")',
    "amd": 'regexp("(AMD|Radeon|Instinct)", DeviceName, "i")',
}
"""Conditions on the manufacturer of a GPU. HTCondor advertises names only, and NVIDIA's do not
always have the manufacturer in them (`Tesla V100-PCIE-16GB`)."""

_GPU_MODEL = re.compile(r"[A-Za-z0-9]+([ ._+-]+[A-Za-z0-9]+)*")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_@%+=:,./~ -]+")
_IMAGE = re.compile(r"[A-Za-z0-9_@%+=:./~-]+")

PLAIN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~:/%!*()&=+;@-]+")
"""URLs that no part of HTCondor reads as more than one or as something else. A query or a fragment
would also become part of the name of the file."""


def claimed_memory_mb(requested_mb: int) -> int:
    """Return the memory that a job which requests `requested_mb` takes of a pilot."""
    return -(-requested_mb // MEMORY_QUANTUM_MB) * MEMORY_QUANTUM_MB


def runtime_bucket_s(runtime_s: int) -> int:
    """Return `runtime_s` rounded up to a bucket; 0 stays 0, beyond the last it stays as it is."""
    buckets = (60 * minutes for minutes in RUNTIME_BUCKETS_MIN)
    return next((b for b in buckets if runtime_s <= b), runtime_s) if runtime_s else 0


def needed_life_s(runtime_s: int, pilot_life_s: int) -> int:
    """Return the remaining life that a job of this runtime needs of a pilot.

    Jobs above 10 h become Long if new pilots live long enough to run such jobs at all; a Long job
    needs 40 h, whatever its own runtime.
    """
    bucket_s = runtime_bucket_s(runtime_s)
    if runtime_s > LONG_AFTER_S and pilot_life_s > LONG_NEEDS_S:
        return max(bucket_s, LONG_NEEDS_S)
    return bucket_s


def duration_category(life_s: int) -> str:
    """Return the JobDurationCategory of a job that needs `life_s` of a pilot."""
    return "Long" if life_s >= LONG_NEEDS_S else "Medium"


def requirements(runtime_s: int, offers: tuple[str, ...] = ()) -> str:
    """Return the requirements of a job: pilots that live until it ends, are not to be avoided, have
    one of its `offers` if any, and enough free memory if it is spread; none while it is paused.

    The collector keeps a pilot that was killed for 15 minutes (CLASSAD_LIFETIME), and the
    negotiator matches the same job to it repeatedly: `avoided` has the names of such pilots.
    """
    avoids = f"stringListMember(TARGET.OSGPILOT_PILOT_ID, MY.{AVOID}) =!= true"
    there = f"MY.{PAUSED} =!= true && {avoids} && (MY.{APART} =!= true || {STARTS_BESIDE})"
    if offers:
        listed = ", ".join(f'"{safe_offer(offer)}"' for offer in offers)
        there += f" && member(TARGET.OSGPILOT_OFFER, {{{listed}}}) =?= true"
    if not runtime_s:
        return there
    left = f"TARGET.GLIDEIN_ToDie - time() > {runtime_s}"
    return f"{there} && (isUndefined(TARGET.GLIDEIN_ToDie) || {left})"


def avoided(pilots: Iterable[str]) -> str:
    """Return the value of `AVOID` for these pilots."""
    return '"' + ",".join(safe_name(pilot, "pilot") for pilot in pilots) + '"'


def resource_attributes(shape: Shape) -> dict[str, str]:
    """Return the job attributes to change so that a job in the queue requests this memory and disk.

    RequestMemory is in MB, RequestDisk in KB (HTCondor manual, Job ClassAd Attributes).
    """
    return {"RequestMemory": str(shape.memory_mb), "RequestDisk": str(shape.disk_mb * 1024)}


def require_gpus(model: str = "", manufacturer: str = "") -> str:
    """Return the condition on a GPU (submit command `require_gpus`), empty for any.

    `model` is words of the device's name, in any case and with any separators between them:
    `a100` fits `NVIDIA A100-SXM4-40GB`, `a10` does not. Raises `InputError`.
    """
    clauses = []
    if model:
        if not _GPU_MODEL.fullmatch(model):
            raise InputError("letters, digits, blanks and . _ + - only, as in `A100`")
        words = "[^A-Za-z0-9]+".join(re.findall("[A-Za-z0-9]+", model))
        edge = "[^A-Za-z0-9]"
        clauses.append(f'regexp("(^|{edge}){words}({edge}|$)", DeviceName, "i")')
    if manufacturer:
        if manufacturer.lower() not in MANUFACTURERS:
            raise InputError(f"known are {', '.join(MANUFACTURERS)}")
        clauses.append(MANUFACTURERS[manufacturer.lower()])
    return " && ".join(clauses)


def describe(
    submission: Submission,
    identity: RunIdentity,
    run_folder: Path,
    *,
    common_images: bool = False,
    keeper_cluster: int = 0,
) -> dict[str, str]:
    """Return the submit description of `submission`; variables of single jobs are in `items`.

    Job folders are `run_folder/jobs/KEY`, those of bundles `run_folder/jobs/bundle-KEY`. The whole
    folder `osgpilot-out` is transferred back, also after a failure, so that a failing rule never
    puts its job on hold. `common_images` is True if the access point can send an image once for all
    jobs of a submission on one pilot; with the `keeper_cluster` of its image, it does so for all
    submissions.
    """
    folder = plain_path(run_folder)
    request = submission.request
    shape = request.job_class.shape
    runtime_s = request.job_class.runtime_s
    needed_s = runtime_s + int(submission.bundle_s) if runtime_s else 0
    own = f"jobs/{BUNDLE}$(OSGPilotFolder)" if submission.bundles else "jobs/$(OSGPilotKey)"
    description = {
        "universe": "vanilla",
        "executable": SHELL,
        "transfer_executable": "false",
        "arguments": JOB_FILE,
        "initialdir": f"{folder}/{own}",
        "log": f"{folder}/{JOB_LOG}",
        "submit_event_user_notes": f"{NOTE}$(OSGPilotKey)",
        "output": JOB_OUTPUT,
        "error": JOB_OUTPUT,
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": f"{INPUT_FOLDER}/$(OSGPilotUrls)",
        "transfer_output_files": OUTPUT_FOLDER,
        "request_cpus": str(shape.cores),
        "request_memory": str(shape.memory_mb),
        "request_disk": f"{shape.disk_mb}MB",
        "requirements": requirements(needed_s, request.job_class.offers),
        f"My.{AVOID}": avoided(submission.avoid),
        f"My.{APART}": str(submission.apart).lower(),
        "job_lease_duration": str(JOB_LEASE_S),
        "ulog_execute_attrs": ",".join(PILOT_ATTRIBUTES),
        "batch_name": f"osgpilot-{safe_name(identity.run, 'run')}",
        "My.ProjectName": f'"{safe_name(identity.project, "project")}"',
        "My.OSGPilotWorkflow": f'"{safe_name(identity.run, "run")}"',
        "My.OSGPilotJobKey": f'"{identity.run}/$(OSGPilotKey)"',
        "My.JobDurationCategory": f'"{duration_category(request.job_class.runtime_s)}"',
    }
    if off := [name for name in submission.kept_off if SAFE_NAME.fullmatch(name)]:
        description[f"My.{FAILED_ON}"] = avoided(off)
        description["requirements"] += f" && {NOT_THERE_AGAIN}"
    # a common image keeps its pilot for KEEP_DATA_CLAIM_IDLE (300 s) longer: not for one job
    common = (common_images and len(submission.keys) > 1) or bool(keeper_cluster)
    needed = description["requirements"]
    description |= _gpus(request) | _container(request, needed, common=common)
    if submission.shared:
        common &= request.common
        description |= _shared(submission, folder, needed, description, common=common)
    if keeper_cluster:
        description[SHARED_THROUGH] = str(keeper_cluster)
    default = {"priority": "$(OSGPilotPriority)"}
    return default | merge(description, request.extras)


def spooled(description: dict[str, str]) -> dict[str, str]:
    """Return the description for a schedd on another host, whose event log cannot be read.

    A job that ended stays in its queue until its outputs have been fetched and it is removed. The
    input folder is transferred as one: the names in it would be read as a list otherwise, and
    `wrapper.sh` unpacks it.
    """
    kept = {k: v for k, v in description.items() if k not in ("log", "ulog_execute_attrs")}
    inputs = description["transfer_input_files"].replace(f"{INPUT_FOLDER}/", INPUT_FOLDER, 1)
    return kept | {
        "arguments": f"{INPUT_FOLDER}/{JOB_FILE}",
        "transfer_input_files": inputs,
        "leave_in_queue": f"JobStatus == 4 && time() - (CompletionDate ?: time()) < {KEPT_S}",
        "job_machine_attrs": ",".join(PILOT_ATTRIBUTES),
    }


def keeper(
    submission: Submission, identity: RunIdentity, run_folder: Path, name: str, *, sent: bool
) -> dict[str, str]:
    """Return the description of a job that never runs, through which the jobs of this run share the
    image or the inputs of `submission`, as `name`; with `sent` the access point keeps a copy of its
    image.
    """
    image = image_name(submission.request.container_image) if sent else ""
    return {
        "universe": "vanilla",
        "executable": SHELL,
        "transfer_executable": "false",
        "initialdir": f"{plain_path(run_folder)}/jobs/{submission.keys[0]}",
        "should_transfer_files": "YES",
        **({"transfer_input_files": image} if sent else {}),
        "request_cpus": "1",
        "request_memory": "1",
        "request_disk": "1MB",
        "requirements": "false",
        "batch_name": f"osgpilot-{safe_name(identity.run, 'run')}",
        "My.ProjectName": f'"{safe_name(identity.project, "project")}"',
        "My.OSGPilotWorkflow": f'"{safe_name(identity.run, "run")}"',
        f"My.{KEPT_IMAGE}": f'"{safe_name(name, "image")}"',
    }


def _gpus(request: Request) -> dict[str, str]:
    count = request.job_class.shape.gpus
    if not count:
        return {}
    wanted = require_gpus(request.gpu_model, request.gpu_manufacturer)
    return {"request_gpus": str(count)} | ({"require_gpus": wanted} if wanted else {})


def _container(request: Request, requirements: str, *, common: bool) -> dict[str, str]:
    image = request.container_image
    if not image:
        return {}
    lines = {"universe": "container", "container_image": image_name(image)}
    if not request.transfer_image:
        lines["transfer_container"] = "false"
    elif common and request.common and image.endswith(".sif"):
        lines["container_is_common"] = "true"
        lines["requirements"] = f"({requirements}) && {LATER_AGAIN}"
    return lines


def _shared(
    submission: Submission,
    folder: str,
    requirements: str,
    description: Mapping[str, str],
    *,
    common: bool,
) -> dict[str, str]:
    """Return the lines for shared inputs; which of them a job has is in `items`.

    Unless they can be common files, they travel with each job.
    """
    if not common:
        given = f"{description['transfer_input_files']}$(OSGPilotShared)"
        return {"transfer_input_files": given}
    place = f"{folder}/jobs/{SHARED_FOLDER}"
    names = {name for files in submission.shared.values() for name, _ in files}
    lines = {f"{CATALOG}{name}": f'"{place}/{safe_name(name, "input")}"' for name in sorted(names)}
    before = ""
    if "container_is_common" in description:
        image = description["container_image"]
        before = _catalog_of(image)
        # the one that condor_submit makes would not be among these
        lines[f"{CATALOG}{before}"] = f'"{image}"'
    return lines | {
        CATALOGS: f'"{before}$(OSGPilotCatalogs)"',
        "requirements": f"({requirements}) && {LATER_AGAIN}",
    }


def _catalog_of(image: str) -> str:
    """Return the name that condor_submit (25.14) gives a common image. With another one, jobs that
    share inputs would get it apart from the others.
    """
    return f"container_{sha256(image.encode()).hexdigest()[:8]}"


def items(submission: Submission) -> list[dict[str, str]]:
    """Return the variables of each job. Raises `InputError` for a URL that could do harm."""
    default = priority(submission.request.job_class.shape, submission.largest)

    def priority_of(*keys: str) -> dict[str, str]:
        found = (submission.priorities.get(key, default) for key in keys)
        return {"OSGPilotPriority": str(max(found))}

    if submission.bundles:
        return [
            {"OSGPilotKey": text_of(keys), "OSGPilotFolder": keys[0], "OSGPilotUrls": ""}
            | priority_of(*keys)
            for keys in submission.bundles
        ]
    return [
        {"OSGPilotKey": key, "OSGPilotUrls": "".join(map(_listed, submission.urls.get(key, ())))}
        | priority_of(key)
        | (_shared_of(submission.shared.get(key, ())) if submission.shared else {})
        for key in submission.keys
    ]


def _shared_of(files: Iterable[SharedFile]) -> dict[str, str]:
    names = [safe_name(each.name, "input") for each in files]
    return {
        "OSGPilotCatalogs": "".join(f",{name}" for name in names),
        # relative to the job's folder
        "OSGPilotShared": "".join(f",../{SHARED_FOLDER}/{name}" for name in names),
    }


def _listed(url: str) -> str:
    if not PLAIN_URL.fullmatch(url):
        raise InputError(f"the URL {url!r} has characters that HTCondor would misread")
    return f",{url}"


def is_plain(path: Path) -> bool:
    """Return True if the submit language reads `path` unchanged."""
    return bool(_PLAIN_PATH.fullmatch(str(path)))


def plain_path(path: Path) -> str:
    """Return `path` as text. Raises `InputError` unless the submit language reads it unchanged."""
    if not is_plain(path):
        raise InputError(f"HTCondor would misread characters in {str(path)!r}")
    return str(path)


def is_plain_image(image: str) -> bool:
    """Return True if an image (path or URL) is safe in a submit description."""
    return bool(_IMAGE.fullmatch(image))


def image_name(image: str) -> str:
    """Return a container image (path or URL) that is safe in a submit description."""
    if not is_plain_image(image):
        raise InputError(f"container_image {image!r} has characters that are not allowed in it")
    return image
