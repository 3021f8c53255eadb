"""Jobs that are handed over again while they run."""

from types import SimpleNamespace

from snakemake_executor_plugin_osgpilot.executor.in_flight import InFlight


def info():
    return SimpleNamespace(job=SimpleNamespace(name="group_1"), external_jobid=None)


def test_a_job_handed_over_again_ends_with_the_first(logged):
    jobs, again = InFlight(), [info() for _ in range(56)]
    assert not jobs.is_again("same", info())
    jobs.begins("same", "000001")
    assert all(jobs.is_again("same", each) for each in again)
    assert {each.external_jobid for each in again} == {"000001"}
    assert jobs.ends("000001") == again
    (warning,) = logged.warnings
    assert "hands over group_1 again while its job 000001 waits or runs" in warning


def test_what_is_handed_over_after_the_end_is_a_retry():
    jobs = InFlight()
    jobs.begins("same", "000001")
    assert jobs.ends("000001") == []
    assert not jobs.is_again("same", info())
    jobs.begins("same", "000002")
    assert jobs.is_again("same", info())


def test_other_jobs_are_submitted():
    jobs = InFlight()
    jobs.begins("one", "000001")
    assert not jobs.is_again("another", info())
    assert jobs.ends("000003") == []
