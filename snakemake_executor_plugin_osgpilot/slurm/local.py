"""Slurm through the commands on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from snakemake_executor_plugin_osgpilot.core.lifecycle import Row
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.ports import Allocation
from snakemake_executor_plugin_osgpilot.programs import run
from snakemake_executor_plugin_osgpilot.site.load import SlurmOptions
from snakemake_executor_plugin_osgpilot.slurm import commands, parse

TIMEOUT_S = 60.0

_PASSING = (
    "unable to contact",
    "timed out",
    "timeout",
    "temporarily",
    "connection refused",
    "communication",
    "zero bytes",
    "try again",
    "send/recv",
)
"""Words of messages after which the same request may succeed (slurm_errno texts)."""


class LocalSlurm:
    """Implements `ports.Slurm`; commands run one at a time, each with a deadline."""

    def __init__(self, user: str, options: SlurmOptions, script: Path) -> None:
        self._user = user
        self._options = options
        self._script = script

    def submit(self, allocation: Allocation) -> str:
        argv = commands.sbatch(allocation, self._options, self._script)
        return parse.allocation_id(_answer(argv))

    def look(self) -> dict[str, Row]:
        return parse.rows(_answer(commands.squeue(self._user)))

    def folders(self) -> list[tuple[str, str, Path]]:
        """Return id, name and working folder of each allocation of the user that has not ended."""
        return parse.folders(_answer(commands.squeue_folders(self._user)))

    def cancel_pending(self, allocation_ids: Sequence[str]) -> None:
        _answer(commands.scancel_pending(allocation_ids))

    def expected_wait_s(self, allocation: Allocation) -> float | None:
        argv = commands.sbatch_test_only(allocation, self._options, self._script)
        return parse.expected_wait_s(run(argv, timeout_s=TIMEOUT_S).stderr, now_s=time.time())

    def drain_running(self, allocation_ids: Sequence[str]) -> None:
        _answer(commands.scancel_batch_usr1(allocation_ids))

    def end_running(self, allocation_ids: Sequence[str]) -> None:
        _answer(commands.scancel_batch_term(allocation_ids))

    def kill(self, allocation_ids: Sequence[str]) -> None:
        _answer(commands.scancel(allocation_ids))


def _answer(argv: Sequence[str]) -> str:
    done = run(argv, timeout_s=TIMEOUT_S)
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
    if any(word in said.lower() for word in _PASSING):
        raise Unanswered(f"{argv[0]}: {said}")
    raise Refused(f"{argv[0]}: {said}")
