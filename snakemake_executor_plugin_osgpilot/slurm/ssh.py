"""A connection with OpenSSH's client: one login, kept open, reopened if it breaks.

All commands of a run use one master connection (ssh_config(5), ControlMaster) on a socket in a
private folder. The user's SSH configuration applies: user, port, keys, jump hosts, host keys.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..common.subprocesses import converse, detach, has_terminal, run
from ..errors import MissingPrerequisiteError, NotSentError, OsgpilotError, OutcomeUnknownError

LIFE_S = 3600
"""Idle time after which a master ends if it is not closed. A run uses it every 20 s."""

LOGIN_S, LOCAL_S = 60.0, 10.0
RETRY_S, RETRY_DENIED_S = 10.0, 600.0
"""Time until the next login after a failed one. A denied login counts as a failed attempt on the
cluster, which may lock out the user after many."""

_KEPT = {
    # detect a dead connection within 30 s
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "ConnectTimeout": "15",
    # only our commands
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}

_DENIED = ("permission denied", "too many authentication failures", "no more authentication")


class SshConnection:
    """Implements `slurm.host.Connection` for a host of the user's SSH configuration."""

    def __init__(self, host: str) -> None:
        self._host = host
        # paths of Unix sockets are short (unix(7): 108 bytes), and no other user can create the
        # folder before mkdtemp; the folder of the login session is removed at logout
        self._folder = Path(tempfile.mkdtemp(prefix="osgpilot-", dir="/tmp"))
        self._failed: tuple[float, str] | None = None

    def _has_folder(self) -> bool:
        """Return True if our folder still exists: others can take its name otherwise."""
        try:
            found = self._folder.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()

    @property
    def _socket(self) -> Path:
        return self._folder / "master"

    def _ssh(self, *options: str, **config: str) -> list[str]:
        given = {"ControlPath": str(self._socket), **_KEPT, **config}
        pairs = (item for key, value in given.items() for item in ("-o", f"{key}={value}"))
        return ["ssh", *pairs, *options, "--", self._host]

    def _master(self, *options: str, **config: str) -> list[str]:
        """Return the call that logs in and goes to the background."""
        life = {"ControlMaster": "yes", "ControlPersist": str(LIFE_S)}
        return self._ssh("-f", "-N", *options, **life, **config)

    def log_in(self) -> None:
        """Open the connection; may prompt for a password or a second factor.

        Raises `MissingPrerequisiteError` with what to do.
        """
        message = self._open()
        if message and _is_denied(message) and has_terminal():
            self._forget_socket()
            message = "" if converse(self._master()) == 0 and self._is_open() else message
        if message:
            raise MissingPrerequisiteError(self._refused(message))

    def shell(self) -> list[str]:
        """Return the argument list of a remote `sh`; reconnect if that needs no prompt.

        Raises `NotSentError`, also if the user has to log in again.
        """
        if not self._is_open():
            self._reopen()
        # without its master, this call must not connect by itself
        config = {"ControlMaster": "no", "ProxyCommand": "false", "BatchMode": "yes"}
        return [*self._ssh("-T", **config, LogLevel="ERROR"), "exec sh"]

    def close(self) -> None:
        """End the master and remove its socket."""
        with suppress(OsgpilotError):
            run(self._ssh("-O", "exit"), timeout_s=LOCAL_S)
        if self._has_folder():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_open(self) -> bool:
        if not self._has_folder() or not self._socket.exists():
            return False
        return run(self._ssh("-O", "check"), timeout_s=LOCAL_S).returncode == 0

    def _reopen(self) -> None:
        if self._failed and time.monotonic() < self._failed[0]:
            raise NotSentError(self._failed[1])
        message = self._open()
        self._failed = None
        if message:
            raise NotSentError(self._refused(message))

    def _refused(self, message: str) -> str:
        """Return the remedy for a failed login, and put the next one off."""
        why = self._remedy(message)
        pause_s = RETRY_DENIED_S if _is_denied(message) else RETRY_S
        self._failed = time.monotonic() + pause_s, why
        return why

    def _open(self) -> str:
        """Log in without a prompt; return ssh's error message if that failed."""
        self._forget_socket()
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        argv = self._master("-E", str(log), BatchMode="yes", LogLevel="ERROR")
        try:
            status = detach(argv, timeout_s=LOGIN_S)
        except OutcomeUnknownError as silence:
            return str(silence)
        message = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        if status == 0 and self._is_open():
            return ""
        return message or f"exit status {status}"

    def _forget_socket(self) -> None:
        """Remove the socket of a master that has ended: the next one would not replace it."""
        if not self._has_folder():
            self._folder = Path(tempfile.mkdtemp(prefix="osgpilot-", dir="/tmp"))
        self._socket.unlink(missing_ok=True)

    def _remedy(self, message: str) -> str:
        """Return one line with the remedy for ssh's error message."""
        host = self._host
        if "IDENTIFICATION HAS CHANGED" in message:
            return (
                f"ssh {host}: the host key differs from the known one; ask the cluster's "
                f"administrators if it was changed, then: ssh-keygen -R, and ssh {host} once"
            )
        if "host key verification failed" in message.lower():
            return (
                f"ssh {host}: the host key is not known yet; run `ssh {host}` once and compare it"
            )
        last = message.strip().splitlines()[-1].removeprefix("ssh: ")
        if _is_denied(message):
            command = f"ssh -fNM -o ControlPath={self._socket} -o ControlPersist={LIFE_S} {host}"
            return (
                f"ssh {host}: {last}; if it asks for a password or a second factor, start "
                f"Snakemake in a terminal; if it runs already, log in from another one: {command}"
            )
        return f"ssh {host}: {last}; make `ssh {host}` work here"


def _is_denied(message: str) -> bool:
    return any(word in message.lower() for word in _DENIED)
