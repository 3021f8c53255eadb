"""Which inputs by URL none of the pilots can fetch."""

import pytest

from snakemake_executor_plugin_osgpilot.htcondor.schedd_queue import scheme_of, unsupported

USUAL = "http,https,ftp, OSDF"


@pytest.mark.parametrize(
    ("wanted", "methods", "lacking"),
    [
        ({"osdf", "https"}, {"p1": USUAL}, set()),
        ({"osdf", "pelican"}, {"p1": USUAL}, {"pelican"}),
        ({"osdf"}, {"p1": "http", "p2": USUAL}, set()),
        ({"osdf"}, {}, set()),
        ({"osdf"}, {"p1": ""}, set()),
        (set(), {"p1": "http"}, set()),
    ],
)
def test_only_what_pilots_say_counts(wanted, methods, lacking):
    assert unsupported(wanted, methods) == lacking


def test_a_scheme_is_what_stands_before_the_slashes():
    assert scheme_of("OSDF:///a/b") == "osdf"
