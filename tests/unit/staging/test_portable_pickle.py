"""Values are the same where they are unpickled, and paths are those of that place."""

import os
import pickle
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from snakemake_executor_plugin_osgpilot.staging.payload import HERE
from snakemake_executor_plugin_osgpilot.staging.portable_pickle import dumped, loading


def there(value, place="/there", moved=str):
    return eval(loading(dumped(value, moved)).replace(HERE, place), {"pickle": pickle})


@pytest.mark.parametrize(
    "value",
    [
        *("", "a\n'\"\\", "ü", b"x", 3, None, 1.5, {"a", "b"}, frozenset([1, "a"])),
        {"k": ["x", ("y", {"z"})]},
        PurePosixPath("a/b"),
        "x" * 100_000,
    ],
)
def test_values_without_paths_arrive_unchanged(value):
    assert there(value) == value
    assert type(there(value)) is type(value)


def test_paths_are_those_of_the_place_of_any_length():
    value = {HERE: [f"{HERE}/a:{HERE}/b", PurePosixPath(f"{HERE}/c")], "set": {f"{HERE}/d"}}
    for place in ("/x", "/a/much/longer/folder/than/the/placeholder/itself"):
        assert there(value, place) == {
            place: [f"{place}/a:{place}/b", PurePosixPath(f"{place}/c")],
            "set": {f"{place}/d"},
        }


def test_texts_change_before_they_are_pickled():
    moved = {"/home/me/x": f"{HERE}/x", "a": "b"}
    assert there(["/home/me/x", "a", "c"], moved=lambda t: moved.get(t, t)) == [
        "/there/x",
        "b",
        "c",
    ]


def test_a_text_that_occurs_twice_is_pickled_right():
    text = f"{HERE}/a"
    plain = "plain"
    assert there([text, text, plain, plain]) == ["/there/a", "/there/a", "plain", "plain"]


def test_a_pickle_is_the_same_in_every_session():
    code = (
        "from snakemake_executor_plugin_osgpilot.staging.portable_pickle import dumped\n"
        "print(dumped([{'a', 'b', 'c', 'd'}, {'k': {'x', ('y', 1)}}]))"
    )
    seeds = [{**os.environ, "PYTHONHASHSEED": str(seed)} for seed in (1, 2, 3)]
    assert len({subprocess.check_output([sys.executable, "-c", code], env=e) for e in seeds}) == 1
