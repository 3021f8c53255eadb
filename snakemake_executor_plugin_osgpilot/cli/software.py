"""`osgpilot software`: the images that runs have made of conda environments and of Python."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from ..common.console_output import echo, echo_json, terminal
from ..common.counting import count_of
from ..common.durations import duration
from ..errors import InputError

if TYPE_CHECKING:
    from ..runtime_image.cached import Cached

_MB = 1024 * 1024


@click.group(short_help="Manage the images of conda environments.")
def software() -> None:
    """Manage the images of conda environments and of Snakemake's Python environment.

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
    names = ["image", "content", "base", "MB", "last used"]
    # as a rule, there is none
    names += ["fetched from"] if any(each.url for each in found) else []
    for name in names:
        table.add_column(name, justify="right" if name == "MB" else "left")
    for each in found:
        ago = f"{duration(max(0.0, time.time() - each.used_s))} ago"
        cells = (each.key, each.content, each.base_name, _mb(each.size), ago, each.url)
        table.add_row(*cells[: len(names)])
    # in a file or a pipe, rows must not be broken
    terminal(width=None if sys.stdout.isatty() else 200).print(table)


@software.command(short_help="Show the contents of an image.")
@click.argument("image")
def show(image: str) -> None:
    """Show the contents of an image; the beginning of its name is enough."""
    each = _one(image)
    echo(f"{each.path} ({_mb(each.size)} MB), on {each.base_name}")
    if each.url:
        echo(f"pilots fetch it from {each.url}")
    for made in each.environments:
        echo(f"{made.name}: {_mb(made.size)} MB, made for {made.prefix}")
        echo(f"    programs: {' '.join(made.programs) or 'none'}")


@software.command()
@click.argument("image")
@click.argument("dest")
@click.option("--url", default="", help="URL from which pilots fetch files in DEST.")
@click.option(
    "--with", "command", default="", metavar="COMMAND",
    help="Command that uploads {file} to {url}, such as 'pelican object put {file} {url}'.",
)  # fmt: skip
def push(image: str, dest: str, url: str, command: str) -> None:
    """Copy IMAGE to DEST, from where pilots fetch it in later runs.

    DEST is a folder that is served at --url (below /ospool, that is known), or a URL: apptainer
    writes to oras://, pelican to osdf://, --with to others. Programs find credentials where they
    keep them. Whoever can read DEST can read all files of the environment.
    """
    from ..runtime_image import published
    from ..staging.container_image import by_url

    each = _one(image)
    place = published.target(each.path, dest, url)
    by_url(place)
    published.push(each.path, dest, place, command)
    echo(f"pilots fetch {each.key} from {place} in later runs ({_mb(each.size)} MB)")


@software.command(short_help="Send an image from this machine again.")
@click.argument("image")
def forget(image: str) -> None:
    """Send IMAGE from this machine again; the copy that was pushed is not deleted."""
    from ..runtime_image import published

    each = _one(image)
    was = published.forget(each.path)
    echo(f"{each.key} is sent from here" if was else f"{each.key} was not pushed anywhere")


@software.command(short_help="Remove images that no run has used for some time.")
@click.option(
    "--days", type=click.FloatRange(min=0), default=30.0, show_default=True,
    help="Keep images used within this time; 0 removes all, even those in use.",
)  # fmt: skip
def prune(days: float) -> None:
    """Remove images that no run has used for some time; runs recreate them when needed."""
    from ..runtime_image.cached import DAY_S
    from ..runtime_image.cached import prune as remove

    removed = list(remove(days * DAY_S))
    for each in removed:
        echo(f"removed {each.key}: {each.content}")
    freed = _mb(sum(each.size for each in removed))
    echo(f"removed {count_of(len(removed), 'image')}, freed {freed} MB")


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
        "url": each.url,
        "environments": made,
    }


def _mb(size: int) -> str:
    return f"{-(-size // _MB):,}"
