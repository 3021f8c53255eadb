"""`osgpilot site`: write, check and explain site files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.console_output import echo
from ..errors import InputError, OsgpilotError
from .text_layout import fitted

if TYPE_CHECKING:
    from ..config.site_template import Answers
    from ..doctor.context import CheckContext
    from ..slurm.host import Host

FileArgument = click.Path(dir_okay=False, path_type=Path)


@click.group(short_help="Write and check the file on your cluster.")
def site() -> None:
    """Create and check the site file: the cluster where pilots run.

    \b
    osgpilot site init      write one from what Slurm reports
    osgpilot site check     compare one with the cluster
    osgpilot site schema    print the JSON Schema, for editors
    """


@site.command(short_help="Write a site file from what Slurm reports.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="site.yaml",
    show_default=True,
    help="File to write; - for standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--ssh", default="", help="Host with Slurm's commands, if not this one.")
@click.option("--cluster", default="", help="Cluster for Slurm's commands, if there are several.")
@click.option("--site", "site_name", default="", help="GLIDEIN_Site, as registered with the OSG.")
@click.option("--resource", default="", help="GLIDEIN_ResourceName, as registered with the OSG.")
@click.option("--project", default="", help="OSG project.")
@click.option("--token", default="", help="File with the token for pilots.")
@click.option("--image", default="", help="Pilot container: a file, or an image to fetch.")
@click.option("--account", default="", help="Slurm account to charge.")
@click.option("--access-point", default="", help="Schedd's name, if it is on another host.")
@click.option("--central-manager", default="", help="host:port; leave out for the OSPool.")
def init(out: Path, *, force: bool, ssh: str, cluster: str, site_name: str, **said: str) -> None:
    """Write a site file from what Slurm reports: partitions, limits, accounts, nodes.

    On a terminal, asks for values that neither Slurm nor an option gives; otherwise, leaves them as
    comments. Submits nothing.

    \b
    osgpilot site init                    asks what Slurm cannot know
    osgpilot site init --ssh mycluster    Slurm's commands work there, not here
    osgpilot site init --out -            prints the file
    """
    from ..config.site_template import Answers
    from ..slurm.cluster import connect
    from ..slurm.ssh import Logins

    to_file = str(out) != "-"
    if to_file and out.exists() and not force:
        raise InputError(f"{out} exists; --force writes over it, --out FILE writes another")
    host = connect(ssh, cluster, Logins())
    try:
        answers = Answers(site=site_name, ssh=ssh, cluster=cluster, **said)
        text = _draft(host, answers)
    finally:
        host.close()
    if not to_file:
        echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    echo(f"wrote {out}; review it, then run:")
    usual = str(out) == "site.yaml"
    echo("  osgpilot site check" + ("" if usual else f" {out}"))
    echo("  osgpilot doctor" + ("" if usual else f" --site {out}"))


def _draft(host: Host, answers: Answers) -> str:
    from dataclasses import replace

    from ..config import site_template as draft
    from ..config.site_schema import schema_path
    from ..slurm.inventory import survey, try_pilots

    try:
        cluster = survey(host)
    except OsgpilotError as error:
        raise InputError(
            f"{error}; run this where Slurm's commands work, or name that host with --ssh"
        ) from error
    if sys.stdin.isatty() and sys.stdout.isatty():
        suggested = {
            "site": cluster.name,
            "resource": f"{answers.site or cluster.name}-Slurm",
            "project": "",
            "access_point": "",
            "token": "~/osg-token/flock.opensciencegrid.org",
            "image": draft.IMAGE,
        }
        if len(cluster.accounts) > 1:
            suggested["account"] = cluster.accounts[0]
        for name, default in suggested.items():
            if not getattr(answers, name):
                answer = click.prompt(_QUESTIONS[name], default=default, show_default=bool(default))
                answers = replace(answers, **{name: answer})
    trial = try_pilots(host, cluster, draft.main_account(cluster, answers.account))
    return draft.text(cluster, answers, str(schema_path()), trial)


_QUESTIONS = {
    "site": "Name of the site, as registered with the OSG",
    "resource": "Name of the resource, as registered with the OSG",
    "project": "OSG project (empty: later)",
    "access_point": "Access point: name of its schedd (empty: this host's own)",
    "token": "File with the token for pilots",
    "image": "Pilot container",
    "account": "Slurm account to charge",
}


@site.command()
@click.argument("file", type=FileArgument, default="site.yaml")
@click.option("--offline", is_flag=True, help="Check only the file, not the cluster.")
@click.pass_context
def check(context: click.Context, file: Path, offline: bool) -> None:
    """Compare a site file with its schema, then with the cluster.

    Prints one line for each problem: place, value, reason, fix. Also tests whether Slurm would
    accept the largest pilots; submits nothing. A note tells if pilots are charged more cores than
    they request, which is not a problem in itself.

    \b
    Exit status: 0  no problem found
                 1  there is a problem
    """
    from ..config.site import all_complaints
    from ..config.site_check import charges
    from ..doctor.context import CheckContext

    complaints, notes = all_complaints(file), []
    if not complaints and not offline:
        checked = CheckContext(file)
        try:
            complaints = _against_cluster(checked)
            notes = charges(checked.site.reported(), checked.facts.reported())
        finally:
            context.close()
    for line in [*complaints, *notes]:
        echo(fitted(line, then="    "))
    if complaints:
        context.exit(1)
    echo(f"site file {file}: no problem found" + (" in the file itself" if offline else ""))


def _against_cluster(context: CheckContext) -> list[str]:
    from ..config.site_check import problems
    from ..config.site_schema import line_of
    from ..doctor import remote_checks as places
    from ..doctor.findings import Verdict

    file = context.site_file
    try:
        if missing := context.look.reported().slurm_problem:
            raise missing
        reported = context.facts.reported()
    except OsgpilotError as error:
        raise InputError(f"{error}; --offline checks only the file") from error
    found = problems(context.site.reported(), reported)
    if found:
        return [f"site file {file}, line {line_of(file, p.keys)}: {p}" for p in found]
    refused = [each for each in places.limits(context) if each.verdict is not Verdict.OK]
    return [f"site file {file}: {each.what}" for each in refused]


@site.command()
@click.option("--path", is_flag=True, help="Print the path of the schema instead of its text.")
def schema(path: bool) -> None:
    """Print the JSON Schema of site files (draft 2020-12).

    Editors with a YAML language server use it when a site file begins with
    `# yaml-language-server: $schema=PATH`; `site init` writes that line.
    """
    from ..config.site_schema import schema_path

    where = schema_path()
    echo(str(where) if path else where.read_text(encoding="utf-8"), nl=path)
