"""Policy for held jobs: HTCondor's hold codes and the messages for the user."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import (
    FAILED_ATTEMPTS_MAX,
    TRANSFERS_MAX,
    Fail,
    Release,
    Resize,
    Wait,
    decide,
    exhausted,
    history,
)
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

PILOT = Shape(4, 3800, 10_000)
MOST_MB = 3712
ENOENT, ENOSPC, EIO, EDQUOT, ENOTCONN = 2, 28, 5, 122, 107


def job(memory_mb=512, disk_mb=1000, **more):
    return Job("1", "map", Request(JobClass(Shape(1, memory_mb, disk_mb))), **more)


def held(code, subcode=0, *, before=0, of=None):
    """Return a job that was held for this reason, and `before` that as often for the same."""
    found = replace(of or job(), allocation_id="7", node="n1")
    for _ in range(before + 1):
        found = found.with_failed_attempt("the reason", code, subcode)
    return found


@pytest.mark.parametrize("code", [21, 34])
def test_job_over_its_memory_requests_twice_as_much(code):
    action = decide(held(code, 102), PILOT)
    assert isinstance(action, Resize)
    assert action.shape == Shape(1, 1024, 1000)
    assert action.why == "exceeded 512 MB of memory; requesting 1024 MB"


def test_start_that_failed_on_a_dying_pilot_is_retried():
    assert isinstance(decide(held(6, ENOTCONN), PILOT), Release)
    assert isinstance(decide(held(6, ENOTCONN, before=FAILED_ATTEMPTS_MAX - 1), PILOT), Fail)


def test_new_request_covers_the_measured_usage():
    action = decide(held(34, 102, of=job(used_mb=2000)), PILOT)
    assert action.shape.memory_mb == 2560


def test_memory_request_grows_up_to_the_largest_pilot():
    action = decide(held(34, 102, of=job(memory_mb=3000)), PILOT)
    assert action.shape.memory_mb == MOST_MB


def test_job_that_exceeds_the_largest_pilot_fails():
    action = decide(held(34, 102, of=job(memory_mb=MOST_MB)), PILOT)
    assert isinstance(action, Fail)
    assert "needs more than 3712 MB of memory" in action.why
    assert "give pilots more memory" in action.why


def test_disk_request_grows_up_to_the_largest_pilot():
    assert decide(held(21, 104), PILOT).shape == Shape(1, 512, 2000)
    assert decide(held(34, 104, of=job(disk_mb=6000)), PILOT).shape.disk_mb == PILOT.disk_mb
    assert isinstance(decide(held(34, 104, of=job(disk_mb=10_000)), PILOT), Fail)


@pytest.mark.parametrize("code", [11, 12, 13, 14, 18, 19])
def test_failed_transfers_are_retried_with_backoff_up_to_a_limit(code):
    waits_s = [decide(held(code, EIO, before=n), PILOT).after_s for n in range(TRANSFERS_MAX - 1)]
    assert waits_s == [10, 40, 160, 640]
    assert isinstance(decide(held(code, EIO, before=TRANSFERS_MAX - 1), PILOT), Fail)


@pytest.mark.parametrize(
    ("code", "words"), [(12, "file transfer"), (19, "preparation on the pilot")]
)
def test_a_retry_says_what_had_failed(code, words):
    assert decide(held(code, EIO), PILOT).why.startswith(f"{words} failed; retrying in 10 s: ")
    action = decide(held(code, EIO, before=TRANSFERS_MAX - 1), PILOT)
    assert action.why == f"its {words} failed {TRANSFERS_MAX} times"


@pytest.mark.parametrize(
    ("code", "subcode", "text"),
    [
        (12, ENOSPC, "the disk of the access point is full"),
        (12, EDQUOT, "the disk of the access point is full"),
        (13, ENOENT, "an input could not be read on the access point"),
        (3, 0, "a policy of the job"),
        (6, ENOENT, "/bin/bash"),
        (26, 0, "administrators"),
        (34, 101, "more of a resource than it had asked for"),
        (45, 0, "container image"),
        (46, 0, "longer"),
        (47, 0, "longer"),
        (999, 0, "HTCondor put it on hold"),
    ],
)
def test_permanent_hold_fails_at_once_with_its_reason(code, subcode, text):
    action = decide(held(code, subcode), PILOT)
    assert isinstance(action, Fail)
    assert text in action.why


def test_full_disk_of_a_node_is_retried():
    assert isinstance(decide(held(13, ENOSPC), PILOT), Release)


def test_hold_by_hand_always_stays():
    action = decide(held(1, before=2 * FAILED_ATTEMPTS_MAX), PILOT)
    assert isinstance(action, Wait)
    assert "condor_release" in action.why


def test_spooling_hold_is_left_alone():
    assert decide(held(16), PILOT) == Wait("")


def test_failed_attempts_have_a_limit():
    assert isinstance(decide(held(34, 104, before=FAILED_ATTEMPTS_MAX - 1), PILOT), Fail)
    assert exhausted(held(0, before=FAILED_ATTEMPTS_MAX - 2)) is None
    assert f"{FAILED_ATTEMPTS_MAX} times" in exhausted(held(0, before=FAILED_ATTEMPTS_MAX - 1)).why


def test_history_groups_places_by_reason():
    lost = job(allocation_id="7", node="n1").with_failed_attempt("the pilot was lost")
    again = replace(lost, allocation_id="8", node="").with_failed_attempt("the pilot was lost")
    never = replace(again, allocation_id="", node="").with_failed_attempt("no such image")
    assert history(never.failed_attempts) == (
        "the pilot was lost (in Slurm job 7 on n1, in Slurm job 8); "
        "no such image (before it started)"
    )
