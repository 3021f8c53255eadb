"""Lines for people at a terminal."""

from snakemake_executor_plugin_osgpilot.cli.text_layout import broken, fitted


def test_lines_are_broken_at_words_and_a_number_stays_with_its_unit():
    text = "it asks for 2 cores, 1024 MB, 5 min and no more"
    assert broken(text, 26, "- ", "  ").splitlines() == [
        "- it asks for 2 cores,",
        "  1024 MB, 5 min and no",
        "  more",
    ]
    assert broken(text, 29).splitlines()[0] == "it asks for 2 cores, 1024 MB,"
    assert broken(text, 32).splitlines()[0] == "it asks for 2 cores, 1024 MB,", "not after the 5"


def test_elsewhere_a_line_stays_one(capsys):
    assert fitted("word " * 100, "- ") == "- " + "word " * 100
