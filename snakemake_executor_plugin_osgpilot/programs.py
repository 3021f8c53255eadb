"""The one place that starts programs on behalf of a running workflow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from snakemake_executor_plugin_osgpilot.errors import Unanswered

FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_")
"""Variables that change what Slurm's commands do when Snakemake itself runs in an allocation."""


def clean_environment() -> dict[str, str]:
    """Return our environment without what would leak from an enclosing allocation."""
    return {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}


def run(argv: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its exit status and output.

    Raises `Unanswered` when it cannot be started or does not end within `timeout_s`.
    """
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=clean_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"`{argv[0]}` gave no answer within {timeout_s:.0f} s") from None
    except OSError as error:
        raise Unanswered(f"`{argv[0]}` could not be started: {error.strerror}") from error


def start_worker(argv: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a helper process that is spoken to in lines over its standard input and output."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        env=environment,
        # Ctrl-C belongs to Snakemake; it decides what happens to the queue
        start_new_session=True,
    )


def start_shell(command: str) -> subprocess.Popen[bytes]:
    """Start a command line of Snakemake's own making; it writes where we write."""
    return subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        # its process group is ended as a whole; Ctrl-C belongs to Snakemake
        start_new_session=True,
    )
