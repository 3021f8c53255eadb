"""Connections with OpenSSH's client: one login for each host, kept open, reopened if it breaks.

All commands of a run on a host use one master connection (ssh_config(5), ControlMaster) on a socket
in a private folder. The user's SSH configuration applies: user, port, keys, jump hosts, host keys.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
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

_OF_LOGIN = ("user", "hostname", "port", "proxyjump", "proxycommand", "identityfile")
"""Options on which it depends where a login goes, and as whom."""


class SshConnection:
    """Implements `slurm.host.Connection` for a host of the user's SSH configuration.

    Connections may share a `login`; it ends with the last of them.
    """

    def __init__(self, host: str, login: Login) -> None:
        self._host, self._login = host, login
        login.users.add(self)

    def log_in(self) -> None:
        """Open the connection; may prompt for a password or a second factor.

        Raises `MissingPrerequisiteError` with what to do.
        """
        self._login.open_with_user()

    def shell(self) -> list[str]:
        """Return the argument list of a remote `sh`; reconnect if that needs no prompt.

        Raises `NotSentError`, also if the user has to log in again.
        """
        self._login.keep_open()
        # without its master, this call must not connect by itself
        config = {"ControlMaster": "no", "ProxyCommand": "false", "BatchMode": "yes"}
        return [*self._login.ssh(self._host, "-T", **config, LogLevel="ERROR"), "exec sh"]

    def close(self) -> None:
        """Close the connection; the last one ends the login."""
        self._login.users.discard(self)
        if not self._login.users:
            self._login.end()


class Logins:
    """The logins of a command or a run: one for all names of a host that mean the same login."""

    def __init__(self) -> None:
        self._by_options: dict[tuple[str, ...], Login] = {}
        self._lock = threading.Lock()

    def connection(self, host: str) -> SshConnection:
        """Return a connection to `host`; nothing is opened yet."""
        options = _options_of_login(host)
        with self._lock:
            if options not in self._by_options:
                self._by_options[options] = Login(host)
            return SshConnection(host, self._by_options[options])


def _options_of_login(host: str) -> tuple[str, ...]:
    """Return what OpenSSH's client would log in with; the name if it does not tell."""
    with suppress(OsgpilotError):
        done = run(["ssh", "-G", "--", host], timeout_s=LOCAL_S)
        options = [o for o in done.stdout.splitlines() if o.partition(" ")[0] in _OF_LOGIN]
        if done.returncode == 0 and options:
            return tuple(sorted(options))
    return (host,)


class Login:
    """A master connection to a host. `users` are the connections that use it."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.users: set[SshConnection] = set()
        self._lock = threading.Lock()
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

    def ssh(self, host: str, *options: str, **config: str) -> list[str]:
        """Return the call of a client that uses the master."""
        given = {"ControlPath": str(self._socket), **_KEPT, **config}
        pairs = (item for key, value in given.items() for item in ("-o", f"{key}={value}"))
        return ["ssh", *pairs, *options, "--", host]

    def _master(self, *options: str, **config: str) -> list[str]:
        """Return the call that logs in and goes to the background."""
        life = {"ControlMaster": "yes", "ControlPersist": str(LIFE_S)}
        return self.ssh(self._host, "-f", "-N", *options, **life, **config)

    def open_with_user(self) -> None:
        """Open the master if it is not; may prompt for a password or a second factor.

        Raises `MissingPrerequisiteError` with what to do, also if that has just failed.
        """
        with self._lock:
            if self._is_open():
                return
            if why := self._put_off():
                raise MissingPrerequisiteError(why)
            message = self._open()
            if message and _is_denied(message) and has_terminal():
                self._forget_socket()
                message = "" if converse(self._master()) == 0 and self._is_open() else message
            if message:
                raise MissingPrerequisiteError(self._refused(message))

    def keep_open(self) -> None:
        """Open the master again if it has ended. Raises `NotSentError`, also if the user has to
        log in.
        """
        with self._lock:
            if not self._is_open():
                self._reopen()

    def end(self) -> None:
        """End the master and remove its socket."""
        with suppress(OsgpilotError):
            run(self.ssh(self._host, "-O", "exit"), timeout_s=LOCAL_S)
        if self._has_folder():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_open(self) -> bool:
        if not self._has_folder() or not self._socket.exists():
            return False
        return run(self.ssh(self._host, "-O", "check"), timeout_s=LOCAL_S).returncode == 0

    def _put_off(self) -> str:
        """Return why the last login failed, while the next one is put off; else nothing."""
        return self._failed[1] if self._failed and time.monotonic() < self._failed[0] else ""

    def _reopen(self) -> None:
        if why := self._put_off():
            raise NotSentError(why)
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
