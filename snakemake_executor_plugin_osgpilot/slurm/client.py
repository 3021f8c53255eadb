"""Slurm through its commands, on this host or another one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..config.site import SlurmOptions
from ..config.slurm_facts import Nodes
from ..errors import OutcomeUnknownError
from ..pilots.batch_system import Allocation, Expectation
from ..pilots.state.lifecycle import Row
from . import commands, parse
from .error_messages import failure
from .host import Host
from .inventory import partitions
from .remote_script import Answer, message

LOG_TAIL = 4000


class SlurmClient:
    """Implements `batch_system.Slurm`; commands run one at a time, each with a deadline."""

    def __init__(self, host: Host, user: str, options: SlurmOptions, script: Path) -> None:
        self._host = host
        self._user = user
        self._options = options
        self._script = script
        self._partitions: tuple[Nodes, ...] | None = None

    def submit(self, allocation: Allocation) -> str:
        argv = commands.sbatch(allocation, self._options, self._script)
        # created here, as Slurm would make the log readable for others
        by_name = {**allocation.files, commands.LOG: ""}
        files = {allocation.folder / name: text for name, text in by_name.items()}
        return parse.allocation_id(self._answer(argv, files).out)

    def interrupt(self) -> None:
        self._host.interrupt()

    def look(self) -> dict[str, Row]:
        rows = parse.rows(*self._shown())
        ahead_s = self._host.ahead_s
        return {name: row.by_clock(ahead_s) for name, row in rows.items()} if ahead_s else rows

    def folders(self) -> list[tuple[str, str, Path]]:
        """Return id, name and working folder of each pilot of the user that has not ended."""
        return parse.folders(*self._shown())

    def _shown(self) -> tuple[str, str]:
        mark = _mark()
        done = self._answer(commands.squeue(self._user, mark))
        parse.check_answered(done.err)
        return done.out, mark

    def cancel_pending(self, pilots: Mapping[str, str]) -> None:
        self._cancel(pilots, commands.PENDING)

    def expectation(self, allocation: Allocation) -> Expectation | None:
        argv = commands.sbatch_test_only(allocation, self._options, self._script)
        done = self._host.run(argv)
        return self._completed(parse.expectation(done.err, now_s=done.at_s), allocation)

    def verdict(self, allocation: Allocation, script: str) -> tuple[bool, str, Expectation | None]:
        """Return True if Slurm would accept this allocation, its message, and what it expects.

        Nothing is submitted and no file is written: `sbatch` reads `script` on standard input.
        """
        argv = commands.sbatch_test_only(allocation, self._options, self._script)[:-2]
        done = self._host.run(["sh", "-c", 'text=$1; shift; printf %s "$text" | "$@"', "-",
                               script, *argv])  # fmt: skip
        said = message(done)
        expected = self._completed(parse.expectation(said, now_s=done.at_s), allocation)
        return done.status == 0, parse.in_local_time(said), expected

    def _completed(self, said: Expectation | None, wanted: Allocation) -> Expectation | None:
        """Return what is expected with the cores that an allocation gets for its memory, too: those
        `sbatch --test-only` does not tell.
        """
        if said is None or self._options.memory == "none":
            return said
        if self._partitions is None:
            with suppress(OutcomeUnknownError):
                self._partitions = partitions(self._host)
        name = wanted.partition or self._options.partition
        cores = [
            each.cores_for_memory(wanted.cores, wanted.memory_mb, self._options.memory)
            for each in self._partitions or ()
            if each.name in name.split(",") or (each.is_default and not name)
        ]
        return said._replace(cores=max(said.cores, *cores)) if cores else said

    def drain_running(self, pilots: Mapping[str, str]) -> None:
        self._cancel(pilots, commands.DRAIN)

    def end_running(self, pilots: Mapping[str, str]) -> None:
        self._cancel(pilots, commands.END)

    def kill(self, pilots: Mapping[str, str]) -> None:
        self._cancel(pilots, ())

    def _cancel(self, pilots: Mapping[str, str], options: Sequence[str]) -> None:
        argv = commands.scancel(self._user, _mark(), pilots, options)
        self._answer(argv, command="scancel")

    def write(self, files: Mapping[Path, str]) -> None:
        self._answer(["true"], files)

    def log_tail(self, folder: Path) -> str:
        return self._answer(["tail", "-c", str(LOG_TAIL), str(folder / commands.LOG)]).out

    def _answer(
        self, argv: Sequence[str], files: Mapping[Path, str] | None = None, command: str = ""
    ) -> Answer:
        """Return the answer of a command that succeeded; `command` names it if `argv` does not."""
        done = self._host.run(argv, files=files, what=command)
        if done.status == 0:
            return done
        raise failure(command or argv[0], message(done))


def _mark() -> str:
    """Return a random word that cannot be in the name of an existing job."""
    return secrets.token_hex(8)
