"""Convert messages of HTCondor to errors."""

from __future__ import annotations

import re

from ..errors import OsgpilotError, OutcomeUnknownError, QueueFullError, RejectedError

_TRANSIENT = (
    *("connect", "communicat", "locate", "timeout", "timed out", "fetch ads", "authentica"),
    *("session", "performing action", "start command", "failed to send", "failed to receive"),
)
"""Words in HTCondor's messages after which the same request may succeed later."""

_NO_REASON = "Failed to create new cluster."
"""The whole message if the schedd went down; after a refusal, the reason follows."""

_LIMIT = re.compile(r"expected next ProcId to be (\d+), but Schedd says -([234])\b")
"""The schedd accepted that many jobs of the transaction and then none, which undoes it. In 25.14
-3 is MAX_JOBS_PER_OWNER, -4 MAX_JOBS_PER_SUBMISSION; -2 is MAX_JOBS_SUBMITTED (`NewProc`)."""

_ALL_FULL = "MAX_JOBS_SUBMITTED exceeded"
_RULE = re.compile(r"Unable to commit transaction,? *\w+:\d+: *(.+)")
"""A SUBMIT_REQUIREMENT of the administrators; its reason follows."""

_WHOSE = {"2": "altogether", "3": "of yours"}


def failure(request: str, message: str) -> OsgpilotError:
    """Return the error for a `message` of HTCondor about a request."""
    if found := _LIMIT.search(message):
        room, limit = int(found[1]), found[2]
        if limit == "4":
            text = f"the access point accepts {room} jobs in one submission"
            return QueueFullError(text, room, at_once=True)
        return QueueFullError(
            f"the access point accepts no more jobs {_WHOSE[limit]}", room, at_once=False
        )
    if _ALL_FULL in message:
        return QueueFullError(
            f"the access point accepts no more jobs {_WHOSE['2']}", 0, at_once=False
        )
    if found := _RULE.search(message):
        return RejectedError(f"a rule of the access point's administrators refuses it: {found[1]}")
    transient = message == _NO_REASON or any(word in message.lower() for word in _TRANSIENT)
    kind = OutcomeUnknownError if transient else RejectedError
    return kind(f"access point, `{request}`: {message}")
