"""Entry point of `osgpilot`: collects the subcommands, turns our errors into one line."""

import click

from snakemake_executor_plugin_osgpilot.cli.doctor import doctor
from snakemake_executor_plugin_osgpilot.cli.pool import pool
from snakemake_executor_plugin_osgpilot.cli.reap import reap
from snakemake_executor_plugin_osgpilot.cli.runtime import runtime
from snakemake_executor_plugin_osgpilot.cli.site import site
from snakemake_executor_plugin_osgpilot.cli.status import status
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError


class OneLineErrors(click.Group):
    """Shows an `OsgpilotError` as one line on standard error and exits with status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OsgpilotError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="snakemake-executor-plugin-osgpilot")
def main() -> None:
    """Bring a Slurm allocation into the Open Science Pool for a Snakemake workflow."""


main.add_command(doctor)
main.add_command(pool)
main.add_command(reap)
main.add_command(runtime)
main.add_command(site)
main.add_command(status)
