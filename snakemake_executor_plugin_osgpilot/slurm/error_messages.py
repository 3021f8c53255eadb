"""Slurm's error messages, mapped to exceptions."""

from __future__ import annotations

import re

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

_BY_SITE = re.compile(
    r"\b((must|should|please|have to|need to) (also )?(specify|request|provide|supply|use|set|add)"
    r"|(must|has to|needs to) be (specified|requested|provided|supplied|set|given)"
    r"|is (required|mandatory)|(do|does) not (specify|request|use|support)"
    r"|(is|are) not (supported|a valid|valid|available on)|no valid|not a member of)\b"
)
"""Messages of a site's submit plugin about a request that has to be changed."""

_PASSES = re.compile(
    r"\b(too many|limit|limits|maximum|more than|exceed\w*|currently|try again|later|busy"
    r"|maintenance|unavailable|temporar\w+)\b"
)
"""Words of a refusal that may pass, as when other jobs have ended."""

# Texts of src/common/slurm_errno.c (Slurm 20.11 to 25.11), in lower case and without their ends;
# some of sbatch's own (src/sbatch/opt.c, src/common/proc_args.c).


def failure(command: str, message: str) -> OsgpilotError:
    """Return the exception for the error message of `command`.

    A limit on a user's jobs and one on a job's size have the same message, and rejections by a
    site's own plugin are in words of its own; so sbatch is retried with backoff, unless these
    clearly ask for another request.
    """
    text, lower = f"{command}: {message}", message.lower()
    if any(part in lower for part in UNKNOWN):
        return OutcomeUnknownError(text)
    if any(part in lower for part in NEVER) or (
        command == SBATCH and _BY_SITE.search(lower) and not _PASSES.search(lower)
    ):
        return RejectedError(text)
    return TryLaterError(text) if command == SBATCH else OutcomeUnknownError(text)
