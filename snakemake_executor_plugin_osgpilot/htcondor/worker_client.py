"""Client of the worker process: send requests with a deadline, restart it if it does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
from typing import TYPE_CHECKING, Any

from ..common.subprocesses import start_worker
from ..errors import OutcomeUnknownError
from .error_messages import failure
from .worker_lock import WorkerLock

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


TURN_S = 150.0
"""A bit longer than any request takes."""


class Worker:
    """One worker process at a time; safe to call from several threads.

    `turn` is the lock file that keeps other sessions of the same run from making requests.
    """

    def __init__(self, turn: Path | None = None) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._turn = WorkerLock(turn)

    def ask(self, request: dict[str, object], *, timeout_s: float) -> Any:
        """Return the answer to `request`.

        Raises `OutcomeUnknownError` without an answer within `timeout_s` or a connection to the
        access point, `QueueFullError` if it has no room for the jobs, `RejectedError` if it
        refused.
        """
        with self._lock, self._turn.taken(TURN_S):
            process = self._running()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(request | {"turn": self._turn.shared}) + "\n")
                process.stdin.flush()
                line = _line(process, timeout_s)
            except OSError:
                line = ""
            if not line:
                self._stop()
        if not line:
            raise OutcomeUnknownError(
                f"the access point did not answer `{request['do']}` within {timeout_s:.0f} s"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise failure(str(request["do"]), answer["error"])
        return answer["ok"]

    def interrupt(self) -> None:
        """End a request that another thread waits for, without an answer."""
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """End the worker process."""
        with self._lock:
            self._stop()
            self._turn.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            module = "snakemake_executor_plugin_osgpilot.htcondor.worker"
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            argv = [sys.executable, "-m", module]
            self._process = start_worker(argv, environment, self._turn.shared)
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process = None


def _line(process: subprocess.Popen[str], timeout_s: float) -> str:
    # answers are one line each, one at a time, so nothing stays in Python's buffer
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    return process.stdout.readline() if ready else ""
