"""`osgpilot runs`: the runs of a working folder."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ..common.console_output import echo, echo_json
from ..common.durations import duration
from .status import Folder
from .text_layout import columns

HEAD = ("run", "state", "took", "jobs done", "failed", "core-hours", "MB")


@click.command(short_help="List the runs of a folder, with state and size.")
@click.option("--dir", "workdir", type=Folder, default=".", help="Working folder of the workflow.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True,
              help="Number of runs to list, the newest first.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(workdir: Path, last: int, as_json: bool) -> None:
    """List the runs of a working folder, the newest first, with their state and size on disk.

    Other commands accept the beginning of a run's id as --run.
    """
    from ..report.locate import newest_first, no_run_in

    folders = newest_first(workdir)
    rows = [_row(folder) for folder in folders[:last]]
    if as_json:
        echo_json(rows)
        return
    if not rows:
        raise no_run_in(workdir)
    cells = [_cells(**row) for row in rows]
    for line in columns([HEAD, *cells], right=range(2, len(HEAD))):
        echo(line)
    if more := len(folders) - len(rows):
        echo(f"and {more} earlier: --last {len(folders)}")


def _cells(
    *, run: str, state: str, took_s: float, done: int, jobs: int, failed: int, core_h: float,
    bytes: int,
) -> tuple[str, ...]:  # fmt: skip
    size = f"{bytes / 1e6:.1f}"
    return run, state, duration(took_s), f"{done}/{jobs}", str(failed), f"{core_h:.3f}", size


def _row(folder: Path) -> dict[str, Any]:
    from ..report.run_list import listed

    return {"run": folder.name, "bytes": _bytes(folder), **asdict(listed(folder))}


def _bytes(folder: Path) -> int:
    """Return the size of the files of a run; what is removed meanwhile does not count."""
    total, left = 0, [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total
