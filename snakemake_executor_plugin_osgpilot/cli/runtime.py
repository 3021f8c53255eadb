"""`osgpilot runtime`: an image with Snakemake for `run:` rules and storage plugins."""

from pathlib import Path

import click

from ..common.console_output import echo


@click.group(short_help="The image with Snakemake for jobs that need it.")
def runtime() -> None:
    """Manage images with Snakemake, for rules with `run:` and for files of storage plugins."""


@runtime.command(short_help="Build an image with the installed Snakemake.")
@click.option(
    "--base",
    help="Image with Python and pip to put Snakemake into: docker://..., a file or a folder."
    "  [default: docker://python:X.Y-slim with the Python version that runs here]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Copy the image to this file.  [default: it stays in the cache folder]",
)
def build(base: str | None, output: Path | None) -> None:
    """Build an image with the version of Snakemake that is installed here.

    Storage plugins that are installed here are in it, too. Needs Apptainer and the network. Prints
    the file's name, for --osgpilot-runtime-image. A built image is kept in the cache
    folder ($OSGPILOT_CACHE, else ~/.cache/osgpilot); remove it there to rebuild it.
    """
    from ..runtime_image.build import make
    from ..runtime_image.definition import default_base

    echo(make(base or default_base(), output))
