"""Jobs of an interrupted run are adopted, replaced or submitted; owners of runs."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import (
    CHANGED,
    INCOMPLETE,
    NOT_SUBMITTED,
    REMOVED,
    UNREPORTED,
    Adopt,
    Entry,
    Replace,
    Submit,
    decide,
    leftover,
    settled,
)
from snakemake_executor_plugin_osgpilot.journal.holder import LEASE_S, RunOwner, is_alive
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape

ENTRY = Entry("1", "who", "how", "map", JobClass(Shape(1, 500)))


def submit(job_id, key="1"):
    return job_id, Event(EventKind.SUBMIT, 1.0, key=key)


def end(job_id, kind=EventKind.TERMINATED):
    return job_id, Event(kind, 2.0, exit_status=0)


def kept(found, events, entry=ENTRY):
    return {e.key: e.job_id for e in leftover([entry], found, events).entries.values()}


def test_queued_job_with_lost_answer_is_kept():
    assert kept({"1": "5.0"}, []) == {"1": "5.0"}


def test_job_that_ended_in_the_log_is_kept():
    assert kept({}, [submit("5.0"), end("5.0")]) == {"1": "5.0"}


def test_job_that_ended_is_kept_by_its_journaled_id():
    assert kept({}, [end("5.0")], replace(ENTRY, job_id="5.0")) == {"1": "5.0"}


def test_job_in_neither_queue_nor_log_was_never_submitted():
    assert kept({}, []) == {}
    assert kept({}, [], replace(ENTRY, job_id="5.0")) == {}


def test_started_job_missing_from_the_queue_is_lost():
    assert kept({}, [submit("5.0"), ("5.0", Event(EventKind.EXECUTE, 1.5))]) == {}


def test_removed_job_is_not_kept():
    assert kept({}, [submit("5.0"), end("5.0", EventKind.ABORTED)]) == {}


def test_latest_of_two_submissions_counts():
    events = [submit("5.0"), end("5.0", EventKind.ABORTED), submit("6.0"), end("6.0")]
    assert kept({}, events) == {"1": "6.0"}
    assert kept({"1": "6.0"}, events[:3]) == {"1": "6.0"}


def test_each_job_not_kept_has_a_reason():
    removed, unreported, unsent = (
        replace(ENTRY, key=key, identity=f"who{key}", job_id=job_id)
        for key, job_id in (("1", "5.0"), ("2", "5.1"), ("3", ""))
    )
    found = leftover([removed, unreported, unsent], {}, [end("5.0", EventKind.ABORTED)])
    assert found.gone == {"who1": REMOVED, "who2": UNREPORTED, "who3": NOT_SUBMITTED}
    assert decide(None, "how", complete=False, ended=False, gone=UNREPORTED) == Submit(UNREPORTED)


def test_job_kept_under_another_key_is_not_gone():
    later = replace(ENTRY, key="2")
    assert leftover([ENTRY, later], {"2": "6.0"}, []).gone == {}


def test_unused_jobs_in_the_queue_are_orphans():
    assert leftover([ENTRY], {"1": "5.0", "2": "5.1"}, []).orphans == ("5.1",)


def test_a_bundle_with_a_job_that_is_awaited_is_no_orphan():
    awaited = replace(ENTRY, key="2", job_id="5.0/1")
    found = {"1": "5.0/0", "2": "5.0/1", "3": "5.1/0", "4": "5.1/1", "5": "6.0"}
    assert settled([awaited], found) == ["5.1/0", "5.1/1", "6.0"]
    left = leftover([awaited], {key: found[key] for key in "12"}, [])
    assert left.orphans == ()
    assert [entry.key for entry in left.entries.values()] == ["2"]


def test_later_of_two_entries_is_kept_the_other_is_orphaned():
    found = leftover([ENTRY, replace(ENTRY, key="2")], {"1": "5.0", "2": "6.0"}, [])
    assert [entry.key for entry in found.entries.values()] == ["2"]
    assert found.orphans == ("5.0",)


@pytest.mark.parametrize(
    ("entry", "digest", "complete", "ended", "verdict"),
    [
        (None, "how", False, False, Submit()),
        (ENTRY, "how", True, False, Adopt("1")),
        (ENTRY, "how", True, True, Adopt("1")),
        (ENTRY, "other", True, False, Replace("1", CHANGED)),
        (ENTRY, "other", True, True, Submit(CHANGED)),
        (ENTRY, "how", False, False, Replace("1", INCOMPLETE)),
    ],
)
def test_only_an_unchanged_job_is_adopted(entry, digest, complete, ended, verdict):
    assert decide(entry, digest, complete=complete, ended=ended) == verdict


HERE = RunOwner("login1", "boot-a", "pids-a", 10, "500", 0.0)


@pytest.mark.parametrize(
    ("holder", "started", "lease_age_s", "alive"),
    [
        (HERE, "500", 1e9, True),
        (HERE, "", 0.0, False),
        (HERE, "777", 0.0, False),
        (replace(HERE, boot="boot-b"), "500", 0.0, False),
        (replace(HERE, host="login2", boot="boot-b"), "", LEASE_S / 2, True),
        (replace(HERE, host="login2", boot="boot-b"), "500", LEASE_S * 2, False),
        (replace(HERE, space="pids-b"), "", LEASE_S / 2, True),
        (replace(HERE, boot=""), "500", LEASE_S * 2, False),
        (replace(HERE, host="login2"), "", None, True),
        (HERE, "777", None, False),
    ],
)
def test_owner_lives_as_long_as_its_process_or_lease(holder, started, lease_age_s, alive):
    assert is_alive(holder, HERE, started, lease_age_s) is alive


def test_machines_without_a_machine_id_are_distinct():
    there, here = replace(HERE, host="localhost", boot="b"), replace(HERE, host="localhost")
    assert is_alive(there, here, "", 0.0)
