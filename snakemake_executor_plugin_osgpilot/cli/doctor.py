"""`osgpilot doctor`: check every prerequisite of a run."""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..common.console_output import echo, echo_json, terminal
from ..common.signals import handled
from ..errors import InputError
from .text_layout import fitted

if TYPE_CHECKING:
    from ..doctor.checks import Check
    from ..doctor.context import CheckContext
    from ..doctor.findings import Finding
    from ..doctor.mail import Asker

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "not tested": "cyan"}


def _check_names(typed: str) -> list[str]:
    """Return the checks whose name begins with what was typed."""
    from ..doctor.checks import CHECKS

    return [check.name for check in CHECKS if check.name.startswith(typed)]


@click.command(short_help="Check all prerequisites of a run, with a test job.")
@click.option(
    "--site",
    "site_list",
    metavar="FILE",
    default="site.yaml",
    show_default=True,
    help="Site file to check, or several separated by commas.",
)
@click.option("--project", help="Overrides $OSG_PROJECT_NAME and the site file.")
@click.option("--access-point", help="Overrides the site file: name of a schedd, or `local`.")
@click.option(
    "--dir",
    "workdir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Working folder of the workflow.  [default: the current one]",
)
@click.option(
    "--only", multiple=True, metavar="CHECK", help="Run only this check; may be repeated.",
    shell_complete=lambda context, option, typed: _check_names(typed),
)  # fmt: skip
@click.option("--no-probe", is_flag=True, help="Submit no test job to Slurm.")
@click.option(
    "--probe-wait",
    "probe_wait_s",
    type=click.IntRange(min=1),
    default=180,
    show_default=True,
    help="Seconds that the test job may wait in Slurm's queue.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--list", "listing", is_flag=True, help="List the checks and exit.")
@click.option("--mail", is_flag=True, help="Print a mail to the OSG: token, project. No probe.")
@click.pass_context
def doctor(command: click.Context, /, **given: Any) -> None:
    """Check all prerequisites of a run; print one line for each, with a fix for each failure.

    The check `node` submits a job of one core and two minutes to each partition of the site file
    and looks at the node from there; it is cancelled if it does not start in time.

    \b
    Exit status: 0  nothing failed (there may be warnings, and things that could not be tested)
                 1  something failed
                 2  wrong usage
                 130  interrupted; the test job was cancelled
    """
    from ..doctor.checks import CHECKS, selected
    from ..doctor.findings import exit_status

    if given["listing"]:
        for check in CHECKS:
            echo(f"{check.name:<13} {check.about}")
        return
    try:
        only = ("token", "project") if given["mail"] else given["only"]
        checks = selected(only, probe=not given["no_probe"])
    except InputError as error:
        raise click.UsageError(str(error)) from error
    contexts = _contexts(given)
    try:
        # like Ctrl-C, so that the test job is cancelled
        with handled(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP):
            if given["mail"]:
                _print_mail(contexts[0], checks)
                return
            found = _as_json(checks, contexts) if given["as_json"] else _as_lines(checks, contexts)
    except KeyboardInterrupt:
        command.exit(130)
    finally:
        for context in contexts:
            context.close()
    command.exit(exit_status(found))


def _contexts(given: dict[str, Any]) -> list[CheckContext]:
    """Return the set-up of each site."""
    from ..config.sites import site_files
    from ..doctor.context import CheckContext
    from ..slurm.ssh import Logins

    logins = Logins()
    return [
        CheckContext(
            file,
            given["project"],
            given["access_point"],
            given["workdir"] / ".snakemake",
            given["probe_wait_s"],
            logins=logins,
        )
        for file in site_files(given["site_list"])
    ]


def _as_json(checks: Sequence[Check], contexts: Sequence[CheckContext]) -> list[Finding]:
    from ..doctor.checks import examine_sites
    from ..doctor.findings import as_data

    found = list(examine_sites(checks, contexts, lambda names: None))
    echo_json(as_data(found))
    return found


def _as_lines(checks: Sequence[Check], contexts: Sequence[CheckContext]) -> list[Finding]:
    from rich.text import Text

    from ..doctor.checks import examine_sites
    from ..doctor.findings import failures, summary

    console, found = terminal(), []

    def show(finding: Finding) -> None:
        lines = fitted(str(finding), f"{finding.verdict:<10} ", " " * 11)
        text = Text(lines)
        text.stylize(COLOURS[finding.verdict], 0, len(finding.verdict))
        console.print(text, soft_wrap=True)

    with console.status("") as line:
        for finding in examine_sites(
            checks, contexts, lambda names: line.update(f"testing {', '.join(names)}")
        ):
            found.append(finding)
            show(finding)
    echo(summary(found))
    # they may have scrolled away
    for finding in failures(found) if len(found) > 1 else ():
        show(finding)
    return found


def _print_mail(context: CheckContext, checks: Sequence[Check]) -> None:
    from ..doctor import mail
    from ..doctor.checks import examine_all

    found = list(examine_all(checks, context, lambda names: None))
    for finding in found:
        echo(f"{finding.verdict:<10} {finding}", err=True)
    sys.stderr.flush()
    echo(mail.text(_asker(context), mail.missing(found)), nl=False)


def _asker(context: CheckContext) -> Asker:
    from ..doctor.context import Skipped
    from ..doctor.mail import Asker

    known: dict[str, str] = {}
    try:
        known |= {"site": context.site().site, "resource": context.site().resource}
        known["project"] = context.project()
    except Skipped:
        pass
    try:
        facts = context.facts()
        nodes = {n.name for p in context.site().partitions for n in facts.nodes_of(p.name)}
        cores = sum(node.cores for node in facts.nodes if node.name in nodes)
        known |= {"cluster": facts.name, "size": f"{len(nodes)} nodes, {cores} cores in reach"}
    except Skipped:
        pass
    return Asker(getpass.getuser(), **known)
