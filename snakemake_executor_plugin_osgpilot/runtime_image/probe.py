"""Check programs in a local image, before jobs wait for them."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from ..common.subprocesses import run
from ..errors import OutcomeUnknownError

PROBE_S = 60.0
_SCRIPT = 'if command -v "$1" > /dev/null; then echo has; else echo lacks; fi'


@cache
def lacks(image: str, program: str) -> bool:
    """Return True if `image` certainly lacks `program`; False if that cannot be known here."""
    if not Path(image).exists() or shutil.which("apptainer") is None:
        return False
    options = ["--contain", "--cleanenv", "--no-home"]
    try:
        done = run(
            ["apptainer", "exec", *options, image, "sh", "-c", _SCRIPT, "-", program],
            timeout_s=PROBE_S,
        )
    except OutcomeUnknownError:
        return False
    return done.stdout.strip() == "lacks"
