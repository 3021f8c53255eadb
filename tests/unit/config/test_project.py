"""Where the project comes from."""

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
def test_what_is_nearer_to_the_run_counts(said, environment, site_file, expected):
    variables = {} if environment is None else {"OSG_PROJECT_NAME": environment}
    assert choose(said, variables, site_file) == expected


def test_without_any_all_ways_to_say_it_are_named():
    with pytest.raises(InputError, match=r"--osgpilot-project.*OSG_PROJECT_NAME.*site file"):
        choose(None, {}, "")


def test_a_name_that_cannot_be_one_is_told_with_where_it_came_from():
    with pytest.raises(InputError, match="environment variable OSG_PROJECT_NAME 'a b'"):
        choose(None, {"OSG_PROJECT_NAME": "a b"}, "C")
