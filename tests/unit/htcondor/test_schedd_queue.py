"""URL schemes of inputs that no pilot can fetch."""

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
def test_schemes_are_unsupported_only_if_pilots_advertise_others(wanted, methods, lacking):
    assert unsupported(wanted, methods) == lacking


def test_scheme_is_lower_case():
    assert scheme_of("OSDF:///a/b") == "osdf"
