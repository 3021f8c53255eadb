"""`osgpilot plan`: what a run would do, before anything is submitted."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

from snakemake_executor_plugin_osgpilot.core.durations import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from snakemake_executor_plugin_osgpilot.preview.model import (
        Preview,
        ProjectPreview,
        Sample,
        Verdict,
    )


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="For programs; with all scripts.")
@click.option(
    "--scripts", is_flag=True, help="Show the sbatch calls, the pilot's script and files, and the "
    "submit description of one job of each kind, too."
)  # fmt: skip
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SNAKEMAKE ARGUMENTS]...")
def plan(arguments: tuple[str, ...], as_json: bool, scripts: bool) -> None:
    """Tell what `snakemake ARGUMENTS` would do, without doing it.

    Give the arguments of the run, profiles included; they are read by Snakemake itself. Our own
    options come first. Told are: where each rule goes and why, the pilots that would be started and
    what Slurm says to them, and between which bounds time and core-hours lie. Nothing is submitted
    and nothing is left behind. What is wrong is found as at the start of a run; then the exit
    status is 1.

    \b
    osgpilot plan                        with what the workflow's profile says
    osgpilot plan --scripts -- --workflow-profile profiles/cluster results/all.vcf
    """
    from snakemake_executor_plugin_osgpilot.preview.ask import preview

    found = preview(arguments)
    if found is None:
        raise click.exceptions.Exit(1)
    if as_json:
        click.echo(json.dumps(found.as_data(), indent=1))
        return
    _show(found, scripts=scripts)


def _show(found: Preview, *, scripts: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for decision in found.routes:
        console.print(str(decision), markup=False)
    if not found.routes:
        console.print("no job has to run anywhere but here")
    for project in found.projects:
        console.print()
        _show_project(project, console)
    if scripts:
        _show_scripts(found)


def _show_project(project: ProjectPreview, console: Console) -> None:
    console.print(
        f"project {project.project}: {project.waiting:,} job(s) ready for the OSPool, "
        f"{project.to_come:,} to come"
    )
    if project.starts:
        console.print(_starts(project))
        console.print(f"because {project.starts[0].reason}", markup=False)
    for verdict in project.verdicts:
        word = "would take" if verdict.accepted else "would refuse"
        console.print(f"Slurm {word} {verdict.offer}: {verdict.said}", markup=False)
    for unfit in project.unfit:
        console.print(f"no pilot can run some jobs: {unfit.reason}", markup=False)
    for refusal in project.refusals:
        console.print(
            f"{refusal.count} more pilot(s) would be of use: {refusal.reason}", markup=False
        )
    low_s, high_s = project.expected.makespan_s
    low_h, high_h = project.expected.core_h
    console.print(
        f"expected: {duration(low_s)} to {duration(high_s)}, {low_h:.3g} to {high_h:.3g} "
        f"core-hours of pilots ({project.expected.how})"
    )
    if unknown := project.expected.unknown:
        console.print(
            f"the range is wide because no job of {', '.join(unknown)} has ever ended in this "
            "folder: each may take anything up to its `runtime` (20 min where none is given)",
            markup=False,
        )


def _starts(project: ProjectPreview) -> Table:
    from rich.table import Table

    shapes = {verdict.offer: verdict.shape for verdict in project.verdicts}
    table = Table(title="pilots to start", title_justify="left")
    for name in ("at", "pilots", "offer", "cores", "memory MB", "minutes", "wait", "first job"):
        table.add_column(name, justify="left" if name == "offer" else "right")
    for start in project.starts:
        shape = shapes[start.offer]
        numbers = (str(shape.cores), str(shape.memory_mb), str(start.walltime_s // 60))
        times = (duration(start.wait_s), duration(start.after_s + start.lead_s))
        table.add_row(duration(start.after_s), str(start.count), start.offer, *numbers, *times)
    return table


def _show_scripts(found: Preview) -> None:
    for project in found.projects:
        for verdict in project.verdicts:
            _show_pilot(verdict)
        for sample in project.samples:
            _show_sample(sample)
    if found.projects:
        click.echo("\n# the script of every pilot")
        click.echo(found.pilot_script)


def _show_pilot(verdict: Verdict) -> None:
    click.echo(f"\n# a pilot of {verdict.offer}")
    click.echo(shlex.join(verdict.sbatch))
    for name, text in verdict.files.items():
        click.echo(f"# its file {name}")
        click.echo(text, nl=not text.endswith("\n"))


def _show_sample(sample: Sample) -> None:
    click.echo(f"\n# a job of {', '.join(sample.rules)} (payload {sample.payload})")
    for name, value in sample.description.items():
        click.echo(f"{name} = {value}")
