"""Start programs on behalf of a running workflow; the only module that does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ..errors import OutcomeUnknownError


class Interrupt:
    """Ends the program of a `run` call from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.came = False

    def now(self) -> None:
        """End the running program, if there is one."""
        with self._lock:
            # the PID of a process that has ended may be reused
            if self._process and self._process.poll() is None:
                self.came = True
                _kill_session(self._process)

    @contextmanager
    def ends(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        with self._lock:
            self._process, self.came = process, False
        try:
            yield
        finally:
            with self._lock:
                self._process = None


def run(
    argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"", interrupt: Interrupt | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its exit status and output.

    Raises `OutcomeUnknownError` when it cannot be started or does not end within `timeout_s`.
    """
    out, err, status = _finished(
        argv, subprocess.PIPE, timeout_s=timeout_s, stdin=stdin, interrupt=interrupt
    )
    return subprocess.CompletedProcess(argv, status, _text(out), _text(err))


def detach(argv: Sequence[str], *, timeout_s: float) -> int:
    """Run a program that daemonizes; return the exit status of its foreground process.

    It inherits no pipe, which it would keep open. Raises `OutcomeUnknownError` like `run`.
    """
    return _finished(argv, subprocess.DEVNULL, timeout_s=timeout_s, stdin=b"")[2]


def converse(argv: Sequence[str]) -> int:
    """Run an interactive program on the terminal; return its exit status."""
    return subprocess.run(argv, check=False).returncode


def has_terminal() -> bool:
    """Return True if there is a terminal for questions to the user."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _finished(
    argv: Sequence[str], output: int, *, timeout_s: float, stdin: bytes,
    interrupt: Interrupt | None = None,
) -> tuple[bytes, bytes, int]:  # fmt: skip
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C belongs to Snakemake: a running submission must not be interrupted
            start_new_session=True,
        )
    except OSError as error:
        raise OutcomeUnknownError(f"`{argv[0]}` could not be started: {error.strerror}") from error
    try:
        with interrupt.ends(process) if interrupt else nullcontext():
            out, err = process.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired:
        raise OutcomeUnknownError(f"`{argv[0]}` gave no answer within {timeout_s:.0f} s") from None
    finally:
        if process.poll() is None:
            _kill_with_children(process)
        _close(process)
    return out or b"", err or b"", process.returncode


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    _kill_session(process)
    process.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes to a process that has ended, even if its output was not read."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole session of `process`: `timeout` creates its own process group."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # a process may end meanwhile
        with suppress(OSError):
            number, _, rest = stat.read_text(errors="replace").rpartition(")")
            if int(rest.split()[3]) == process.pid:
                os.kill(int(number.partition(" ")[0]), signal.SIGKILL)


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="replace")


def start_worker(
    argv: Sequence[str], environment: dict[str, str], shared: Collection[int] = ()
) -> subprocess.Popen[str]:
    """Start a helper process with a line protocol on its standard input and output.

    The descriptors in `shared` stay open in it.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        env=environment,
        pass_fds=shared,
        # Ctrl-C belongs to Snakemake; it decides what happens to the queue
        start_new_session=True,
    )


def start_shell(command: str) -> subprocess.Popen[bytes]:
    """Start a command line built by Snakemake; it inherits standard output and error."""
    return subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        # the whole process group is ended at once; Ctrl-C belongs to Snakemake
        start_new_session=True,
    )
