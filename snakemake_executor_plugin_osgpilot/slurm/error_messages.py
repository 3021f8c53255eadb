"""What Slurm's messages mean: which of our errors a command that failed ends with."""

from __future__ import annotations

from snakemake_executor_plugin_osgpilot.errors import (
    OsgpilotError,
    OutcomeUnknownError,
    RejectedError,
    TryLaterError,
)

SBATCH = "sbatch"

UNKNOWN = (
    "unable to contact slurm controller",
    "communication connection failure",
    "message send failure",
    "message receive failure",
    "communication shutdown failure",
    "unexpected message received",
    "unexpected missing socket error",
    "insane message length",
    "header lengths are longer than data received",
    "connection rejected by handler",
    "connection forced closed",
    "connection timed out",
    "connection refused",
    "connection reset",
    "socket timed out on send/recv operation",
    "timed out",
    "zero bytes were transmitted or received",
    "would block",
    "shutting down",
    "operation now in progress",
    "resource temporarily unavailable",
    "slurm temporarily unable to accept job",
)
"""After these it is not known whether the request was carried out: the answer may have got lost."""

NEVER = (
    # what is asked for
    "invalid partition name",
    "invalid partition specified",
    "no partition specified",
    "requested nodes not in this partition",
    "requested node configuration is not available",
    "requested topology configuration is not available",
    "more processors requested than permitted",
    "node count specification invalid",
    "cpu count specification invalid",
    "cpu count per node can not be satisfied",
    "task count specification invalid",
    "memory specification can not be satisfied",
    "memory required by task is not available",
    "invalid feature specification",
    "invalid generic resource (gres) specification",
    "invalid gres specification",
    "duplicate generic resource",
    "requested gres option unsupported",
    "invalid trackable resource",
    "invalid license specification",
    "requested time limit is invalid",
    "invalid time specified",
    "invalid node name",
    "pathname of a file, directory or other parameter too long",
    "requested operation not supported",
    # by whom
    "access/permission denied",
    "user's group not permitted to use this partition",
    "invalid account",
    "invalid qos specification",
    "invalid wckey",
    "invalid or unknown association",
    "invalid user id",
    "invalid group id",
    "access denied to requested reservation",
    "requested reservation is invalid",
    # of which job, to scancel
    "invalid job id",
    "already completing or completed",
    "job has already finished",
    "job is not running",
    # by which program
    "incompatible versions of client and server code",
    "unrecognized option",
    "invalid option",
    "unable to open file",
)
"""After these the same request gets the same answer; after any other, time may cure it."""

# Texts of src/common/slurm_errno.c (Slurm 20.11 to 25.11), in small letters and without their ends;
# some of sbatch's own (src/sbatch/opt.c, src/common/proc_args.c).


def failure(command: str, said: str) -> OsgpilotError:
    """Return the error for what `command` `said` when it failed.

    A limit on a user's jobs and one on a job's size have the same message, and what a site's own
    plugin refuses is an "unspecified error"; so sbatch is asked again, less and less often.
    """
    text, told = f"{command}: {said}", said.lower()
    if any(part in told for part in UNKNOWN):
        return OutcomeUnknownError(text)
    if any(part in told for part in NEVER):
        return RejectedError(text)
    return TryLaterError(text) if command == SBATCH else OutcomeUnknownError(text)
