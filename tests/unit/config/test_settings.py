"""Settings as parsed by Snakemake: command line, profile, environment."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from snakemake_executor_plugin_osgpilot.config.run_options import options_of
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings
from snakemake_executor_plugin_osgpilot.config.sites import site_files
from snakemake_executor_plugin_osgpilot.errors import InputError

PLUGIN = ExecutorPluginRegistry().get_plugin("osgpilot")
FIELDS = {field.name: field for field in dataclasses.fields(ExecutorSettings)}
GIVEN = {
    "project": ("Mine", "Mine"),
    "pilot_sharing": ("owner", "owner"),
    "site": ("sites/mine.yaml", Path("sites/mine.yaml")),
    "access_point": ("ap.example.org", "ap.example.org"),
    "runtime_image": ("images/snakemake.sif", "images/snakemake.sif"),
    "conda_image": ("images/conda.sif", "images/conda.sif"),
    "shared_prefixes": ("/data,/scratch", ["/data,/scratch"]),
    "url_schemes": ("osdf,s3", ["osdf,s3"]),
    "on_exit": ("detach", "detach"),
    "shared_inputs": ("off", "off"),
    "notify": ("mail:me@example.org", "mail:me@example.org"),
    "max_pilots": ("3", 3),
    "max_pending": ("2", 2),
    "max_cores": ("64", 64),
    "max_core_hours": ("12.5", 12.5),
    "max_queued": ("500", 500),
    "cost_weight": ("0.8", 0.8),
    "bundle": ("30", "30"),
    "offload": ("never", "never"),
    "fallback": ("local", "local"),
}
"""For each setting a text that is not the default, and what it means."""


def option(name: str) -> str:
    return "--osgpilot-" + name.replace("_", "-")


def variable(name: str) -> str:
    return "SNAKEMAKE_OSGPILOT_" + name.upper()


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Return what reads settings as `snakemake ARGUMENTS` with these variables would."""
    monkeypatch.chdir(tmp_path)
    for name in FIELDS:
        monkeypatch.delenv(variable(name), raising=False)

    def read(*arguments, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(variable(name), value)
        _, parsed = parse_args(["--executor", "osgpilot", *arguments])
        return PLUGIN.get_settings(parsed)

    return read


@pytest.fixture
def help_of():
    """Return the help of a setting, as Snakemake's parser has it."""
    parser = argparse.ArgumentParser()
    plain = parser.add_argument_group
    actions = {}

    def add_group(title):
        group = plain(title)
        add = group.add_argument

        def add_argument(name, **options):
            options.pop("env_var", None)
            actions[name] = add(name, **options)

        group.add_argument = add_argument
        return group

    parser.add_argument_group = add_group
    PLUGIN.register_cli_args(parser, "executor")
    return lambda name: actions[option(name)]


def test_every_setting_is_covered():
    assert set(GIVEN) == set(FIELDS)
    for name, (_, meaning) in GIVEN.items():
        assert meaning != FIELDS[name].default


@pytest.mark.parametrize("name", GIVEN)
def test_setting_has_same_meaning_from_every_source(read, tmp_path, name):
    text, meaning = GIVEN[name]
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(yaml.safe_dump({f"{option(name)[2:]}": text}))
    on_the_command_line = read(option(name), text)
    in_a_profile = read("--profile", str(profile))
    in_the_environment = read(**{name: text})
    assert getattr(on_the_command_line, name) == meaning
    assert on_the_command_line == in_a_profile == in_the_environment


SITES = {
    "one line": "osgpilot-site: a.yaml,b.yaml\n",
    "one line with a blank": "osgpilot-site: a.yaml, b.yaml\n",
    "a line for each": "osgpilot-site:\n  a.yaml,\n  b.yaml\n",
}


@pytest.mark.parametrize("name", SITES)
def test_a_profile_may_have_several_sites(read, tmp_path, name):
    (tmp_path / "config.yaml").write_text(SITES[name])
    settings = read("--profile", str(tmp_path))
    assert site_files(settings.site) == (Path("a.yaml"), Path("b.yaml"))


def test_command_line_overrides_environment_overrides_profile(read, tmp_path):
    (tmp_path / "config.yaml").write_text("osgpilot-max-pilots: 5\nosgpilot-max-pending: 5\n")
    settings = read(
        "--profile", str(tmp_path), "--osgpilot-max-cores", "7",
        max_cores="6", max_pending="6",
    )  # fmt: skip
    assert (settings.max_cores, settings.max_pending, settings.max_pilots) == (7, 6, 5)


@pytest.mark.parametrize("text", ["/data,/scratch", "[/data, /scratch]"])
def test_a_list_in_the_environment_has_commas(read, text):
    settings = read(shared_prefixes=text)
    assert options_of(settings).shared_folders == ("/data", "/scratch")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        *((name, "maybe", "invalid choice: 'maybe' (choose from") for name in FIELDS
          if "choices" in FIELDS[name].metadata),
        *((name, "many", "invalid int value: 'many'") for name in FIELDS
          if name.startswith("max_") and name != "max_core_hours"),
        ("max_core_hours", "many", "invalid float value: 'many'"),
        ("cost_weight", "much", "invalid float value: 'much'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("environment", [False, True], ids=["argument", "variable"])
def test_value_of_wrong_type_is_refused_by_name(read, capsys, name, text, why, environment):
    given = ((), {name: text}) if environment else ((option(name), text), {})
    with pytest.raises(SystemExit):
        read(*given[0], **given[1])
    said = capsys.readouterr().err
    assert f"argument {option(name)}: {why}" in said
    for choice in FIELDS[name].metadata.get("choices", ()):
        assert choice in said


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        *((name, "0", "it has to be 1 or more") for name in
          ("max_pilots", "max_pending", "max_cores", "max_queued")),
        *(("max_core_hours", text, "a number above 0") for text in ("0", "-1", "nan", "inf")),
        *(("cost_weight", text, "it goes from 0 to 1") for text in ("-0.1", "1.1", "nan")),
        ("shared_prefixes", "data", "give absolute paths"),
        *(("bundle", text, "it can be auto, off, or seconds")
          for text in ("maybe", "-1", "nan", "1e9")),
        *(("shared_inputs", text, "give a size in MB (1 or more), auto or off")
          for text in ("0", "-1", "1.5", "on", "10 MB")),
    ],
)  # fmt: skip
def test_number_out_of_range_is_refused_with_the_range(read, name, text, allowed):
    settings = read(f"{option(name)}={text}")
    with pytest.raises(InputError) as refused:
        checked(settings)
    assert option(name) in str(refused.value)
    assert allowed in str(refused.value)


def checked(settings):
    """Read settings as a run does at its start."""
    options_of(settings).limits.check()


def test_missing_site_file_error_names_both_sources(read):
    from snakemake_interface_common.exceptions import WorkflowError

    with pytest.raises(WorkflowError, match=f"{option('site')} .*{variable('site')}"):
        PLUGIN.validate_settings(read())


@pytest.mark.parametrize("name", FIELDS)
def test_help_has_default_choices_and_unit(help_of, name):
    field, action = FIELDS[name], help_of(name)
    assert action.metavar != "VALUE"
    for choice in field.metadata.get("choices", ()):
        assert f"({choice}" in action.help
    if field.metadata.get("required"):
        assert "Required." in action.help
    elif field.default is None:
        assert "[default: " in action.help
    else:
        assert f"[default: {field.default}]" in action.help
