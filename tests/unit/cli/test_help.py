"""The lists of commands that `--help` prints."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main


def groups(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from groups(command, *path, name)


@pytest.mark.parametrize("path", list(groups(main)), ids=" ".join)
def test_a_list_of_commands_describes_each_in_a_whole_sentence(path):
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
    commands = shown.partition("Commands:\n")[2].splitlines()
    assert commands
    assert [line for line in commands if not line.endswith(".")] == []
    assert [line for line in commands if line.endswith("...")] == []
