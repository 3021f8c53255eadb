"""The history of a run, as written and as read."""

import io
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from doubles import SEAT, HandClock
from rich.console import Console

from snakemake_executor_plugin_osgpilot.common.redact import MASK, Redactor
from snakemake_executor_plugin_osgpilot.htcondor.event_log import EventLog
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind, Usage
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, SharedFile
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.model.resources import Request
from snakemake_executor_plugin_osgpilot.monitoring import history_file as history
from snakemake_executor_plugin_osgpilot.monitoring import records as lines
from snakemake_executor_plugin_osgpilot.monitoring.history_file import (
    HISTORY,
    History,
    HistoryFullError,
    read,
)
from snakemake_executor_plugin_osgpilot.monitoring.line_check import is_whole
from snakemake_executor_plugin_osgpilot.monitoring.recorder import NUMBERS_EVERY_S, HistoryRecorder
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from snakemake_executor_plugin_osgpilot.report.replay import fold
from snakemake_executor_plugin_osgpilot.report.summary import view
from snakemake_executor_plugin_osgpilot.report.terminal import screen
from snakemake_executor_plugin_osgpilot.run.controller import RunController
from unit.run.test_controller import SMALL, World


class RecordedWorld(World):
    """A controller whose run is written down."""

    def __init__(self, folder):
        super().__init__(folder)
        self.path = self.folder.path / HISTORY
        self.history = History(self.path)
        self.recorder = HistoryRecorder(
            self.history, self.queue, self.fleet, self.scaling, self.clock
        )
        self.recorder.begin(SEAT, self.scaling.policy, Place("here"))
        self.controller._recorder = self.recorder

    def add(self, *keys, job_class=SMALL, image="", shared=()):
        jobs = [Job(key, "map", Request(job_class, image), shared=shared) for key in keys]
        self.recorder.handed_over(lines.HandedOver(job, f"n={job.key}") for job in jobs)
        self.queue.add(jobs)

    def lines(self):
        return read(self.path)[0]

    @property
    def replayed(self):
        return fold(self.lines())


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.run.controller.REMOVAL_PAUSE_S", 0)
    return RecordedWorld(tmp_path)


USAGE = Usage(25.5, 300, 7, 12.5, 2048.0)


def test_history_has_each_state_and_usage_of_a_job(recorded):
    recorded.add("a")
    recorded.tick()
    assert recorded.replayed.jobs["a"].state == "waiting"
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", slot="slot1_1", allocation_id="7")
    recorded.tick()
    assert recorded.replayed.jobs["a"].state == "running"
    recorded.ap.tell("a", EventKind.TERMINATED, 1060, exit_status=0, usage=USAGE)
    recorded.tick()
    job = recorded.replayed.jobs["a"]
    assert (job.state, job.label, job.job_id, job.usage) == ("done", "n=a", "1.0", USAGE)
    assert [(a.pilot, a.slot, a.started_s, a.stopped_s, a.how) for a in job.attempts] == [
        ("p", "slot1_1", 1030, 1060, "done")
    ]


def test_the_memory_that_a_rule_names_is_kept_beside_the_request(tmp_path):
    named = [None, 500, 500, 60]
    jobs = [Job(f"{number}", "map", Request(SMALL)) for number in range(len(named))]
    handed = (lines.HandedOver(*each) for each in zip(jobs, "abcd", [()] * 4, named, strict=True))
    replayed = fold(lines.queued(handed, 1.0))
    assert [replayed.jobs[job.key].rule_memory_mb for job in jobs] == named


def test_each_failed_start_is_recorded_with_its_reason(recorded):
    recorded.add("a")
    recorded.tick()
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", allocation_id="7")
    recorded.ap.tell("a", EventKind.EVICTED, 1040, text="preempted")
    recorded.ap.tell("a", EventKind.EXECUTE, 1050, pilot="q", allocation_id="8")
    recorded.tick()
    job = recorded.replayed.jobs["a"]
    assert [(a.pilot, a.how) for a in job.attempts] == [("p", "interrupted"), ("q", "running")]
    assert job.text == "preempted"


def test_pilot_is_recorded_with_times_of_its_states(recorded):
    recorded.add("a")
    recorded.tick()
    recorded.slurm.show(Seen.QUEUED, reason="Priority")
    recorded.tick()
    (pilot,) = recorded.replayed.pilots.values()
    assert (pilot.allocation, pilot.state, pilot.pending_reason) == ("1", "pending", "Priority")
    recorded.slurm.show(Seen.RUNNING, started_s=recorded.clock.at_s, node="c1")
    recorded.tick()
    recorded.controller.close()
    recorded.recorder.end(detached=False)
    (pilot,) = recorded.replayed.pilots.values()
    assert list(pilot.moves) == ["pending", "booting", "cancelled"]
    assert pilot.node == "c1"
    assert recorded.replayed.is_over


def test_the_error_that_stopped_a_run_is_recorded_without_secrets(recorded):
    recorded.recorder.redact = Redactor(["hunter2-hunter2"])
    recorded.recorder.end(detached=False, error="no image hunter2-hunter2")
    assert recorded.replayed.error.startswith("no image ")
    assert "hunter2" not in recorded.replayed.error


def test_plans_are_recorded_on_decisions_and_periodically(recorded):
    recorded.add("a")
    recorded.tick()
    recorded.tick()
    plans = [line for line in recorded.lines() if line["kind"] == "plan"]
    assert [[a["action"] for a in plan["actions"]] for plan in plans] == [["launch"], []]
    assert plans[0]["demand"] == [{**lines.asked(SMALL), "jobs": 1}]
    recorded.tick()
    assert len([line for line in recorded.lines() if line["kind"] == "plan"]) == 2
    recorded.tick(after_s=NUMBERS_EVERY_S)
    assert len([line for line in recorded.lines() if line["kind"] == "plan"]) == 3


def test_repeated_lines_change_nothing(recorded):
    recorded.add("a", "b")
    recorded.tick()
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", allocation_id="7")
    recorded.ap.tell("b", EventKind.HELD, 1030, text="no disk")
    recorded.ap.tell("a", EventKind.TERMINATED, 1060, exit_status=0)
    recorded.tick()
    once, twice = fold(recorded.lines()), fold(recorded.lines() * 2)
    for key, job in once.jobs.items():
        assert (job.state, job.since_s) == (twice.jobs[key].state, twice.jobs[key].since_s)
        assert len(job.attempts) == len(twice.jobs[key].attempts)


def test_unknown_and_damaged_lines_are_skipped(tmp_path):
    path = tmp_path / HISTORY
    path.write_bytes(
        b'{"kind":"dream"}\n{"kind":"queued"}\n\xff\n[]\n{"kind":"life","at_s":5}\nhalf'
    )
    found, offset = read(path)
    assert fold(found).lives == 1
    assert offset == path.stat().st_size - len("half")


def test_reader_continues_at_its_offset(tmp_path):
    path = tmp_path / HISTORY
    written = History(path)
    written.put([{"kind": "life", "at_s": 1}])
    written.flush()
    first, offset = read(path)
    written.put([{"kind": "end", "at_s": 2}])
    written.close()
    assert [line["kind"] for line in first + read(path, offset)[0]] == ["life", "end"]


def test_partial_line_after_kill_hides_only_itself(tmp_path):
    path = tmp_path / HISTORY
    path.write_bytes(b'{"kind":"life","at_s":1}\n{"kind":"pla')
    written = History(path)
    written.put([{"kind": "end", "at_s": 2}])
    written.close()
    assert [line["kind"] for line in read(path)[0]] == ["life", "end"]


def test_lines_are_written_after_disk_was_full(tmp_path, monkeypatch):
    written = History(tmp_path / HISTORY)
    written.put([{"kind": "life", "at_s": 1}])
    real = history.os.write

    def half(file, content):
        real(file, content[:5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(history.os, "write", half)
        with pytest.raises(OSError, match="No space"):
            written.flush()
    written.close()
    assert [line["kind"] for line in read(tmp_path / HISTORY)[0]] == ["life"]


def test_history_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "SIZE_MAX", 1000)
    written = History(tmp_path / HISTORY)
    for number in range(100):
        written.put([{"kind": "woken", "at_s": number, "jobs": []}])
        with suppress(HistoryFullError):
            written.flush()
    with pytest.raises(HistoryFullError):
        written.close()
    assert (tmp_path / HISTORY).stat().st_size < 1100


def test_full_history_is_logged_once_and_shown_by_readers(recorded, monkeypatch, logged):
    recorded.add("a", "b")
    recorded.tick()
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", allocation_id="7")
    recorded.tick()
    monkeypatch.setattr(history, "SIZE_MAX", 10)
    for at_s in (1040, 1050, 1060):
        recorded.ap.tell("b", EventKind.EXECUTE, at_s, pilot="p", allocation_id="7")
        recorded.tick()
    (said,) = [text for text in logged.warnings if "limit" in text]
    assert "has reached its limit of 0 MB" in said
    assert "`explain` and `report` show the run up to now" in said
    assert "the run itself continues" in said
    assert not any("could write the history" in text for text in logged.info)
    recorded.recorder.end(detached=False)
    replayed = recorded.replayed
    assert (replayed.is_full, replayed.is_over) == (True, True)
    assert replayed.jobs["a"].state == "running", "its exit status is unknown"
    assert replayed.jobs["b"].state == "waiting"
    console = Console(file=io.StringIO())
    console.print(screen(view(replayed, replayed.last_s, alive=False)))
    assert "the history of this run has reached its limit" in console.file.getvalue()


def test_name_that_is_not_utf_8_is_recorded(recorded, logged):
    recorded.add("a")
    recorded.tick()
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p\udcff", allocation_id="7")
    recorded.tick()
    assert recorded.replayed.jobs["a"].state == "running"
    recorded.recorder.failed("a", "out/\udcff is a link to \ud800\x1b")
    recorded.clock.sleep(30)
    recorded.tick()
    assert logged.warnings == []
    assert recorded.replayed.failures["a"].text == "out/\udcff is a link to \ud800\x1b"
    assert recorded.replayed.jobs["a"].state == "failed"
    assert recorded.path.read_bytes().isascii()


def test_line_that_cannot_be_encoded_does_not_block_others(tmp_path):
    written = History(tmp_path / HISTORY)
    loop = {"kind": "plan"}
    loop["self"] = loop
    written.put([{"kind": "life", "at_s": 1}, loop, {"kind": "spent", "jobs": {(1, 2): 3}}])
    written.put([{"kind": "end", "at_s": 2}])
    written.close()
    kinds = [line["kind"] for line in read(tmp_path / HISTORY)[0]]
    assert kinds == ["life", "damaged", "damaged", "end"]


def test_written_lines_pass_the_line_check(recorded):
    recorded.add("a", "b")
    recorded.tick()
    recorded.slurm.show(Seen.QUEUED, reason="Priority")
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", allocation_id="7")
    recorded.ap.tell("a", EventKind.EVICTED, 1040, text="preempted")
    recorded.ap.tell("b", EventKind.HELD, 1030, text="no disk")
    recorded.recorder.spent({"a": lines.CommandUsage(1.0, 2.0)})
    recorded.recorder.failed("b", "why")
    recorded.tick()
    recorded.recorder.end(detached=True)
    written = recorded.lines()
    kinds = {line["kind"] for line in written}
    assert kinds >= {"life", "queued", "sent", "started", "waiting", "held", "pilot", "plan"}
    assert [line for line in written if not is_whole(line)] == []


@pytest.mark.parametrize("wrong", [[2, 10.0, "1.2"], ["2", float("nan"), "1.2"], ["2", 1e12, "1"]])
def test_an_entry_is_checked_although_others_like_it_were_whole(wrong):
    assert is_whole({"kind": "sent", "jobs": [["1", 10.0, "1.1"], ["3", 11, "1.3"]]})
    assert not is_whole({"kind": "sent", "jobs": [["1", 10.0, "1.1"], wrong]})


def test_hold_reason_is_recorded_without_secrets(recorded):
    recorded.recorder.redact = Redactor(["hunter2hunter2"])
    recorded.add("a")
    recorded.tick()
    recorded.ap.tell("a", EventKind.HELD, 1030, code=1, text="of hunter2hunter2 by me")
    recorded.tick()
    assert recorded.replayed.jobs["a"].text == f"of {MASK} by me"


def test_history_is_private(tmp_path):
    written = History(tmp_path / HISTORY)
    written.put([{"kind": "life", "at_s": 1}])
    written.close()
    assert (tmp_path / HISTORY).stat().st_mode & 0o077 == 0


def test_failure_is_recorded_without_secrets(recorded):
    recorded.add("a")
    recorded.recorder.redact = Redactor(["hunter2hunter2"])
    recorded.recorder.failed("a", "login with hunter2hunter2 failed")
    recorded.history.flush()
    assert recorded.replayed.failures["a"].text == f"login with {MASK} failed"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef0123456789", f"Authorization: Bearer {MASK}"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln in use", f"{MASK} in use"),
        ("https://me:pass@host/x", f"https://{MASK}@host/x"),
        ("export AWS_SECRET_ACCESS_KEY=abc/def+123", f"export AWS_SECRET_ACCESS_KEY={MASK}"),
        ("db_password: 'open sesame'", f"db_password: '{MASK} sesame'"),
        ("token = AKIAABCDEFGHIJKLMNOP", f"token = {MASK}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nx", f"{MASK}\nx"),
        ("tokens: 17 sequences mapped at 10:30", None),
    ],
)
def test_only_texts_that_look_like_secrets_are_masked(text, shown):
    assert Redactor()(text) == (shown or text)


def test_a_hundred_thousand_jobs_take_tens_of_megabytes(tmp_path):
    clock, count = HandClock(), 5000
    jobs = [Job(f"{n:06}", "map_reads", Request(SMALL)) for n in range(count)]
    written = History(tmp_path / HISTORY)
    written.put(
        lines.queued((lines.HandedOver(job, f"sample=S{job.key}") for job in jobs), clock.at_s)
    )
    for job in jobs:
        run = replace(job, job_id="12345.67", pilot="osgpilot-20260102-030405-abcdef-17")
        for state in ("WAITING", "RUNNING", "ENDED"):
            moved = replace(
                run, state=type(job.state)[state], slot="slot1_12", allocation_id="1234567",
                node="node-1234", since_s=1790000000.5, exit_status=0,
            )  # fmt: skip
            written.put(lines.moved([moved], clock.at_s))
    written.close()
    assert (tmp_path / HISTORY).stat().st_size / count * 100_000 < 50e6


def test_event_log_has_usage_of_a_job(tmp_path, request):
    log = tmp_path / "log"
    log.write_bytes((request.path.parents[1] / "htcondor/event_log.txt").read_bytes())
    recorded = dict(
        event for event in EventLog(log).read() if event[1].kind is EventKind.TERMINATED
    )
    assert recorded["12.0"].usage == Usage(0.0, 5, 1, 1592 / 1024, 27 / 1024)


SENT = """047 (012.-1000.000) 2026-01-02 03:04:09 Common files event: TransferStarted
	Started transferring common files
...
047 (012.-1000.000) 2026-01-02 03:04:12 Common files event: TransferFinished
	Finished transferring common files
...
047 (012.-1001.000) 2026-01-02 03:04:12 Common files event: TransferFinished
	Finished transferring common files
...
"""


def test_event_log_has_each_arrival_of_an_image(tmp_path):
    (tmp_path / "log").write_text(SENT)
    for _ in range(2):
        found = EventLog(tmp_path / "log").read()
        assert [(job_id, event.kind) for job_id, event in found] == [
            ("12.-1", EventKind.IMAGE_SENT), ("12.-2", EventKind.IMAGE_SENT),
        ]  # fmt: skip


def test_history_has_the_transfers_of_shared_inputs_by_turns(recorded, tmp_path):
    image = tmp_path / "a.sif"
    image.write_bytes(bytes(2048))
    shared = (SharedFile("x", 10), SharedFile("y", 20))
    recorded.add("a", image=str(image), shared=shared)
    recorded.tick()
    for number in range(1, 7):
        recorded.ap.unread.append((f"1.-{number}", Event(EventKind.IMAGE_SENT, 1030)))
    recorded.tick()
    assert list(recorded.replayed.images.values()) == [2048, 2048]
    assert list(recorded.replayed.shared.values()) == [10, 20, 10, 20]


def test_history_has_the_transfers_of_an_image_once(recorded, tmp_path):
    image = tmp_path / "a.sif"
    image.write_bytes(bytes(2048))
    recorded.add("a", image=str(image))
    recorded.tick()
    # a line may be read twice, and two pilots may get it within a second
    for process, at_s in (("1.-1", 1030), ("1.-1", 1040), ("1.-1", 1040), ("1.-2", 1040)):
        recorded.ap.unread.append((process, Event(EventKind.IMAGE_SENT, at_s)))
    # of no job of this run
    recorded.ap.unread.append(("99.-1", Event(EventKind.IMAGE_SENT, 1040)))
    recorded.tick()
    assert recorded.replayed.images == dict.fromkeys(
        [("1.-1", 1030), ("1.-1", 1040), ("1.-2", 1040)], 2048
    )


def test_lines_are_plain_json(recorded):
    recorded.add("a")
    recorded.tick()
    assert all(json.loads(line)["kind"] for line in recorded.path.read_text().splitlines())


def test_controller_continues_if_history_cannot_be_written(recorded, monkeypatch, logged):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(history.os, "write", full)
    recorded.add("a")
    recorded.tick()
    assert len(recorded.ap.submissions) == 1
    assert any("history" in text for text in logged.warnings)
    assert isinstance(recorded.controller, RunController)


def test_ends_are_on_disk_before_the_journal_records_them(recorded):
    recorded.add("a", "b")
    recorded.tick()
    recorded.ap.tell("a", EventKind.EXECUTE, 1030, pilot="p", allocation_id="7", node="c1")
    recorded.ap.tell("a", EventKind.TERMINATED, 1040, exit_status=0)
    recorded.queue.follow()
    recorded.recorder.ended(recorded.queue.jobs(["a", "b"]))
    # a kill comes here
    found = fold(read(recorded.path)[0])
    assert {key: job.state for key, job in found.jobs.items()} == {"a": "done", "b": "waiting"}
    assert found.jobs["a"].attempts[0].until_s(0.0) == 1040
    size = recorded.path.stat().st_size
    recorded.clock.sleep(30)
    recorded.tick()
    assert recorded.path.read_text()[size:].count('"ended"') == 0, "an end is recorded once"
