"""What is made of two looks at a job in a queue elsewhere."""

from snakemake_executor_plugin_osgpilot.core.polling import Sight, Status, derive

MATCHED = Sight(Status.RUNNING, 100.0, 50.0, 90.0, starts=1)


def failed_starts(now: Sight) -> int:
    return sum(event.failed_start for event in derive(MATCHED, now))


def test_an_attempt_that_failed_for_a_reason_counts_as_a_failed_start():
    now = Sight(Status.IDLE, 120.0, 50.0, 110.0, starts=1, text="cannot make the container")
    assert failed_starts(now) == 1


def test_an_attempt_that_ended_without_a_word_is_no_failed_start():
    """The access point was restarted: nothing is wrong with jobs or pilots."""
    assert failed_starts(Sight(Status.IDLE, 120.0, 50.0, 110.0, starts=1)) == 0
    assert failed_starts(Sight(Status.RUNNING, 120.0, 50.0, 110.0, starts=2)) == 0
