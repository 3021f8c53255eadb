"""The input of pilot.sh. Values are validated here and travel as a file, never as shell text."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from ..common.names import safe_name, safe_offer
from ..config.site import Site
from ..errors import InputError
from ..model.identity import PilotSharing, RunIdentity
from ..model.resources import END_MARGIN_S, OWN_ROOT, Pilot

SCRIPT = "pilot.sh"


OPEN = "(MY.OSGPILOT_CLOSED =!= true)"
"""START clause: false while the pilot drains or its scratch disk is full, as the `GATE` script
reports. Unlike OSG_NODE_VALIDATED, which the container's own script updates every 4 minutes, this
reaches the startd within seconds."""

GATE_EVERY_S = 5

GATE = {
    "STARTD_CRON_JOBLIST": "$(STARTD_CRON_JOBLIST) osgpilot",
    "STARTD_CRON_osgpilot_EXECUTABLE": "/bin/sh",
    "STARTD_CRON_osgpilot_ARGS": "/pilot/osgpilot-gate",
    "STARTD_CRON_osgpilot_MODE": "Periodic",
    "STARTD_CRON_osgpilot_PERIOD": f"{GATE_EVERY_S}s",
    "STARTD_CRON_osgpilot_KILL": "true",
}
"""The startd's cron runs a script written by pilot.sh (HTCondor manual, Daemon ClassAd Hooks),
run by `sh`, as scratch disks may be mounted noexec."""


def start_extra(seat: RunIdentity) -> str:
    """Return the START clause that admits only jobs within the seat's pilot sharing, besides the
    project, and only while the pilot accepts jobs.

    Jobs declare their project themselves, so with the pilot sharing `project` any user's jobs may
    run.
    """
    return f"({_may_share(seat)} && {OPEN})"


def _may_share(seat: RunIdentity) -> str:
    owner, run = safe_name(seat.owner, "owner"), safe_name(seat.run, "run")
    match seat.pilot_sharing:
        case PilotSharing.WORKFLOW:
            return f'(TARGET.Owner =?= "{owner}") && (TARGET.OSGPilotWorkflow =?= "{run}")'
        case PilotSharing.OWNER:
            return f'(TARGET.Owner =?= "{owner}")'
        case PilotSharing.PROJECT:
            return "True"


DISK_EXCEEDED = (
    "(JobUniverse != 13 && DiskUsage =!= UNDEFINED && DiskUsage > Disk "
    '&& !regexp("^data[0-9]", Name))'
)
"""The condition to evict a slot that exceeds its disk: HTCondor's own (the metaknob
POLICY:Hold_If_Disk_Exceeded), except for slots that keep an image for several jobs. HTCondor 25.14
gives these the image's size rounded down, evicts them at once, and may leave their jobs idle."""


COMMON_FILES_SPACE = "0"
"""What a slot takes off the disk that a job requests for the common files that it has already. By
default that is their size, since HTCondor links them into the job's folder; but wrapper.sh makes
copies of inputs. And where several came together, 25.14 counts with each those before it, so that a
job may be left with 1 MB."""


CONTAINER_ARGUMENTS = (
    'strcat("--home $_CONDOR_SCRATCH_DIR:/srv", '
    f'ifThenElse({OWN_ROOT} =?= true, " --writable-tmpfs", ""))'
)
"""Arguments of Apptainer for jobs: those of OSPool pilots (osg-flock, additional-htcondor-config),
and for jobs that ask for it a root file system in which they can make links (wrapper.sh)."""


MEMORY_LOOK_S = 30
"""Interval at which a pilot samples the memory and disk of jobs (STARTER_UPDATE_INTERVAL). With
HTCondor's 300 s, a job that exceeds its memory is noticed too late for its neighbours, as Slurm
kills the whole allocation."""


def parameters(site: Site, seat: RunIdentity, pilot: Pilot, run_folder: Path) -> dict[str, str]:
    """Return the input of pilot.sh: `option` lines for itself, `env` lines for the container.

    The container's variables are named as the OSG pilot container expects them.
    ACCEPT_JOBS_FOR_HOURS and RETIREMENT_HOURS must be valid but have no effect: pilot.sh sets the
    exact end of life from the end of the allocation.
    """
    options = {
        "image": site.image,
        "token": str(site.token),
        "scratch": site.scratch,
        "pilot_id": safe_name(pilot.name, "pilot"),
        "run_id": safe_name(seat.run, "run"),
        "walltime_s": str(pilot.walltime_s),
        "end_margin_s": str(END_MARGIN_S),
        "gpus": str(pilot.shape.gpus),
        "offer": safe_offer(pilot.offer),
        "run_folder": str(run_folder),
        "shared_folders": ":".join(site.shared_folders),
    }
    env = {
        "POOL": site.central_manager,
        "GLIDEIN_Site": site.site,
        "GLIDEIN_ResourceName": site.resource,
        "OSG_PROJECT_NAME": safe_name(seat.project, "project"),
        "GLIDEIN_Start_Extra": start_extra(seat),
        "GLIDEIN_RANDOMIZE_NAME": "true",
        "ACCEPT_JOBS_FOR_HOURS": str(max(1, -(-pilot.walltime_s // 3600))),
        "RETIREMENT_HOURS": "1",
        "ACCEPT_IDLE_MINUTES": str(site.pilot.idle_min),
        "NUM_CPUS": str(pilot.shape.cores),
        "MEMORY": str(pilot.shape.memory_mb),
        "ENABLE_REMOTE_SYSLOG": str(site.pilot.remote_log).lower(),
        "_CONDOR_MASTER_UPDATE_INTERVAL": "60",
        "_CONDOR_STARTER_UPDATE_INTERVAL": str(MEMORY_LOOK_S),
        "_CONDOR_DISK_EXCEEDED": DISK_EXCEEDED,
        "_CONDOR_CATALOG_SPACE": COMMON_FILES_SPACE,
        "_CONDOR_SINGULARITY_EXTRA_ARGUMENTS": CONTAINER_ARGUMENTS,
        **{f"_CONDOR_{knob}": value for knob, value in GATE.items()},
        **{f"_CONDOR_{knob}": value for knob, value in site.condor.items()},
    }
    if site.shared_folders:
        # for the containers of jobs; pilot.sh does it for the pilot's own
        env["SINGULARITY_BIND_EXTRA"] = ",".join(f"{each}:{each}" for each in site.shared_folders)
    tagged = {f"option {name}": value for name, value in options.items()}
    return tagged | {f"env {name}": value for name, value in env.items()}


def pilot_files(site: Site, values: Mapping[str, str]) -> dict[str, str]:
    """Return a pilot's files by name: its parameters, one per line, and the site's set-up lines."""
    lines = []
    for key, value in values.items():
        if set(value) & set("\n\r\0"):
            raise InputError(
                f"site file: the value of `{key.split()[-1]}` may not contain a line break"
            )
        lines.append(f"{key}={value}\n")
    return {"parameters": "".join(lines), "setup": "".join(f"{line}\n" for line in site.setup)}


def script() -> str:
    """Return the batch script of pilots."""
    return files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")
