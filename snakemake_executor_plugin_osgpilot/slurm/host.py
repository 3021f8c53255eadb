"""The host with Slurm's commands and the files of a run."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ..common.subprocesses import Interrupt, run
from ..errors import AbandonedError
from .remote_script import Answer, answer, script

TIMEOUT_S = 60
SPARE_S = 10.0
"""Extra time for the connection; by then, the command has ended by itself."""

CLOCKS_DIFFER_S = 10.0
"""A clock that is further off is allowed for; less may be the time that a command took to begin."""


class Connection(Protocol):
    """A connection to a shell."""

    def log_in(self) -> None:
        """Open the connection; may prompt for a password. Raises an `OsgpilotError`."""

    def shell(self) -> list[str]:
        """Return the argument list of a `sh` on the host. Raises `NotSentError`."""

    def close(self) -> None:
        """Close the connection and clean up."""


class Here:
    """Implements `Connection` for this machine."""

    def log_in(self) -> None:
        """Nothing to open."""

    def shell(self) -> list[str]:
        return ["sh"]

    def close(self) -> None:
        """Nothing to close."""


class Host:
    """Runs commands over a connection, each with a deadline, one at a time.

    Those of Slurm work on `cluster`, if it is named. `ahead_s` is how far the host's clock is ahead
    of ours, 0 if they agree.
    """

    def __init__(self, connection: Connection, cluster: str = "") -> None:
        self._connection, self._cluster = connection, cluster
        self._ahead_s: float | None = None
        self.ahead_s = 0.0
        self._interrupt = Interrupt()

    def log_in(self) -> None:
        """Connect now, while the user can be prompted for a password. Without that, the first
        command connects. Raises an `OsgpilotError` with what to do.
        """
        self._connection.log_in()

    def interrupt(self) -> None:
        """Interrupt the command that another thread waits for."""
        self._interrupt.now()

    def run(
        self, argv: Sequence[str], *, files: Mapping[Path, str] | None = None,
        timeout_s: int = TIMEOUT_S, what: str = "",
    ) -> Answer:  # fmt: skip
        """Write `files` (text by path), then run a command; return its answer.

        Error messages name it `what`, by default its first word.

        Raises `NotSentError` if it did not start, `OutcomeUnknownError` if its outcome is unknown
        (it has certainly ended after `timeout_s`), `AbandonedError` after `interrupt`.
        """
        shell, mark = self._connection.shell(), f"osgpilot-{secrets.token_hex(8)}"
        deadline_s = None
        if self._ahead_s is not None:
            deadline_s = int(time.time() + self._ahead_s) + timeout_s
        text = script(
            argv, files or {}, mark=mark, deadline_s=deadline_s, within_s=timeout_s,
            cluster=self._cluster,
        )  # fmt: skip
        began_s = time.time()
        done = run(
            shell,
            stdin=os.fsencode(text),
            timeout_s=timeout_s + SPARE_S,
            interrupt=self._interrupt,
        )
        if self._interrupt.came:
            raise AbandonedError(f"`{what or argv[0]}` was interrupted")
        self._learn_time(done.stdout, mark, began_s)
        return answer(done.stdout, done.stderr, mark=mark, what=what or argv[0])

    def _learn_time(self, out: str, mark: str, began_s: float) -> None:
        """Record how far the host's clock is ahead of ours."""
        printed = out.partition(f"\n{mark} ")[2].partition("\n")[0]
        if printed.isascii() and printed.isdigit():
            self._ahead_s = int(printed) - began_s
            # the same from look to look, as times that change would be news
            if abs(self._ahead_s - self.ahead_s) > CLOCKS_DIFFER_S:
                self.ahead_s = self._ahead_s if abs(self._ahead_s) > CLOCKS_DIFFER_S else 0.0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
