"""`osgpilot pool`: the local pool, for tests, examples and learning."""

import os
import subprocess
import time
from pathlib import Path

import click

from ..common.console_output import EchoHandler, echo, echo_json
from ..common.log_output import attached
from .paths import DEFAULT_NAME, instance_folder

name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="Which pool; several may be up."
)
host_option = click.option(
    "--host",
    type=click.Choice(["login", "ap"]),
    default="login",
    show_default=True,
    help="login: Slurm and its own access point; ap: central manager and access point.",
)
user_option = click.option(
    "--user",
    type=click.Choice(["alice", "bob", "root"]),
    default="alice",
    show_default=True,
    help="Who runs it; alice's files in the working folder are yours.",
)
dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder to run in, absolute; by default the current one.",
)


@click.group(short_help="A pool like the OSPool on this machine.")
def pool() -> None:
    """Run a pool like the OSPool on this machine: Slurm, HTCondor, Apptainer, pilots.

    Nothing on this machine changes: the pool runs in namespaces of its own and keeps its files
    in one cache folder ($OSGPILOT_CACHE, else ~/.cache/osgpilot). Root is not needed.

    \b
    osgpilot pool build            once, some minutes
    osgpilot pool up               a few seconds
    osgpilot pool exec -- sinfo    any command, as user alice on the host login
    osgpilot pool down             ends all of it
    """


@pool.command()
@click.option("--mirror", "uri", help="Debian mirror; by default the one apt uses here.")
def build(uri: str | None) -> None:
    """Build the pool from Debian packages; finished stages are kept."""
    from .makepool import make

    make(uri)


@pool.command()
@name_option
@click.option(
    "--work",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder to show inside, read-write, at the same path; may be repeated."
    "  [default: the top of the git checkout, else the current folder]",
)
def up(name: str, work: tuple[Path, ...]) -> None:
    """Start a pool and wait until it is ready."""
    from . import host, instance, makepool

    started_s = time.monotonic()
    instance_folder(name)
    host.require_runnable()
    with attached(EchoHandler()):
        running, fresh = instance.up(name, work or (default_work(),))
    if makepool.outdated():
        echo("note: made by an older version of osgpilot: osgpilot pool build", err=True)
    if not fresh:
        echo(f"the pool {name!r} is up already; inside: {' '.join(running.work)}")
        return
    echo(
        f"the pool {name!r} is up after {time.monotonic() - started_s:.1f} s;"
        f" inside: {' '.join(running.work)}"
    )


def default_work() -> Path:
    """Return the top of the git checkout of the current folder, else the current folder."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True
        )
    except FileNotFoundError:
        return Path.cwd()
    return Path(asked.stdout.strip()) if asked.returncode == 0 else Path.cwd()


@pool.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(name: str, as_json: bool) -> None:
    """Show whether a pool is up and the state of its services."""
    from .status import status_of, text_of

    found = status_of(name)
    if as_json:
        echo_json(found)
    else:
        echo(text_of(found))


@pool.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the pools that are up."""
    from .state import find, names

    pools = {name: find(name) for name in names()}
    found = {name: list(running.work) for name, running in pools.items() if running}
    if as_json:
        echo_json([{"name": name, "work": work} for name, work in found.items()])
    for name, work in ({} if as_json else found).items():
        echo(f"{name}  {' '.join(work)}")
    if not found and not as_json:
        echo("no pool is up")


@pool.command(
    "exec",
    context_settings={"ignore_unknown_options": True},
    short_help="Run a command inside.",
)
@name_option
@host_option
@user_option
@dir_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, host: str, user: str, folder: Path | None, command: tuple[str, ...]) -> None:
    """Run COMMAND inside; input, output, exit status and signals are those of COMMAND.

    A current folder that the pool does not show yet is shown, with the checkout it belongs to.
    """
    run_inside(name, host, user, folder, command)


@pool.command()
@name_option
@host_option
@user_option
@dir_option
def shell(name: str, host: str, user: str, folder: Path | None) -> None:
    """Open a shell inside."""
    run_inside(name, host, user, folder, ("bash", "-i"))


def run_inside(
    name: str, host: str, user: str, folder: Path | None, command: tuple[str, ...]
) -> None:
    """Replace this process by `command` inside the pool; does not return."""
    from .session import exec_argv
    from .state import require

    where = folder or Path.cwd()
    running = require(name)
    if not Path(f"/proc/{running.hosts[host]}/root{where}").is_dir() and where.is_dir():
        from . import instance

        instance.show(name, default_work() if folder is None else where)
    argv = exec_argv(name, host, user, where, command)
    os.execv(argv[0], argv)


@pool.command(short_help="End a pool; the built images stay.")
@name_option
@click.option("--all", "everyone", is_flag=True, help="All pools of this cache folder.")
def down(name: str, everyone: bool) -> None:
    """End a pool: no process, mount or file of it stays (the built images do)."""
    from . import instance, state

    for each in state.names() if everyone else [name]:
        started_s = time.monotonic()
        if instance.down(each):
            echo(f"the pool {each!r} is down after {time.monotonic() - started_s:.1f} s")
        else:
            where = instance_folder(each).parent
            echo(f"the pool {each!r} was not up; the running ones of this cache are in {where}")
