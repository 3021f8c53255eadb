"""A command and its files as one shell script, and its answer. Pure.

The script is passed on the standard input of `sh`, so that no login shell and no process list shows
its content. A shell reads a compound command to its end before executing it: a script that arrives
only in part does nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutcomeUnknownError

UNWRITTEN, LATE = "unwritten", "late"

_UNSET = (
    "unset $(env | sed -nE 's/^((SLURM|S(BATCH|QUEUE|CANCEL|CONTROL|ACCT|ACCTMGR))_[A-Z0-9_]+)=.*"
    "/\\1/p' | grep -vxE 'SLURM_(CONF|CONF_SERVER|JWT)')\n"
    "export TZ=UTC0 LC_ALL=C"
)
"""Unsets variables that change the behaviour of Slurm's commands: those of an allocation in which
Snakemake runs, and the user's own. The path of its configuration and a token are kept. Times are
printed in UTC, independent of the host's time zone, and messages in English."""

_NOT_RUN = {
    LATE: "`{}`: the command came too late",
    UNWRITTEN: "files could not be written",
    "124": "`{}`: the command did not end in time",
    "125": "`{}`: `timeout` failed",
    "126": "`{}`: the command cannot be run",
    "127": "`{}` was not found",
    "137": "`{}`: the command was killed",
}
"""Statuses that are not the command's own; numbers are those of timeout(1) and sh(1)."""


@dataclass(frozen=True)
class Answer:
    """The result of a command. `at_s` is the time on its host when it began."""

    status: int
    out: str
    err: str
    at_s: int


def message(done: Answer) -> str:
    """Return why a command failed, in one line: what it said, on whichever output.

    Plugins of a site may explain a refusal on standard output, among greetings and checks that were
    passed: of these, the lines that tell of a problem count.
    """
    said = " ".join(done.err.split())
    if said and not _SAYS_NOTHING.fullmatch(said):
        return said
    lines = [" ".join(line.split()) for line in done.out.splitlines() if line.strip(_FRAME)]
    told = [line for line in lines if _PROBLEM.search(line)] or lines
    return " ".join(filter(None, [*told, said]))[:MESSAGE_MAX] or f"exit status {done.status}"


MESSAGE_MAX = 1000
_FRAME = " \t-=*#+|_"
_PROBLEM = re.compile(
    r"\b(error|fail(ed|ure)?|invalid|denied|rejected|refused|not|must|please|exceeds?|missing)\b",
    re.IGNORECASE,
)
_SAYS_NOTHING = re.compile(
    r"(sbatch: )?(error: )?(batch job submission failed: |allocation failure: )?"
    r"(unspecified error|job submission failed|error)\.?",
    re.IGNORECASE,
)


def script(
    argv: Sequence[str],
    files: Mapping[Path, str],
    *,
    mark: str,
    deadline_s: int | None,
    within_s: int,
    cluster: str = "",
) -> str:
    """Return the script that writes `files`, private to their owner, and then runs `argv`.

    It does nothing after `deadline_s` (the host's time; None: no deadline) and ends the command
    then, or after `within_s`. So even a command without an answer has certainly ended. `mark` is a
    random word that no output contains. Slurm's commands work on `cluster`, if it is named.
    """
    left = f"{within_s}" if deadline_s is None else f"$(( {deadline_s} - now ))"
    return f"""{{
{_UNSET}{_on(cluster)}
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


def _on(cluster: str) -> str:
    """Return the line that makes all of Slurm's commands work on a cluster, as `--clusters`."""
    return f"\nexport SLURM_CLUSTERS={shlex.quote(cluster)}" if cluster else ""


def _writes(files: Mapping[Path, str]) -> str:
    folders = dict.fromkeys(str(path.parent) for path in files)
    steps = [f"mkdir -p {shlex.quote(folder)}" for folder in folders]
    steps += [f"printf %s {shlex.quote(t)} > {shlex.quote(str(p))}" for p, t in files.items()]
    return "".join(f" &&\n{step}" for step in steps)


def answer(out: str, err: str, *, mark: str, what: str) -> Answer:
    """Return the answer of the command `what`. Raises `OutcomeUnknownError` if it is incomplete."""
    message = " ".join(err.split())
    parts = out.split(f"\n{mark} ")
    if len(parts) != 3 or not parts[2].endswith("\n"):
        raise OutcomeUnknownError(
            f"the connection broke during `{what}`" + (f": {message}" if message else "")
        )
    began, _, printed = parts[1].partition("\n")
    status = parts[2].strip()
    if why := _NOT_RUN.get(status):
        says_more = message and not message.startswith("timeout: failed to run command")
        raise OutcomeUnknownError(why.format(what) + (f": {message}" if says_more else ""))
    return Answer(int(status), printed, err, int(began))
