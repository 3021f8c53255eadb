"""Traces of batch systems: what is read of them, and what is said about bad ones."""

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.scaling_study.swf import read, scaled
from snakemake_executor_plugin_osgpilot.simulator.model import OtherJob

HEADER = ["; Version: 2.2", ";   Computer: IBM SP2", "; MaxNodes: 100", "; MaxProcs: 400", ""]


def job(submit=0, run=600, allocated=4, requested=-1, requested_s=-1, status=1):
    fields = [1, submit, 10, run, allocated, -1, -1, requested, requested_s, -1, status]
    return " ".join(str(field) for field in [*fields, *[-1] * 7])


def test_a_job_is_when_it_came_what_it_had_and_what_it_asked_for():
    trace = read([*HEADER, job(5, 600, 4, 8, 3600)], "t.swf")
    assert trace == ((OtherJob(5.0, 4, 600.0, 3600.0),), 400)


def test_what_is_not_known_is_taken_from_what_is():
    (only,) = read([job(allocated=-1, requested=8)], "t.swf").jobs
    assert only.cores == 8
    assert only.walltime_s == only.runtime_s == 600.0
    assert read(["; MaxNodes: 7 (and one spare)", job()], "t.swf").cores == 7


def test_jobs_that_never_ran_are_no_load():
    assert len(read([job(run=-1, status=5), job(run=0), job(allocated=0), job()], "t").jobs) == 1


def test_jobs_come_in_the_order_of_their_submission():
    assert [j.submit_s for j in read([job(9), job(3)], "t").jobs] == [3.0, 9.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3", "t.swf, line 6: a job has 18 fields, here are 3"),
        (job().replace("600", "soon"), "t.swf, line 6: could not convert string to float: 'soon'"),
        (job(submit=-5), "t.swf, line 6: the submit time is -5; it has to be 0 or more"),
    ],
)
def test_a_bad_line_is_named(line, message):
    with pytest.raises(InputError, match=message):
        read([*HEADER, line], "t.swf")


def test_a_file_without_a_job_is_refused():
    with pytest.raises(InputError, match="no job in it that ran"):
        read(HEADER, "t.swf")


def test_a_trace_is_scaled_to_another_machine_and_may_begin_in_its_middle():
    trace = read([*HEADER, job(0, 600, 40), job(0, 6000, 400), job(2000, 60, 1)], "t.swf")
    assert scaled(trace, 100, from_s=1000) == (
        OtherJob(0.0, 100, 6000.0, 6000.0),
        OtherJob(1000.0, 1, 60.0, 60.0),
    )
