"""The text of a failure that is reported to Snakemake, and the line that sums it up. Pure."""

from __future__ import annotations

import re

PREFIX = "osgpilot: "
COMMAND_FAILED = "the command failed with "
OUTPUT_FOLLOWS = "Its output ended with:"

QUOTED_MAX = 200
"""A longer line of a job's output is cut."""

_PLACE = re.compile(r" \((?:in Slurm job|on) [^()]*\)$")
_SHELL = re.compile(r"^\S+: line \d+: ")
"""The prefix of bash's own messages in a script."""

_NOISE = re.compile(
    r"\W*|Traceback \(most recent call last\):|To reproduce.*|Removing output.*"
    r"|File \".*\", line \d+, in .*"
)


def failure_text(cause: str, where: str, before: str, tail: str, advice: str = "") -> str:
    """Return why a job failed, where, what happened before, advice, and the end of its output."""
    place = f" ({where})" if where else ""
    happened = f"\nWhat happened: {before}" if before else ""
    printed = f"\n{OUTPUT_FOLLOWS}\n{tail}" if tail else ""
    helpful = f"\n{advice}" if advice else ""
    return f"{PREFIX}{cause}{place}{happened}{helpful}{printed}\n"


def summary(text: str) -> str:
    """Return the cause of a failure and the last line that the job printed, as one line."""
    first, _, rest = text.strip().partition("\n")
    cause = _PLACE.sub("", first.removeprefix(PREFIX)).removeprefix(COMMAND_FAILED)
    _, found, printed = rest.partition(f"{OUTPUT_FOLLOWS}\n")
    lines = [_SHELL.sub("", line.strip()) for line in printed.splitlines()] if found else []
    last = next((line for line in reversed(lines) if not _NOISE.fullmatch(line)), "")
    if len(last) > QUOTED_MAX:
        last = f"{last[:QUOTED_MAX]}..."
    return f'{cause}, "{last}"' if last else cause
