"""Outputs with `ensure()`: all are put in place, or none."""

import hashlib
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.ensured_outputs import Ensured, ensured_of
from snakemake_executor_plugin_osgpilot.staging.payload import Payload
from snakemake_executor_plugin_osgpilot.staging.returned_files import JobFailedError
from unit.staging.test_payload import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class File(str):
    flags: dict[str, object]


def ensured(path, non_empty=False, algorithm=None, checksum=None):
    made = File(path)
    made.flags = {
        "ensure": {
            "non_empty": non_empty,
            "checksum": checksum,
            "checksum_algorithm": algorithm,
        }
    }
    return made


def job(*output):
    rule = SimpleNamespace(name="r")
    return SimpleNamespace(is_group=lambda: False, output=output, rule=rule, wildcards="w")


def test_conditions_are_those_of_the_rule():
    made = job(ensured("a", non_empty=True), ensured("b", algorithm="md5", checksum=str), File("c"))
    made.output[2].flags = {}
    assert ensured_of(made) == (Ensured("a", True, "", ""), Ensured("b", False, "md5", "w"))


def test_a_checksum_function_that_fails_is_named():
    with pytest.raises(InputError, match="rule r: its function for the checksum"):
        ensured_of(job(ensured("b", algorithm="md5", checksum=lambda wildcards: wildcards.x)))


SUM = hashlib.sha1(b"hi\n").hexdigest()


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        (Ensured("empty", True, "", ""), "unexpected empty output files.*: empty"),
        (Ensured("hi", False, "sha1", "0" * 40), "checksums that differ.*: hi"),
        (Ensured("to_empty", True, "", ""), "unexpected empty output files.*: to_empty"),
    ],
)
def test_what_is_not_as_ensured_leaves_everything_as_it_was(bench, condition, complaint):
    (bench.workdir / "hi").write_text("from before")
    text = "echo hi > hi; touch empty; ln -s empty to_empty"
    payload = Payload((text,), "bash", (), ("hi", "empty", "to_empty"), (), ensured=(condition,))
    assert bench.execute(payload) == 0
    for _ in range(2):
        with pytest.raises(JobFailedError, match=complaint):
            bench.commit(payload)
        assert (bench.workdir / "hi").read_text() == "from before"
        assert not (bench.workdir / "empty").exists()


def test_what_is_as_ensured_is_put_in_place(bench):
    conditions = (Ensured("hi", True, "sha1", SUM), Ensured("to", True, "sha1", SUM))
    text = "echo hi > hi; ln -s hi to"
    payload = Payload((text,), "bash", (), ("hi", "to"), (), ensured=conditions)
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "to").read_text() == "hi\n"
