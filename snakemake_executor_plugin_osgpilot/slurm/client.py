"""Slurm through its commands, on whichever host they work."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from snakemake_executor_plugin_osgpilot.core.lifecycle import Row
from snakemake_executor_plugin_osgpilot.ports import Allocation
from snakemake_executor_plugin_osgpilot.site.load import SlurmOptions
from snakemake_executor_plugin_osgpilot.slurm import commands, parse
from snakemake_executor_plugin_osgpilot.slurm.host import Host
from snakemake_executor_plugin_osgpilot.slurm.refusals import failure

LOG_TAIL = 400


class SlurmClient:
    """Implements `ports.Slurm`; commands run one at a time, each with a deadline."""

    def __init__(self, host: Host, user: str, options: SlurmOptions, script: Path) -> None:
        self._host = host
        self._user = user
        self._options = options
        self._script = script

    def submit(self, allocation: Allocation) -> str:
        argv = commands.sbatch(allocation, self._options, self._script)
        # Slurm would make the log readable to others
        named = {**allocation.files, commands.LOG: ""}
        files = {allocation.folder / name: text for name, text in named.items()}
        return parse.allocation_id(self._answer(argv, files))

    def interrupt(self) -> None:
        self._host.interrupt()

    def look(self) -> dict[str, Row]:
        return parse.rows(self._answer(commands.squeue(self._user)))

    def folders(self) -> list[tuple[str, str, Path]]:
        """Return id, name and working folder of each allocation of the user that has not ended."""
        return parse.folders(self._answer(commands.squeue_folders(self._user)))

    def cancel_pending(self, allocation_ids: Sequence[str]) -> None:
        self._answer(commands.scancel_pending(allocation_ids))

    def expected_wait_s(self, allocation: Allocation) -> float | None:
        argv = commands.sbatch_test_only(allocation, self._options, self._script)
        return parse.expected_wait_s(self._host.run(argv).err, now_s=time.time())

    def verdict(self, allocation: Allocation, script: str) -> tuple[bool, str]:
        """Return whether Slurm would take this allocation, and in its words when or why not.

        Nothing is queued and no file is written: `sbatch` reads `script` on its standard input.
        """
        argv = commands.sbatch_test_only(allocation, self._options, self._script)[:-2]
        done = self._host.run(["sh", "-c", 'text=$1; shift; printf %s "$text" | "$@"', "-",
                               script, *argv])  # fmt: skip
        return done.status == 0, " ".join(done.err.split())

    def drain_running(self, allocation_ids: Sequence[str]) -> None:
        self._answer(commands.scancel_batch_usr1(allocation_ids))

    def end_running(self, allocation_ids: Sequence[str]) -> None:
        self._answer(commands.scancel_batch_term(allocation_ids))

    def kill(self, allocation_ids: Sequence[str]) -> None:
        self._answer(commands.scancel(allocation_ids))

    def write(self, files: Mapping[Path, str]) -> None:
        self._answer(["true"], files)

    def log_tail(self, folder: Path) -> str:
        return self._answer(["tail", "-c", str(LOG_TAIL), str(folder / commands.LOG)])

    def _answer(self, argv: Sequence[str], files: Mapping[Path, str] | None = None) -> str:
        done = self._host.run(argv, files=files)
        if done.status == 0:
            return done.out
        said = " ".join(done.err.split()) or f"exit status {done.status}"
        raise failure(argv[0], said)
