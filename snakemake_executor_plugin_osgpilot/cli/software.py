"""`osgpilot software`: the images that runs have made of conda environments and of Python."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from ..common.console_output import echo, echo_json, terminal
from ..common.durations import duration
from ..errors import InputError

if TYPE_CHECKING:
    from ..runtime_image.cached import Cached

_MB = 1024 * 1024


@click.group(short_help="The images that runs made of conda environments.")
def software() -> None:
    """Manage the images that runs have made of conda environments and of the Python of Snakemake.

    They are in the cache folder ($OSGPILOT_CACHE, else ~/.cache/osgpilot).
    """


@software.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_images(as_json: bool) -> None:
    """List the images, the latest used first."""
    from rich import box
    from rich.table import Table

    from ..runtime_image.cached import cached

    found = cached()
    if as_json:
        echo_json([_data(each) for each in found])
        return
    if not found:
        echo("no image has been made yet")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("image", "content", "base", "MB", "last used"):
        table.add_column(name, justify="right" if name == "MB" else "left")
    for each in found:
        ago = f"{duration(max(0.0, time.time() - each.used_s))} ago"
        table.add_row(each.key, each.content, each.base_name, _mb(each.size), ago)
    # in a file or a pipe, rows must not be broken
    terminal(width=None if sys.stdout.isatty() else 200).print(table)


@software.command()
@click.argument("image")
def show(image: str) -> None:
    """Show what is in an image; a beginning of its name is enough."""
    each = _one(image)
    echo(f"{each.path} ({_mb(each.size)} MB), on {each.base_name}")
    for made in each.environments:
        echo(f"{made.name}: {_mb(made.size)} MB, made for {made.prefix}")
        echo(f"    programs: {' '.join(made.programs) or 'none'}")


@software.command()
@click.option(
    "--days", type=click.FloatRange(min=0), default=30.0, show_default=True,
    help="Keep images that a run has used within this time; 0 removes all, also those in use.",
)  # fmt: skip
def prune(days: float) -> None:
    """Remove images that no run has used for some time; a run that needs one makes it again."""
    from ..runtime_image.cached import DAY_S
    from ..runtime_image.cached import prune as remove

    removed = list(remove(days * DAY_S))
    for each in removed:
        echo(f"removed {each.key}: {each.content}")
    echo(f"{len(removed)} image(s) removed, {_mb(sum(each.size for each in removed))} MB freed")


def _one(name: str) -> Cached:
    from ..runtime_image.cached import cached

    named = [each for each in cached() if each.key.startswith(name)]
    if len(named) != 1:
        what = "several images have" if named else "no image has"
        raise InputError(f"{what} a name that begins with {name}: see `osgpilot software list`")
    return named[0]


def _data(each: Cached) -> dict[str, object]:
    made = [{"name": e.name, "prefix": e.prefix, "bytes": e.size} for e in each.environments]
    return {
        "image": each.key,
        "path": str(each.path),
        "bytes": each.size,
        "used_s": each.used_s,
        "base": each.base_name,
        "environments": made,
    }


def _mb(size: int) -> str:
    return f"{-(-size // _MB):,}"
