"""Numbers and sizes with their nouns and units."""

import pytest

from snakemake_executor_plugin_osgpilot.common.counting import count_of, size_of


def test_a_number_has_its_noun():
    assert [count_of(n, "retry", "retries") for n in (1, 2, 1200)] == [
        "1 retry",
        "2 retries",
        "1,200 retries",
    ]


@pytest.mark.parametrize(
    ("mb", "text"),
    [
        (0, "0 kB"), (24 / 1024**2, "24 bytes"), (1 / 1024, "1 kB"),
        (0.0117, "12 kB"), (0.99, "1 MB"), (1, "1 MB"), (3.14159, "3.14 MB"),
        (999.4, "999 MB"), (1023, "1,023 MB"), (1536, "1.5 GB"), (2048000, "2,000 GB"),
    ],
)  # fmt: skip
def test_a_size_has_a_unit_that_suits_it(mb, text):
    assert size_of(mb) == text
