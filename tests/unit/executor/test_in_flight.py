"""Jobs that are handed over again while they run."""

from types import SimpleNamespace

from snakemake_executor_plugin_osgpilot.executor.in_flight import InFlight


def info():
    return SimpleNamespace(job=SimpleNamespace(name="group_1"), external_jobid=None)


def test_a_job_handed_over_again_ends_with_the_first(logged):
    jobs, again = InFlight(), [info() for _ in range(56)]
    assert not jobs.is_again(["a", "b"], info())
    jobs.begins(["a", "b"], "000001")
    assert all(jobs.is_again(["a", "b"], each) for each in again)
    assert {each.external_jobid for each in again} == {"000001"}
    assert jobs.ends("000001") == [(each, "") for each in again]
    (warning,) = logged.warnings
    assert "hands over group_1 again while its job 000001 waits or runs" in warning


def test_a_part_of_a_group_ends_with_the_group():
    jobs, part = InFlight(), info()
    jobs.begins(["a", "b", "c"], "000001")
    assert jobs.is_again(["b"], part)
    assert jobs.ends("000001", "exit status 1") == [(part, "exit status 1")]


def test_what_is_in_several_jobs_ends_with_the_last_and_fails_with_any():
    jobs, whole = InFlight(), info()
    jobs.begins(["a"], "000001")
    jobs.begins(["b"], "000002")
    assert jobs.is_again(["a", "b"], whole)
    assert jobs.ends("000001", "exit status 1") == []
    assert jobs.ends("000002") == [(whole, "exit status 1")]


def test_what_is_handed_over_after_the_end_is_a_retry():
    jobs = InFlight()
    jobs.begins(["a"], "000001")
    assert jobs.ends("000001") == []
    assert not jobs.is_again(["a"], info())
    jobs.begins(["a"], "000002")
    assert jobs.is_again(["a"], info())


def test_jobs_with_an_output_of_their_own_or_without_any_are_submitted():
    jobs = InFlight()
    jobs.begins(["a"], "000001")
    jobs.begins([], "000002")
    assert not jobs.is_again(["a", "b"], info())
    assert not jobs.is_again([], info())
    assert jobs.ends("000003") == []
