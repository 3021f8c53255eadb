"""A command and the files it needs as one shell script, and what came of it. Pure.

The script travels on the standard input of `sh`, so that no login shell and no list of processes
sees what is in it. A shell reads a compound command to its end before it begins: of a script that
arrives only in part, nothing is carried out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError

UNWRITTEN, LATE = "unwritten", "late"

_UNSET = (
    "unset $(env | sed -nE 's/^((SLURM|S(BATCH|QUEUE|CANCEL|CONTROL|ACCT|ACCTMGR))_[A-Z0-9_]+)=.*"
    "/\\1/p' | grep -vxE 'SLURM_(CONF|CONF_SERVER|JWT)')\n"
    "export TZ=UTC0 LC_ALL=C"
)
"""Forgets variables that change what Slurm's commands do: those of an allocation in which Snakemake
runs, and a user's own. Where its configuration is, and a token for it, stay known. Times are
printed in UTC, whatever the zone of the host, and messages in English."""

_NOT_RUN = {
    LATE: "the command came too late",
    UNWRITTEN: "files could not be written",
    "124": "the command did not end in time",
    "125": "`timeout` failed",
    "126": "the command cannot be run",
    "127": "the command was not found",
    "137": "the command was killed",
}
"""What a status tells that is not the command's own; numbers are those of timeout(1) and sh(1)."""


@dataclass(frozen=True)
class Answer:
    """What a command said. `at_s` is the time on its host when it began."""

    status: int
    out: str
    err: str
    at_s: int


def script(
    argv: Sequence[str],
    files: Mapping[Path, str],
    *,
    mark: str,
    deadline_s: int | None,
    within_s: int,
) -> str:
    """Return the script that writes `files`, private to their owner, and then runs `argv`.

    It does nothing after `deadline_s` (the host's time; None: whenever it arrives) and ends the
    command then, or after `within_s`. So a command that was not heard of again has ended for
    certain, too. `mark` is a word that nothing prints by chance.
    """
    left = f"{within_s}" if deadline_s is None else f"$(( {deadline_s} - now ))"
    return f"""{{
{_UNSET}
now=$(date +%s)
printf '\\n%s %s\\n' {mark} "$now"
left={left}
if [ "$left" -le 0 ]; then
status={LATE}
elif ! ( umask 077{_writes(files)} ) >&2; then
status={UNWRITTEN}
else
timeout -k 5 "$left" {shlex.join(argv)} < /dev/null
status=$?
fi
printf '\\n%s %s\\n' {mark} "$status"
exit 0
}}
"""


def _writes(files: Mapping[Path, str]) -> str:
    folders = dict.fromkeys(str(path.parent) for path in files)
    steps = [f"mkdir -p {shlex.quote(folder)}" for folder in folders]
    steps += [f"printf %s {shlex.quote(t)} > {shlex.quote(str(p))}" for p, t in files.items()]
    return "".join(f" &&\n{step}" for step in steps)


def answer(out: str, err: str, *, mark: str, what: str) -> Answer:
    """Return what the command `what` said. Raises `OutcomeUnknownError` unless it ran to its
    end."""
    said = " ".join(err.split())
    parts = out.split(f"\n{mark} ")
    if len(parts) != 3 or not parts[2].endswith("\n"):
        raise OutcomeUnknownError(f"`{what}` was cut off" + (f": {said}" if said else ""))
    began, _, printed = parts[1].partition("\n")
    status = parts[2].strip()
    if why := _NOT_RUN.get(status):
        said_too = f": {said}" if said else ""
        raise OutcomeUnknownError(
            f"{why}{said_too}" if status == UNWRITTEN else f"`{what}`: {why}{said_too}"
        )
    return Answer(int(status), printed, err, int(began))
