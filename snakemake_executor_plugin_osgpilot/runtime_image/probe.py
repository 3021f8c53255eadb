"""Check programs in a local image, before jobs wait for them."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from ..common.subprocesses import run
from ..errors import OutcomeUnknownError

PROBE_S = 60.0
_SCRIPT = "if ({}) > /dev/null 2>&1; then echo has; else echo lacks; fi"
_PROGRAM = 'command -v "$1"'
_MODULE = 'for python in python python3; do "$python" -c "import $1" && exit; done; false'


def lacks(image: str, program: str) -> bool:
    """Return True if `image` certainly lacks `program`; False if that cannot be known here."""
    return _fails(image, _PROGRAM, program)


def lacks_module(image: str, module: str) -> bool:
    """Return True if no Python of `image` certainly has `module`; False if that is not known."""
    return _fails(image, _MODULE, module)


@cache
def _fails(image: str, check: str, name: str) -> bool:
    if not Path(image).exists() or shutil.which("apptainer") is None:
        return False
    options = ["--contain", "--cleanenv", "--no-home"]
    try:
        done = run(
            ["apptainer", "exec", *options, image, "sh", "-c", _SCRIPT.format(check), "-", name],
            timeout_s=PROBE_S,
        )
    except OutcomeUnknownError:
        return False
    return done.stdout.strip() == "lacks"
