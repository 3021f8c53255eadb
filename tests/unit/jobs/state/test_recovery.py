"""What becomes of a job of a run that was cut short, and who may take the run up."""

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
)
from snakemake_executor_plugin_osgpilot.journal.holder import LEASE_S, RunOwner, is_alive
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape

ENTRY = Entry("1", "who", "how", "map", JobClass(Shape(1, 500)))


def submit(job_id, key="1"):
    return job_id, Event(EventKind.SUBMIT, 1.0, key=key)


def end(job_id, kind=EventKind.TERMINATED):
    return job_id, Event(kind, 2.0, exit_status=0)


def kept(found, told, entry=ENTRY):
    return {e.key: e.job_id for e in leftover([entry], found, told).entries.values()}


def test_a_job_in_the_queue_is_kept_though_the_answer_was_lost():
    assert kept({"1": "5.0"}, []) == {"1": "5.0"}


def test_a_job_that_ended_meanwhile_is_kept_by_what_the_log_tells():
    assert kept({}, [submit("5.0"), end("5.0")]) == {"1": "5.0"}


def test_a_job_that_ended_is_kept_by_the_journal_where_the_log_has_no_keys():
    assert kept({}, [end("5.0")], replace(ENTRY, job_id="5.0")) == {"1": "5.0"}


def test_what_neither_queue_nor_log_knows_was_never_submitted():
    assert kept({}, []) == {}
    assert kept({}, [], replace(ENTRY, job_id="5.0")) == {}


def test_a_job_that_was_started_but_is_not_in_the_queue_is_lost():
    assert kept({}, [submit("5.0"), ("5.0", Event(EventKind.EXECUTE, 1.5))]) == {}


def test_a_job_that_was_removed_is_not_kept():
    assert kept({}, [submit("5.0"), end("5.0", EventKind.ABORTED)]) == {}


def test_of_a_job_that_was_submitted_twice_the_latest_counts():
    told = [submit("5.0"), end("5.0", EventKind.ABORTED), submit("6.0"), end("6.0")]
    assert kept({}, told) == {"1": "6.0"}
    assert kept({"1": "6.0"}, told[:3]) == {"1": "6.0"}


def test_of_each_job_that_is_not_kept_the_reason_is_known():
    removed, unreported, unsent = (
        replace(ENTRY, key=key, identity=f"who{key}", job_id=job_id)
        for key, job_id in (("1", "5.0"), ("2", "5.1"), ("3", ""))
    )
    found = leftover([removed, unreported, unsent], {}, [end("5.0", EventKind.ABORTED)])
    assert found.gone == {"who1": REMOVED, "who2": UNREPORTED, "who3": NOT_SUBMITTED}
    assert decide(None, "how", complete=False, ended=False, gone=UNREPORTED) == Submit(UNREPORTED)


def test_a_job_that_is_kept_under_another_key_is_not_gone():
    later = replace(ENTRY, key="2")
    assert leftover([ENTRY, later], {"2": "6.0"}, []).gone == {}


def test_jobs_in_the_queue_that_nobody_needs_are_strays():
    assert leftover([ENTRY], {"1": "5.0", "2": "5.1"}, []).orphans == ("5.1",)


def test_of_two_entries_for_one_job_the_later_is_kept_and_the_other_a_stray():
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
def test_a_job_is_used_only_if_it_is_the_same(entry, digest, complete, ended, verdict):
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
def test_a_holder_lives_as_its_process_does_or_elsewhere_as_its_lease(
    holder, started, lease_age_s, alive
):
    assert is_alive(holder, HERE, started, lease_age_s) is alive


def test_machines_without_a_name_of_their_own_are_not_taken_for_one():
    there, here = replace(HERE, host="localhost", boot="b"), replace(HERE, host="localhost")
    assert is_alive(there, here, "", 0.0)
