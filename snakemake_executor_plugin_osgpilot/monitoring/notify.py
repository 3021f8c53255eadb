"""Send a message when a run ends or needs a person: by mail, to a URL, or to a command."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import threading
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..common.subprocesses import run
from ..errors import InputError, OsgpilotError, OutcomeUnknownError
from .progress import Progress

logger = logging.getLogger(__name__)

MAIL = "mail:"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Message:
    """A message about a run: a line, and details."""

    run: str
    subject: str
    text: str = ""


def ended(
    run: str, folder: str, progress: Progress, *, interrupted: bool, detached: bool, error: str
) -> Message:
    """Return the message about the end of a session; `error` stopped Snakemake, if it is given."""
    failed = error or progress.failed or (progress.steps and progress.steps.failed)
    if detached:
        state = "detached: its jobs and pilots keep running"
    elif interrupted:
        state = "interrupted"
    else:
        state = "failed" if failed else "ended"
    why = f"{error}\n" if error else ""
    rest = "osgpilot status, explain and report have the rest"
    text = f"{why}{progress.line}\nfolder: {folder}\n{rest}\n"
    return Message(run, f"osgpilot: run {run} {state}", text)


def needs_person(run: str, folder: str, why: str) -> Message:
    """Return the message that a run does not continue by itself."""
    text = f"{why}\nfolder: {folder}\nosgpilot explain shows the next step\n"
    return Message(run, f"osgpilot: run {run} needs you", text)


class Notifier:
    """Sends messages to a target: `mail:ADDRESS`, a URL, or a command; an empty one sends none.

    Raises `InputError` if the target cannot be used.
    """

    def __init__(self, target: str | None) -> None:
        self._url, self._argv = "", list[str]()
        target = (target or "").strip()
        scheme = urlsplit(target).scheme
        if target.startswith(MAIL):
            self._argv = _mail(target.removeprefix(MAIL))
        elif scheme in ("http", "https"):
            self._url = target
        elif target:
            self._argv = _command(target)

    def send(self, message: Message) -> None:
        """Send a message; a failure is logged, without the target, which may be a secret."""
        try:
            if self._url:
                _post(self._url, message)
            elif self._argv:
                _run(self._argv, message)
        except (OsgpilotError, OSError, HTTPException, ValueError) as error:
            why = error if isinstance(error, OsgpilotError) else type(error).__name__
            logger.warning(f"could not send the notification (--osgpilot-notify): {why}")

    def send_soon(self, message: Message) -> None:
        """Send a message without waiting for the answer."""
        if self._url or self._argv:
            sender = threading.Thread(
                target=copy_context().run, args=(self.send, message), name="osgpilot-notify",
                daemon=True,
            )  # fmt: skip
            sender.start()


def _mail(address: str) -> list[str]:
    if not address or address.startswith("-") or any(map(str.isspace, address)):
        raise InputError(f"--osgpilot-notify {MAIL}{address} is no address; give {MAIL}you@site")
    if shutil.which("mail") is None:
        raise InputError(
            f"--osgpilot-notify {MAIL}{address} needs the program `mail`, which is not here; give "
            "a URL or a command"
        )
    return ["mail", "-s", "", address]


def _command(text: str) -> list[str]:
    try:
        argv = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--osgpilot-notify is no command: {error}") from error
    if shutil.which(argv[0]) is None:
        raise InputError(
            f"--osgpilot-notify: there is no program {argv[0]!r}; give a command, a URL or "
            f"{MAIL}ADDRESS"
        )
    return argv


def _run(argv: Sequence[str], message: Message) -> None:
    named = [message.subject if not part and argv[0] == "mail" else part for part in argv]
    content = f"{message.subject}\n{message.text}".encode("utf-8", "backslashreplace")
    done = run(named, timeout_s=TIMEOUT_S, stdin=content)
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:]
        raise OutcomeUnknownError(f"{argv[0]} ended with exit status {done.returncode}: {said}")


def _post(url: str, message: Message) -> None:
    content = {"run": message.run, "subject": message.subject, "text": message.text}
    # what chat services expect is in `text` as well
    body = json.dumps({**content, "text": f"{message.subject}\n{message.text}"}).encode()
    request = Request(url, body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=TIMEOUT_S) as answer:
        answer.read(1)
