"""Translate `--apptainer-args` for jobs of HTCondor, whose container the pilot starts."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from ..errors import InputError
from .transfer_policy import is_below

_OPTION = "--apptainer-args"

_DONE_ANYWAY = {"--nv", "--rocm", "-e", "--cleanenv", "--no-home"}
"""Options that HTCondor sets itself: GPUs for jobs that ask for them, and a clean environment."""

_BINDS = ("-B", "--bind")


def environment_of(args: str, shared_prefixes: Iterable[str]) -> dict[str, str]:
    """Return the variables of `--env` in `--apptainer-args`.

    Raises `InputError` for what cannot be had: anything but variables, what HTCondor does itself,
    and binds of folders that pilots see at the same path.
    """
    try:
        words = shlex.split(args)
    except ValueError as error:
        raise InputError(f"{_OPTION} {args!r}: {error}") from error
    found: dict[str, str] = {}
    prefixes = tuple(shared_prefixes)
    while words:
        word = words.pop(0)
        if word in _DONE_ANYWAY:
            continue
        option, given, value = word.partition("=")
        if option not in ("--env", *_BINDS):
            raise _refused(word, "the pilot starts the container, and gives it what HTCondor says")
        if not given:
            if not words:
                raise InputError(f"{_OPTION}: {option} needs a value")
            value = words.pop(0)
        if option == "--env":
            found.update(_variables(value))
        else:
            _check_bind(value, prefixes)
    return found


def _variables(text: str) -> dict[str, str]:
    """Return variables as Apptainer reads them: a comma begins the next one."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if wrong := [name for name, given, _ in pairs if not given or not name.isidentifier()]:
        raise InputError(f"{_OPTION}: --env {wrong[0]} is not of the form NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _check_bind(text: str, prefixes: tuple[str, ...]) -> None:
    for bind in text.split(","):
        source, _, rest = bind.partition(":")
        target = rest.partition(":")[0] or source
        if source != target or not is_below(source, prefixes):
            raise _refused(
                f"--bind {bind}",
                "a job sees its own files, and folders of --osgpilot-shared-prefixes at their "
                "path on the nodes",
            )


def _refused(word: str, why: str) -> InputError:
    return InputError(f"{_OPTION}: {word} cannot be passed on to pilots: {why}; leave it out")
