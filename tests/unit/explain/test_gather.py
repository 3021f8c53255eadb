"""Facts that `osgpilot explain` gathers from history, Slurm and the queue."""

import json
import sys

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.explain.gather import Answers, facts
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.model.plan import Refusal
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.report.replay import fold
from snakemake_executor_plugin_osgpilot.slurm import ssh
from unit.slurm.test_ssh import DENIED, FAKE, Network

ROOM = Shape(4, 3800)


CLASS = {"cores": 1, "memory_mb": 512, "disk_mb": 0, "gpus": 0, "runtime_s": 300}


def history(*more):
    shape = ROOM._asdict()
    offers = [{"name": "compute/4c", "shape": shape, "walltimes_s": [3600]}]
    return [
        {
            "kind": "life", "version": 1, "at_s": 1.0, "run": "r1", "owner": "alice",
            "project": "P", "holder": None,
            "policy": {"offers": offers, "life_taken_s": 600, "new_in_a_later_version": 1},
        },
        {"kind": "queued", "at_s": 2.0, "rule": "map", **CLASS,
         "jobs": [["000001", "n=1", "4", "out/1"]]},
        {"kind": "sent", "jobs": [["000001", 3.0, "12.0"]]},
        {
            "kind": "pilot", "name": "osgpilot-r1-1", "shape": shape, "state": "pending",
            "offer": "compute/4c", "walltime_s": 3600, "allocation_id": "7", "asked_s": 4.0,
            "since_s": 4.0, "started_s": None, "ends_s": None, "ended_s": None, "node": "",
            "pending_reason": "None", "failure": "",
        },
        {"kind": "plan", "at_s": 5.0, "actions": [], "unfit": [], "waiting": 1, "running": 0,
         "refusals": [{"count": 1, "rule": "budget", "reason": "the budget is small"}]},
        *more,
    ]  # fmt: skip


def test_facts_combine_history_and_slurms_answer():
    replayed = fold(history())
    rows = {"osgpilot-r1-1": Row("7", "osgpilot-r1-1", Seen.QUEUED, "Priority")}
    known = facts(replayed, Answers(rows), 100.0, alive=True)
    assert known.refusals == (Refusal(1, "budget", "the budget is small"),)
    assert known.policy is not None
    assert known.policy.offers[0].walltimes_s == (3600,)
    (one,) = known.pilots
    assert (one.pending_reason, known.life_s(one)) == ("Priority", 3000)
    assert known.jobs[0].names == ("4", "out/1")


def test_only_an_answer_of_slurm_ends_a_pilot():
    replayed = fold(history())
    assert facts(replayed, Answers({}), 100.0, alive=True).pilots[0].state == "pending"
    rows = {"osgpilot-r1-1": Row("7", "osgpilot-r1-1", Seen.CANCELLED)}
    assert facts(replayed, Answers(rows), 100.0, alive=True).pilots[0].state == "cancelled"


def test_a_dead_run_has_no_refusals():
    assert facts(fold(history()), Answers(), 100.0, alive=False).refusals == ()


def test_the_code_of_a_hold_comes_from_the_queue():
    replayed = fold(history({"kind": "held", "jobs": [["000001", 6.0, "by hand"]]}))
    assert facts(replayed, Answers(), 100.0, alive=True).jobs[0].code == 0
    holds = {"12.0": Event(EventKind.HELD, 6.0, code=1, text="via condor_hold")}
    (one,) = facts(replayed, Answers(holds=holds), 100.0, alive=True).jobs
    assert (one.code, one.text) == (1, "via condor_hold")


def test_explain_reports_services_without_an_answer(tmp_path, monkeypatch):
    folder = tmp_path / ".snakemake" / "osgpilot" / "r1"
    folder.mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in history())
    (folder / "history.jsonl").write_text(text)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    said = CliRunner().invoke(main, ["explain", "--dir", str(tmp_path), "--json", "out/1"])
    assert said.exit_code == 0, said.output
    reported = json.loads(said.stdout)
    assert reported["explanations"][0]["subject"] == "rule map (n=1)"
    assert "as the run last saw it" in reported["unanswered"][0]
    unknown = CliRunner().invoke(main, ["explain", "--dir", str(tmp_path), "nonsense"])
    assert unknown.exit_code == 1
    assert "run r1 has no rule, job or pilot 'nonsense'" in unknown.stderr


SQUEUE = """#!{python}
import sys
row = sys.argv[-1].removeprefix("--format=")
mark = row.partition("+")[0]
told = ["71", "osgpilot-r1-1", "PENDING", "QOSMaxCpuPerUserLimit"]
told += ["N/A", "N/A", "", "4", "/r1/pilots/x"]
print(f"{{mark}}+" + f"{{mark}},".join(told) + f"{{mark}}.")
"""


@pytest.fixture
def far(tmp_path, monkeypatch):
    """Slurm on a host behind SSH; here, a `squeue` that must not be asked."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    texts = {
        "there/squeue": SQUEUE.format(python=sys.executable),
        "here/squeue": f"#!/bin/sh\ntouch {tmp_path}/asked-here\nexit 1\n",
        "here/ssh": FAKE.format(folder=tmp_path),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "breaks").write_text(f"export PATH={tmp_path}/there:/usr/bin:/bin\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/here:/usr/bin:/bin")
    monkeypatch.setattr(ssh, "has_terminal", lambda: False)
    return Network(tmp_path)


def ask_about_a_pilot(workdir):
    folder = workdir / ".snakemake" / "osgpilot" / "r1"
    folder.mkdir(parents=True, exist_ok=True)
    life, *rest = history()
    place = {"host": "laptop", "schedd": "", "collector": "", "ssh": "login", "folder": "/r1"}
    text = "".join(json.dumps(line) + "\n" for line in ({**life, "place": place}, *rest))
    (folder / "history.jsonl").write_text(text)
    said = CliRunner().invoke(main, ["explain", "--dir", str(workdir), "--json", "osgpilot-r1-1"])
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def test_slurm_is_asked_where_the_run_has_its_pilots(far, tmp_path):
    reported = ask_about_a_pilot(tmp_path)
    assert reported["unanswered"] == []
    assert "QOSMaxCpuPerUserLimit" in json.dumps(reported["explanations"])
    assert not (tmp_path / "asked-here").exists()
    assert far.calls("exit"), "the connection is closed"


def test_an_unreachable_slurm_has_no_substitute(far, tmp_path):
    far.denies(DENIED)
    (silent,) = ask_about_a_pilot(tmp_path)["unanswered"]
    assert "login" in silent
    assert silent.endswith("as the run last saw it")
    assert not (tmp_path / "asked-here").exists()


def test_holds_come_from_the_runs_own_access_point(tmp_path):
    """The queue of this host knows nothing of a run whose jobs are at that of another one."""
    folder = tmp_path / ".snakemake" / "osgpilot" / "r1"
    folder.mkdir(parents=True)
    life, queued, sent, *_ = history()
    place = {"host": "another", "schedd": "", "collector": "", "ssh": "", "folder": ""}
    held = {"kind": "held", "jobs": [["000001", 4.0, "why"]]}
    lines = ({**life, "place": place}, queued, sent, held)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = CliRunner().invoke(main, ["explain", "--dir", str(tmp_path), "--json"])
    assert said.exit_code == 0, said.output
    (silent,) = json.loads(said.stdout)["unanswered"]
    assert "another" in silent
