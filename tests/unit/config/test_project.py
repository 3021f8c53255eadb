"""Sources of the project name."""

import pytest

from snakemake_executor_plugin_osgpilot.config.project import choose
from snakemake_executor_plugin_osgpilot.errors import InputError


@pytest.mark.parametrize(
    ("said", "environment", "site_file", "expected"),
    [
        ("A", "B", "C", "A"),
        (None, "B", "C", "B"),
        ("", "B", "C", "B"),
        (None, None, "C", "C"),
        (None, "", "C", "C"),
    ],
)
def test_more_specific_project_setting_wins(said, environment, site_file, expected):
    variables = {} if environment is None else {"OSG_PROJECT_NAME": environment}
    assert choose(said, variables, site_file) == expected


def test_missing_project_error_names_all_sources():
    with pytest.raises(InputError, match=r"--osgpilot-project.*OSG_PROJECT_NAME.*site file"):
        choose(None, {}, "")


def test_invalid_project_error_names_its_source():
    with pytest.raises(InputError, match="environment variable OSG_PROJECT_NAME 'a b'"):
        choose(None, {"OSG_PROJECT_NAME": "a b"}, "C")
