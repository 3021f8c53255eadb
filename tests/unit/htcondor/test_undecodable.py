"""Text that is not UTF-8, and damaged files, affect nothing else."""

import json
from contextlib import closing
from types import SimpleNamespace

import classad2
import pytest

from snakemake_executor_plugin_osgpilot.htcondor import remote_operations as far
from snakemake_executor_plugin_osgpilot.htcondor import worker
from snakemake_executor_plugin_osgpilot.htcondor.event_log import EventLog
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.journal.run_folder import (
    RECORD,
    RECORD_VERSION,
    core_s_seen,
    samples_seen,
)
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.resources import Request
from snakemake_executor_plugin_osgpilot.staging.job_identity import label
from unit.journal.test_journal import CLASS, SEAT

EVENTS = b"""\
000 (077.000.000) 2026-01-02 03:04:05 Job submitted from host: <10.0.0.1:9618>
...
012 (077.000.000) 2026-01-02 03:05:05 Job was held.
\tcannot write out/\xff\xfe\x1b]52;c;eA==\x07
\tCode 12 Subcode 0
...
013 (078.000.000) 2026-01-02 03:06:05 Job was released.
\tvia condor_release
...
"""


def test_undecodable_event_is_skipped_and_counts_as_missed(tmp_path):
    path = tmp_path / "jobs.log"
    path.write_bytes(EVENTS)
    with closing(EventLog(path)) as log:
        found = log.read()
        assert [(job, event.kind) for job, event in found] == [
            ("77.0", EventKind.SUBMIT),
            ("78.0", EventKind.RELEASED),
        ]
        assert log.take_missed(), "the held job would be unknown for a minute"
        assert not log.take_missed()


def ad(reason):
    return classad2.ClassAd(
        f'[ClusterId = 1; ProcId = 0; JobStatus = 5; HoldReason = "{reason}"; HoldReasonCode = 12]'
    )


class Schedd:
    def query(self, **_):
        good = ad("no disk")
        good["ProcId"] = 1
        return [ad(r"no \377 file"), good]


def test_undecodable_hold_reason_does_not_hide_other_jobs(monkeypatch):
    rows = far.look(Schedd(), "true", ("JobStatus", "HoldReason", "Missing"))
    assert rows["1.1"] == {"JobStatus": 5, "HoldReason": "no disk"}
    assert rows["1.0"] == {"JobStatus": 5, "HoldReason": r'"no \377 file"'}
    monkeypatch.setattr(worker, "_schedd", lambda *_: Schedd())
    held = worker.OPERATIONS["held"](None, {"constraint": "true"})
    assert [held[job]["text"] for job in ("1.0", "1.1")] == [r'"no \377 file"', "no disk"]


def test_journal_accepts_any_name(tmp_path):
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path, SEAT)) as journal:
        for key, rule in (("1", "map\udcff"), ("2", "sort")):
            journal.note(Job(key, rule, Request(CLASS)), f"identity-{key}", "digest")
        journal.intend(["1", "2"])
    with closing(Journal(path)) as journal:
        assert [entry.rule for entry in journal.entries()] == ["map\\udcff", "sort"]


def test_long_label_accepts_any_wildcard():
    job = SimpleNamespace(wildcards_dict={"name": "x\udcff" * 300}, is_group=lambda: False)
    assert label(job).startswith("name=x\udcff")


@pytest.mark.parametrize(
    "damaged",
    [
        "[]",
        "[" * 100_000,
        "\x00" * 50,
        json.dumps({"version": RECORD_VERSION}),
        json.dumps({"version": RECORD_VERSION, "rules": []}),
        json.dumps({"version": RECORD_VERSION, "rules": {"map": None}}),
        json.dumps(
            {"version": RECORD_VERSION, "rules": {"map": {"done": 1, "failed": -1, "core_h": 1}}}
        ),
        json.dumps({"version": RECORD_VERSION, "samples": {"map": [[1, 2, 3]]}}),
        json.dumps({"version": RECORD_VERSION, "samples": [5]}),
    ],
)
def test_damaged_record_of_an_earlier_run_is_ignored(tmp_path, damaged):
    folder = tmp_path / ".snakemake/osgpilot/r1"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(damaged)
    assert core_s_seen(tmp_path) == samples_seen(tmp_path) == {}
