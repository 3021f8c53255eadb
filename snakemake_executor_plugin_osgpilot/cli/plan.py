"""`osgpilot plan`: what a run would do, before anything is submitted."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..common.console_output import echo, echo_json
from ..common.counting import count_of, size_of
from ..common.durations import duration, rough
from .text_layout import columns, fitted

if TYPE_CHECKING:
    from ..preview.lead_times import Coming
    from ..preview.result import PlannedSoftware, Preview, ProjectPreview, Sample, Verdict


@click.command(
    short_help="Show what a run would do, without doing it.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all scripts.")
@click.option(
    "--scripts", is_flag=True, help="Show the sbatch calls, the pilot's script and files, and the "
    "submit description of one job of each kind, too."
)  # fmt: skip
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SNAKEMAKE ARGUMENTS]...")
def plan(arguments: tuple[str, ...], as_json: bool, scripts: bool) -> None:
    """Show what `snakemake ARGUMENTS` would do, without doing it.

    Give the arguments of the run, including profiles; Snakemake parses them. Options of this
    command come first. The output has: where each rule goes and why, the pilots that would be
    started, Slurm's verdict on them and when they would start, conda environments, and a range of
    time and core-hours. Estimates come from earlier runs in this folder. Submits nothing and leaves
    nothing behind. Reports the same errors as the start of a run.

    \b
    Exit status: 0  the run can begin
                 1  it cannot, or Slurm would refuse its pilots
                 2  wrong usage

    \b
    osgpilot plan                        with what the workflow's profile says
    osgpilot plan --scripts -- --workflow-profile profiles/cluster results/all.vcf
    """
    from ..preview.snakemake_cli import preview

    found = preview(arguments)
    if found is None:
        raise click.exceptions.Exit(1)
    if as_json:
        echo_json(found.as_data())
    else:
        _show(found, scripts=scripts)
    if found.refused:
        raise click.exceptions.Exit(1)


def _show(found: Preview, *, scripts: bool) -> None:
    for decision in found.routes:
        echo(fitted(str(decision), then="    "))
    for line in _beside(found):
        echo(fitted(line, then="    "))
    if not found.routes:
        echo("no job has to leave this machine")
    for project in found.projects:
        echo()
        _show_project(project)
    if scripts:
        _show_scripts(found)


def _beside(found: Preview) -> Iterator[str]:
    """Return what Snakemake runs itself, what is not known yet, what a start would be refused for,
    and which sites are silent.
    """
    for rule, jobs in found.local.items():
        yield f"rule {rule} -> Snakemake itself, as a local rule: {count_of(jobs, 'job')}"
    if found.checkpoints:
        of = f", perhaps of {', '.join(found.unseen)}" if found.unseen else ""
        after = ", ".join(found.checkpoints)
        yield f"more may come: jobs that follow the checkpoint {after} are not known yet{of}"
    if found.in_use:
        yield f"a start would be refused now: {found.in_use}"
    elif found.is_locked:
        yield (
            "this folder has Snakemake's lock: a Snakemake that runs here holds it, or one that "
            "was killed left it; in the second case, run `snakemake --unlock` before you start"
        )
    for site, why in found.silent.items():
        yield f"site {site} does not answer; a run starts without it and polls it again: {why}"


def _show_project(project: ProjectPreview) -> None:
    echo(
        f"project {project.project}: {count_of(project.waiting, 'job')} ready, "
        f"{project.to_come:,} to follow"
    )
    if project.starts:
        echo(fitted(project.starts[0].reason, "pilots to start: there is ", "    "))
        echo()
        for line in columns([STARTS_HEAD, *_starts(project)], right=STARTS_RIGHT):
            echo(f"  {line}")
        echo()
    for software in project.software:
        echo(fitted(_software(software), then="    "))
    if project.inputs.every_bytes:
        echo(fitted(_inputs(project), then="    "))
    for line in _remarks(project):
        echo(fitted(line, then="    "))


def _software(software: PlannedSoftware) -> str:
    if software.image:
        state = f"packed, {software.size_mb:,} MB, sent to each pilot: {software.image}"
    elif software.is_made:
        state = f"made ({software.size_mb:,} MB), to be packed at the start"
    else:
        state = f"to be made {'in a pilot ' if software.by_job else ''}and packed at the start"
    return f"conda environment {software.name} of {', '.join(software.rules)}: {state}"


def _inputs(project: ProjectPreview) -> str:
    """Return what leaves the access point for inputs that are here, with sharing and without."""
    inputs, pilots = project.inputs, max(1, project.pilots)
    every = f"{size_of(inputs.every_bytes / _MB)} from the access point"
    if not inputs.shared:
        return f"inputs that are here: {every}, all of them with each job"
    shared = count_of(inputs.shared, "input that jobs share", "inputs that jobs share")
    return (
        f"inputs that are here: {size_of(inputs.sent_bytes(pilots) / _MB)} from the access point, "
        f"of which {shared} ({size_of(inputs.shared_bytes / _MB)}) once to each of "
        f"{count_of(pilots, 'pilot')}; without sharing, {every}"
    )


_MB = 1024 * 1024


def _remarks(project: ProjectPreview) -> Iterator[str]:
    for verdict in project.verdicts:
        word = "would take" if verdict.accepted else "would refuse"
        yield f"Slurm {word} {verdict.offer}: {verdict.said.removeprefix('sbatch: ')}"
        if verdict.cores > verdict.shape.cores:
            yield (
                f"Slurm gives each pilot of {verdict.offer} {verdict.cores} cores for "
                f"{verdict.shape.cores}: all {verdict.cores} are charged and count for limits; "
                "`osgpilot site check` says how to use them"
            )
    for infeasible in project.infeasible:
        yield f"no pilot can run some jobs: {infeasible.reason}"
    for refusal in project.refusals:
        yield f"{count_of(refusal.count, 'more pilot')} would help: {refusal.reason}"
    if project.starts:
        yield _coming(project.coming)
    low_s, high_s = project.expected.makespan_s
    low_h, high_h = project.expected.core_h
    took = _span(duration(rough(low_s)), duration(rough(high_s)))
    core_h = _span(f"{low_h:.2g}", f"{high_h:.2g}")
    if unknown := project.expected.unknown:
        missing = ", ".join(unknown)
        yield f"expected: unknown until a job of each rule has ended (not yet: {missing})"
        yield (
            f"limits: {took}, {core_h} core-hours of pilots, as each of these jobs may take "
            f"anything up to its `runtime` (20 min where none is given) ({project.expected.how})"
        )
    else:
        yield f"expected: {took}, {core_h} core-hours of pilots ({project.expected.how})"


def _span(low: str, high: str) -> str:
    return f"{low} to {high}" if low != high else f"about {low}"


def _coming(expected: Coming) -> str:
    """Return the source of the lead times expected of pilots."""
    boot = f"boot {duration(expected.boot_s)}"
    if not expected.pilots:
        text = f"{boot}: assumed, as no earlier run in this folder had such a pilot ready"
        if expected.unsaid:
            text += f"; so is the wait in the queue of {', '.join(expected.unsaid)}"
        return text
    if expected.match_s is not None:
        boot += f", first job {duration(expected.match_s)} later"
    day = time.strftime("%Y-%m-%d", time.localtime(expected.begun_s))
    wait = duration(expected.seen_wait_s or 0.0)
    return (
        f"{boot}, wait in queue {wait} or what Slurm expects now, if longer: from "
        f"{count_of(expected.pilots, 'pilot')} of the run of {day}"
    )


STARTS_HEAD = ("after", "pilots", "kind", "cores", "memory MB", "walltime", "in queue", "first job")
STARTS_RIGHT = (0, 1, 3, 4, 5, 6, 7)


def _starts(project: ProjectPreview) -> Iterator[tuple[str, ...]]:
    """Yield when how many pilots of which kind start, and when their first jobs do."""
    shapes = {verdict.offer: verdict.shape for verdict in project.verdicts}
    for start in project.starts:
        shape = shapes[start.offer]
        yield (
            duration(start.after_s),
            str(start.count),
            start.offer,
            str(shape.cores),
            str(shape.memory_mb),
            duration(start.walltime_s),
            duration(rough(start.wait_s)),
            duration(rough(start.after_s + start.lead_s)),
        )


def _show_scripts(found: Preview) -> None:
    for project in found.projects:
        for verdict in project.verdicts:
            _show_pilot(verdict)
        for sample in project.samples:
            _show_sample(sample)
    if found.projects:
        echo("\n# the script of every pilot")
        echo(found.pilot_script)


def _show_pilot(verdict: Verdict) -> None:
    echo(f"\n# a pilot of {verdict.offer}")
    echo(shlex.join(verdict.sbatch))
    for name, text in verdict.files.items():
        echo(f"# its file {name}")
        echo(text, nl=not text.endswith("\n"))


def _show_sample(sample: Sample) -> None:
    echo(f"\n# a job of {', '.join(sample.rules)}")
    for name, value in sample.description.items():
        echo(f"{name} = {value}")
