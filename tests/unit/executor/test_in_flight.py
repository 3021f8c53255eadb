"""Jobs that are handed over again while they run."""

from snakemake_executor_plugin_osgpilot.executor.in_flight import InFlight


class Group:
    """A group of jobs, equal to itself only."""

    name = "group_1"


def group():
    return Group()


def test_a_job_handed_over_again_ends_with_the_first(logged):
    jobs, again = InFlight(), [group() for _ in range(56)]
    assert not jobs.is_again(["a", "b"], group())
    jobs.begins(["a", "b"], "000001", group())
    assert all(jobs.is_again(["a", "b"], each) for each in again)
    assert jobs.ends("000001") == again
    (warning,) = logged.warnings
    assert "hands over group_1 again while its job 000001 waits or runs" in warning


def test_a_job_equal_to_the_first_is_left_to_snakemake():
    jobs, first = InFlight(), group()
    jobs.begins(["a"], "000001", first)
    assert jobs.is_again(["a"], first)
    assert jobs.ends("000001") == []


def test_a_part_of_a_group_ends_with_the_group():
    jobs, part = InFlight(), group()
    jobs.begins(["a", "b", "c"], "000001", group())
    assert jobs.is_again(["b"], part)
    assert jobs.ends("000001") == [part]


def test_what_is_in_several_jobs_ends_with_the_last():
    jobs, whole = InFlight(), group()
    jobs.begins(["a"], "000001", group())
    jobs.begins(["b"], "000002", group())
    assert jobs.is_again(["a", "b"], whole)
    assert jobs.ends("000001") == []
    assert jobs.ends("000002") == [whole]


def test_what_is_handed_over_after_the_end_is_a_retry():
    jobs = InFlight()
    jobs.begins(["a"], "000001", group())
    assert jobs.ends("000001") == []
    assert not jobs.is_again(["a"], group())
    jobs.begins(["a"], "000002", group())
    assert jobs.is_again(["a"], group())


def test_jobs_with_an_output_of_their_own_or_without_any_are_submitted():
    jobs = InFlight()
    jobs.begins(["a"], "000001", group())
    jobs.begins([], "000002", group())
    assert not jobs.is_again(["a", "b"], group())
    assert not jobs.is_again([], group())
    assert jobs.ends("000003") == []
