"""`osgpilot status`: what a run did, from its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

Folder = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--dir", "workdir", type=Folder, default=".", help="Working folder of the workflow.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def status(workdir: Path, as_json: bool) -> None:
    """Show jobs, pilots and core-hours of the latest run in a working folder."""
    from snakemake_executor_plugin_osgpilot.run import newest

    record = newest(workdir)
    if as_json:
        click.echo(json.dumps(record, indent=1))
        return
    from rich.console import Console

    console = Console()
    console.print(_rules(record))
    console.print(_pilots(record))
    used, charged = record["used_core_h"], record["charged_core_h"]
    share = f" ({used / charged:.0%})" if charged else ""
    console.print(f"core-hours used {used:.3f} of {charged:.3f} charged{share}")
    console.print(
        f"makespan {record['makespan_s']:.0f} s, at best {record['bound_s']:.0f} s; "
        f"pilots never used: {record['pilots_never_used']}"
    )


def _rules(record: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"run {record['run']}, project {record['project']}")
    for name in ("rule", "jobs", "done", "failed", "core-hours", "ran in Slurm jobs"):
        table.add_column(name, justify="left" if name.startswith("r") else "right")
    for name, rule in record["rules"].items():
        counts = [str(rule[key]) for key in ("jobs", "done", "failed")]
        where = ", ".join(sorted(rule["allocations"], key=int))
        table.add_row(name, *counts, f"{rule['core_h']:.3f}", where)
    return table


def _pilots(record: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="pilots")
    for name in ("Slurm job", "state", "node", "cores", "memory MB", "minutes", "core-hours"):
        table.add_column(name, justify="left" if name in ("state", "node") else "right")
    for pilot in record["pilots"]:
        table.add_row(
            pilot["allocation"],
            pilot["state"],
            pilot["node"],
            str(pilot["cores"]),
            str(pilot["memory_mb"]),
            f"{pilot['charged_s'] / 60:.1f}",
            f"{pilot['charged_s'] * pilot['cores'] / 3600:.3f}",
        )
    return table
