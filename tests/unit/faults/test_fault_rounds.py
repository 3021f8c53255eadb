"""Runs of the fault suite are assembled, and leftovers attributed to their workflow."""

import json
import re
import time
from argparse import Namespace
from pathlib import Path

import pytest
from faults.fault import FAULTS
from faults.remains import Leftovers, Remnant
from faults.snakemake_process import clocks_go_back
from faults.suite import in_rounds, trials
from faults.table import UNDISTURBED, Record, Trial, report
from faults.world import Verdict

PAGE = Path(__file__).parents[3] / "docs" / "dev" / "faults.md"


def asked(**changed):
    return Namespace(
        **{"seed": "1", "jobs": 40, "short": True, "runs": 7, "together": 3, "only": None} | changed
    )


def test_the_page_says_of_every_fault_what_happens():
    table = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+\.) \|$", PAGE.read_text(), re.MULTILINE))
    assert table == {name: fault.sentence for name, fault in FAULTS.items()}


def test_a_fault_strikes_one_workflow_or_the_pool():
    assert all((each.act is None) != (each.pool_act is None) for each in FAULTS.values())


def test_every_run_is_in_one_round_with_others_of_its_fault():
    wanted = trials(asked())
    rounds = in_rounds(wanted, 3)
    assert sorted(map(hash, wanted)) == sorted(hash(trial) for each in rounds for trial in each)
    assert all(len({trial.fault for trial in each}) == 1 for each in rounds)
    assert max(map(len, rounds)) == 3


def test_every_fault_has_had_a_round_before_any_has_its_second():
    rounds = in_rounds(trials(asked()), 3)
    first = [each[0].fault for each in rounds[: len(FAULTS) + 1]]
    assert set(first) == {UNDISTURBED, *FAULTS}


def test_what_is_recorded_is_not_run_again(tmp_path):
    one, other = (Trial("schedd", number, "1", 40, short=True) for number in range(2))
    Record(tmp_path / "record").add(one, Verdict(statuses=[0]))
    with (tmp_path / "record").open("a") as file:
        file.write('{"trial": {"fault": "cut')
    again = Record(tmp_path / "record")
    assert again.verdicts == {one: Verdict(statuses=[0])}
    again.add(other, Verdict(lost=["out/each/1"]))
    assert set(Record(tmp_path / "record").verdicts) == {one, other}


def test_a_suite_that_was_interrupted_records_no_more(tmp_path):
    record = Record(tmp_path / "record")
    record.close()
    record.add(Trial("schedd", 0, "1", 40, short=True), Verdict(left=["its pool was taken away"]))
    assert not record.verdicts
    assert not (tmp_path / "record").exists()


def test_the_last_line_has_the_sums_and_the_table_is_markdown(capsys):
    found = [
        (Trial(UNDISTURBED, 0, "1", 40, short=True), Verdict(makespan_s=30.0, statuses=[0])),
        (Trial("node", 0, "1", 40, short=True), Verdict(["a"], makespan_s=50.0, statuses=[0])),
        (Trial("node", 1, "1", 40, short=True), Verdict(left=["b"], makespan_s=50.0, statuses=[0])),
    ]
    assert report(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "faults runs 2 lost 1 duplicated 0 left 1"
    assert "| `node` | 2 | 1 | 0 | 1 | 0 | 1 | 20 |" in lines


class FakePool:
    """Says what it is given, and counts how often it was asked."""

    def __init__(self, entries):
        self.entries, self.asked = entries, 0

    def say(self, *argv, host, user):
        self.asked += 1
        return json.dumps(self.entries[host])


def test_what_is_left_is_found_by_run_or_folder_and_only_that_of_the_workflow():
    entries = {
        "login": [("allocation 7", ["osgpilot-20261129-1-a-1"]), ("process 9", ["/home/one/x"])],
        "ap": [("job 1.0", ["20261129-2-b"]), ("process 3", [])],
    }
    found = Leftovers(FakePool(entries)).look()
    names = ("20261129-1-a", "/home/one")
    assert [each.text for each in found if each.belongs_to(names)] == ["allocation 7", "process 9"]
    assert Remnant("process 3", ()) in found


def test_a_look_that_began_before_the_question_is_no_answer():
    remains = Leftovers(pool := FakePool({"login": [], "ap": []}))
    remains.look()
    remains.look()
    assert pool.asked == 4


@pytest.mark.parametrize("now_s", [1_781_000_000.0, 1_795_974_000.0, 1_795_975_700.0])
def test_the_clocks_have_gone_back_half_an_hour_ago(monkeypatch, now_s):
    monkeypatch.setenv("TZ", clocks_go_back(now_s))
    time.tzset()
    try:
        before, now = (time.localtime(at_s) for at_s in (now_s - 3600, now_s))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (before.tm_isdst, now.tm_isdst) == (1, 0)
    assert (before.tm_hour, before.tm_min) == (now.tm_hour, now.tm_min)
