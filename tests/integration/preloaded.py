"""Snakemake, started as a fork of a process that has imported the libraries it uses.

What runs is what `python -m snakemake` runs, in a process with its own session, but without most of
the second of CPU time that imports take. Snakemake, its plugins and our package are imported by
each process. This file is also the program that imports and forks: it reads requests from the
socket that is its standard input.

The fork server of `multiprocessing` would do less: its processes have the module search path of
pytest, a parent process and a resource tracker, which Snakemake and its plugins could notice.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Process(Protocol):
    """The methods of a started process that tests use."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class Started:
    """A process, of which a socket tells first the number and last the exit status."""

    def __init__(self, news: socket.socket) -> None:
        self._news = news
        self.pid = self._next()
        self.returncode: int | None = None

    def _next(self) -> int:
        number = self._news.recv(32)
        assert number, "the process that starts Snakemake has ended"
        return int(number)

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        if self.returncode is None and select.select([self._news], [], [], 0)[0]:
            self.returncode = self._next()
            self._news.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; raises `subprocess.TimeoutExpired` while the process runs."""
        if self.returncode is None and not select.select([self._news], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("snakemake", timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def kill(self) -> None:
        """Send SIGKILL, unless the process is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """Return the environment of a new process, without what pytest changes for each test."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


ORDINARY = environment()
"""That in which the libraries are imported."""

READ_LATER = ("GREETING", "MODULEPATH", "OSGPILOT_", "PATH", "SNAKEMAKE_")
"""How the names begin of variables that neither the interpreter nor the libraries depend on when
they start. If any other one was changed, a new process is needed.
"""


def change(env: dict[str, str]) -> dict[str, str | None] | None:
    """Return what makes `env` of the ordinary environment, None if that takes a new process."""
    changed = {
        name: env.get(name)
        for name in env.keys() | ORDINARY.keys()
        if env.get(name) != ORDINARY.get(name)
    }
    return changed if all(name.startswith(READ_LATER) for name in changed) else None


def start(argv: list[str], folder: Path, output: Path) -> Process:
    """Start Snakemake with these arguments in a folder, in a new session.

    What it says goes to the file `output`.
    """
    output.write_text("")
    env = environment()
    changed = change(env)
    if changed is not None:
        return _preloaded().start(argv, folder, output, changed)
    with output.open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *argv],
            cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


LIBRARIES = (
    *("asyncio", "boto3.session", "docutils.core", "docutils.parsers.rst.directives.images"),
    *("jinja2", "jsonschema", "numpy", "pandas", "psutil", "pulp", "requests_oauthlib"),
    *("s3transfer.manager", "smart_open", "sqlmodel", "tabulate", "tenacity", "tornado.ioloop"),
    "yaml",
)
"""Those that take longest to import, and keep nothing of the folder or of the arguments."""

ALONE = "OPENBLAS_NUM_THREADS"
"""With one, NumPy has no thread that would be missing in forks."""


class Preloaded:
    """The process that has imported the libraries."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=theirs, env={**ORDINARY, ALONE: "1"}
            )
        atexit.register(self.stop)

    def start(
        self, argv: list[str], folder: Path, output: Path, changed: dict[str, str | None]
    ) -> Started:
        news, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"argv": argv, "folder": str(folder), "output": str(output), "changed": changed}
        with theirs:
            socket.send_fds(self._requests, [json.dumps(request).encode()], [theirs.fileno()])
        return Started(news)

    def stop(self) -> None:
        self._requests.close()
        self._process.wait()


_preloaded = functools.cache(Preloaded)


REQUEST_MAX_BYTES = 1 << 18


def serve() -> None:
    """Fork for each request; return in a process that is to become Snakemake."""
    requests = socket.socket(fileno=0)
    while True:
        content, fds, _, _ = socket.recv_fds(requests, REQUEST_MAX_BYTES, 1)
        if not content:
            sys.exit()
        if keeper(fds[0]):
            break
        os.close(fds[0])
    requests.detach()
    become(**json.loads(content))


def keeper(news: int) -> bool:
    """Fork a process that says the number of its only child, and how that ended.

    Return True in the child.
    """
    if os.fork() != 0:
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process == 0:
        os.close(news)
        return True
    with socket.socket(fileno=news) as answers:
        answers.send(b"%d" % process)
        answers.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os._exit(0)


def become(argv: list[str], folder: str, output: str, changed: dict[str, str | None]) -> None:
    """Make this process what a new one would be."""
    os.setsid()
    for name, value in changed.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    for number, file, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY)):
        opened = os.open(file, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    os.chdir(folder)
    # as `python -m` does
    sys.path[0] = folder
    sys.argv[1:] = argv


if __name__ == "__main__":
    for library in LIBRARIES:
        # their names depend on the version of Snakemake
        with suppress(ImportError):
            importlib.import_module(library)
    del os.environ[ALONE]
    gc.freeze()
    # those who wait for the forks leave no zombies
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    serve()
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
