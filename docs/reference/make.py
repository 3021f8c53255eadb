"""Write the pages of the reference from the code: `python docs/reference/make.py`.

What a page says comes from where the program has it: the metadata of the settings, the help of the
commands, the JSON Schema of the site file, and the table of resources.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import click

import snakemake_executor_plugin_osgpilot as package
from snakemake_executor_plugin_osgpilot.cli import main as osgpilot
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings
from snakemake_executor_plugin_osgpilot.staging.rule_resources import RESOURCES

HERE = Path(__file__).parent
SCHEMA = Path(package.__file__).parent / "config/schema.json"
MADE = "<!-- Made by docs/reference/make.py: change the code, then run it. -->\n\n"


TOOLS = ("simulate", "software", "runtime", "pool")
"""Commands with a page of their own."""

WRITTEN = ("directives.md", "files.md", "rules.md", "shell.md", "snakemake.md", "software.md")
"""Pages of the reference that are not made from the code."""


def pages() -> dict[str, str]:
    """Return the text of every page by the name of its file."""
    return {
        "settings.md": settings(),
        "commands.md": commands(),
        "commands-tools.md": tools(),
        "site-file.md": site_file(),
        "resources.md": resources(),
    }


def settings() -> str:
    """Return the page on the executor's settings."""
    return (
        f"# Settings\n\n{MADE}"
        "Each setting is an option of `snakemake` (`--osgpilot-…`), a key of a profile (without\n"
        "`--`), and an environment variable. The command line takes precedence over the\n"
        "environment, and the environment over a profile. Separate the values of a list by\n"
        "commas; a profile may have a YAML list. osgpilot refuses invalid values at\n"
        "the start and names the allowed ones. Resources that rules may set are in\n"
        "[resources.md](resources.md).\n\n"
        + "\n".join(_setting(field) for field in dataclasses.fields(ExecutorSettings))
    )


def _setting(field: dataclasses.Field[Any]) -> str:
    meta = field.metadata
    key = "osgpilot-" + field.name.replace("_", "-")
    kinds = get_args(field.type) or (field.type,)
    lines = [
        f"## `{key}`\n",
        meta["help"] + "\n",
        f"* on the command line: `--{key} {meta['metavar']}`",
        f"* in the environment: `SNAKEMAKE_OSGPILOT_{field.name.upper()}`",
    ]
    if "choices" in meta:
        lines.append(f"* one of {', '.join(f'`{choice}`' for choice in meta['choices'])}")
    elif kinds[0] in (int, float):
        lines.append(f"* {'a whole number' if kinds[0] is int else 'a number'}")
    return "\n".join(lines) + "\n"


def resources() -> str:
    """Return the page on what a rule may say of its jobs."""
    rows = "".join(
        f"| `{each.name}` | {each.meaning} | {each.values} | {each.default} |\n"
        for each in RESOURCES
    )
    return (
        f"# Resources of rules\n\n{MADE}"
        "Set these in a rule (`resources:`, `threads:`), or in a profile for one rule\n"
        "(`set-resources`, `set-threads`) or for all (`default-resources`). osgpilot refuses\n"
        "invalid values, and unknown names that begin with `osgpilot_`, before it submits\n"
        "anything. For their effects, see\n"
        "[Rules and jobs](rules.md#resources-of-rules).\n\n"
        "| resource | meaning | values | default |\n| --- | --- | --- | --- |\n" + rows
    )


def commands() -> str:
    """Return the page on the commands for a run, with the help that each prints."""
    return (
        f"# Commands\n\n{MADE}`-h` or `--help` after a command prints its help. "
        "The commands for simulations, images\nand the local pool are in "
        "[commands-tools.md](commands-tools.md).\n\n"
        + "\n".join(_commands(osgpilot, "osgpilot", None, without=TOOLS))
    )


def tools() -> str:
    """Return the page on the commands beside a run."""
    context = _context(osgpilot, "osgpilot", None)
    return (
        f"# Commands for simulations, images and the local pool\n\n{MADE}"
        "The commands for a run are in [commands.md](commands.md).\n\n"
        + "\n".join(
            text for name in TOOLS for text in _commands(osgpilot.commands[name], name, context)
        )
    )


def _commands(
    command: click.Command, name: str, above: click.Context | None, without: Sequence[str] = ()
) -> Iterator[str]:
    context = _context(command, name, above)
    yield f"## `{context.command_path}`\n\n```text\n{_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if each not in without:
                yield from _commands(command.commands[each], each, context)


def _context(command: click.Command, name: str, above: click.Context | None) -> click.Context:
    # --help itself is left out: click keeps the one of the first context that a command was seen in
    return click.Context(
        command, info_name=name, parent=above, terminal_width=96, help_option_names=[]
    )


def _help(context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in context.get_help().splitlines())


def site_file() -> str:
    """Return the page on the keys of the site file."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return (
        f"# The site file\n\n{MADE}"
        f"{schema['description']} `osgpilot site init` writes a site file,\n"
        "`osgpilot site check` compares it with the cluster, and `osgpilot site schema` prints\n"
        "the JSON Schema, from which this page is generated. See also\n"
        "[Write a site file](../how-to/site-file.md).\n\n"
        "| key | meaning | values | default |\n| --- | --- | --- | --- |\n"
        + "".join(_keys(schema, ""))
    )


def _keys(schema: dict[str, Any], before: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, spec in schema["properties"].items():
        default = "required" if name in required else _value(spec.get("default"))
        meaning = spec["description"].replace("|", "\\|")
        yield f"| `{before}{name}` | {meaning} | {_values(spec)} | {default} |\n"
        if "properties" in spec:
            yield from _keys(spec, f"{before}{name}.")
        elif "properties" in spec.get("items", {}):
            yield from _keys(spec["items"], f"{before}{name}[].")


def _value(default: object) -> str:
    return "" if default is None else f"`{json.dumps(default)}`"


def _values(spec: dict[str, Any]) -> str:
    if "enum" in spec:
        return ", ".join(f"`{value}`" for value in spec["enum"])
    kind = {
        "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
        "array": "list", "object": "keys and values",
    }[spec["type"]]  # fmt: skip
    if "minimum" in spec:
        top = f" to {spec['maximum']}" if "maximum" in spec else " or more"
        return f"{kind}, {spec['minimum']}{top}"
    return kind


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(HERE / name)
