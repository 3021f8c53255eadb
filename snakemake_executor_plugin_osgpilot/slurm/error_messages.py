"""Slurm's error messages, mapped to exceptions."""

from __future__ import annotations

from ..errors import OsgpilotError, OutcomeUnknownError, RejectedError, TryLaterError

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
"""After these the outcome is unknown: the request may have been carried out and the answer lost."""

NEVER = (
    # the request
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
    # the user
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
    # the job, by scancel
    "invalid job id",
    "already completing or completed",
    "job has already finished",
    "job is not running",
    # the program
    "incompatible versions of client and server code",
    "unrecognized option",
    "invalid option",
    "unable to open file",
)
"""After these a retry gets the same answer; after any other message it may succeed."""

# Texts of src/common/slurm_errno.c (Slurm 20.11 to 25.11), in lower case and without their ends;
# some of sbatch's own (src/sbatch/opt.c, src/common/proc_args.c).


def failure(command: str, message: str) -> OsgpilotError:
    """Return the exception for the error message of `command`.

    A limit on a user's jobs and one on a job's size have the same message, and rejections by a
    site's own plugin are an "unspecified error"; so sbatch is retried with backoff.
    """
    text, lower = f"{command}: {message}", message.lower()
    if any(part in lower for part in UNKNOWN):
        return OutcomeUnknownError(text)
    if any(part in lower for part in NEVER):
        return RejectedError(text)
    return TryLaterError(text) if command == SBATCH else OutcomeUnknownError(text)
