"""Parse the output of Slurm's commands. Unreadable output proves nothing, least of all that a
pilot has ended; jobs that are not pilots are ignored, whatever their names.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import OutcomeUnknownError
from ..journal.location import run_of
from ..pilots.batch_system import Expectation
from ..pilots.state.lifecycle import Row, Seen
from .commands import FIELDS

_QUEUED = "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD SPECIAL_EXIT"
_RUNNING = "RUNNING SUSPENDED STOPPED RESIZING SIGNALING"
_COMPLETING = "COMPLETING STAGE_OUT"
_FAILED = "FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE LAUNCH_FAILED RECONFIG_FAIL"
_CANCELLED = "CANCELLED PREEMPTED REVOKED"

STATES: dict[str, Seen] = {
    **dict.fromkeys(_QUEUED.split(), Seen.QUEUED),
    **dict.fromkeys(_RUNNING.split(), Seen.RUNNING),
    **dict.fromkeys(_COMPLETING.split(), Seen.COMPLETING),
    "COMPLETED": Seen.COMPLETED,
    **dict.fromkeys(_FAILED.split(), Seen.FAILED),
    **dict.fromkeys(_CANCELLED.split(), Seen.CANCELLED),
}
"""Slurm's job states (squeue(1), JOB STATE CODES) as observations of a pilot; a pilot in any
other state exists, but its state is unknown."""


def allocation_id(sbatch_output: str) -> str:
    """Return the job id from `sbatch --parsable` output: `id` or `id;cluster`, on the last line."""
    lines = sbatch_output.strip().splitlines()
    found = lines[-1].split(";")[0].strip() if lines else ""
    if not _is_number(found):
        raise OutcomeUnknownError(
            f"sbatch answered without a job id: {sbatch_output.strip()[:200]!r}"
        )
    return found


_TIME = "%Y-%m-%dT%H:%M:%S"
_TEST_ONLY = re.compile(
    r"to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?: using (\d{1,9}) processors)?"
)


def expectation(test_only_output: str, *, now_s: float) -> Expectation | None:
    """Return wait and cores of an allocation, from the output of `sbatch --test-only`."""
    found = _TEST_ONLY.search(test_only_output)
    start_s = timestamp(found[1]) if found else None
    if found is None or start_s is None:
        return None
    return Expectation(max(0.0, start_s - now_s), int(found[2] or 0))


def in_local_time(test_only_output: str) -> str:
    """Return the output of `sbatch --test-only` with local time in place of UTC."""
    found = _TEST_ONLY.search(test_only_output)
    start_s = timestamp(found[1]) if found else None
    if found is None or start_s is None:
        return test_only_output
    local = time.strftime(_TIME, time.localtime(start_s))
    return f"{test_only_output[: found.start(1)]}{local}{test_only_output[found.end(1) :]}"


def rows(squeue_output: str, mark: str) -> dict[str, Row]:
    """Return the user's pilots by name, from the output of `commands.squeue` with `mark`.

    Other jobs are left out. If a name occurs twice, one with a pilot's working folder counts, and
    of these the latest.
    """
    found: dict[str, Row] = {}
    for row in _pilots(squeue_output, mark):
        known = found.get(row.name)
        if known is None or _rank(known) <= _rank(row):
            found[row.name] = row
    return found


def folders(squeue_output: str, mark: str) -> list[tuple[str, str, Path]]:
    """Return id, name and working folder of the pilots that have not ended.

    A job that only has the name of a pilot is not ours: its folder is not that of a pilot.
    """
    return [
        (row.allocation_id, row.name, Path(row.folder))
        for row in _pilots(squeue_output, mark)
        if row.allocation_id and _is_at_home(row) and not row.seen.is_end
    ]


def check_answered(text: str) -> None:
    """Raise `OutcomeUnknownError` if squeue reports a failed query, whatever its exit status."""
    if found := _NO_ANSWER.search(text):
        raise OutcomeUnknownError(f"squeue: {found[0].strip()[:200]}")


_NO_ANSWER = re.compile(r"^.*slurm_load_jobs? error.*$", re.MULTILINE)
ID_DIGITS_MAX = 20
_NODE = re.compile(r"[A-Za-z0-9_.-]+")


def _pilots(squeue_output: str, mark: str) -> Iterator[Row]:
    """Yield the rows of pilots. Raises `OutcomeUnknownError` if the answer is truncated."""
    head, *lines = squeue_output.split(f"{mark}+")
    check_answered(head)
    for line in lines:
        text, end, after = line.partition(f"{mark}.")
        check_answered(after)
        fields = text.split(f"{mark},")
        if not end or len(fields) != len(FIELDS):
            raise OutcomeUnknownError(f"squeue's answer was truncated: {text[:200]!r}")
        if run_of(fields[1]):
            yield _row(fields)


def _row(fields: Sequence[str]) -> Row:
    name, folder = fields[1], fields[-1]
    job_id, _, state, reason, start, end, node, cores, _ = (field.strip() for field in fields)
    seen = STATES.get(state, Seen.UNKNOWN) if _is_number(job_id) else Seen.UNKNOWN
    return Row(
        job_id if _is_number(job_id) else "",
        name,
        seen,
        reason,
        # of a pending one, it is only expected
        started_s=None if seen is Seen.QUEUED else timestamp(start),
        ends_s=timestamp(end),
        # it may be passed to sbatch --exclude
        node=node if _NODE.fullmatch(node) else "",
        state=state,
        folder=folder,
        cores=int(cores) if _is_number(cores) else 0,
    )


def _rank(row: Row) -> tuple[bool, int, bool]:
    """Return a sort key that is largest for the allocation that is the pilot of this name.

    One that moved to another cluster of a federation is shown twice, revoked here.
    """
    return _is_at_home(row), int(row.allocation_id or 0), not row.seen.is_end


def _is_at_home(row: Row) -> bool:
    """Return True if an allocation's working folder is that of a pilot, RUN/pilots/NAME."""
    return Path(row.folder).parts[-3:-1] == (run_of(row.name), "pilots")


def _is_number(text: str) -> bool:
    """Return True if `text` can be a job id; it is passed to scancel unchanged."""
    return text.isascii() and text.isdigit() and len(text) < ID_DIGITS_MAX


def timestamp(text: str) -> float | None:
    """Return the seconds since the epoch for a UTC time printed by Slurm, None for N/A."""
    try:
        return float(calendar.timegm(time.strptime(text, _TIME)))
    except (ValueError, OverflowError):
        return None
