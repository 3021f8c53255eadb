"""Conclusions and actions when Slurm also shows odd, hidden, foreign or stale jobs.

Slurm is two programs that answer as its own do: squeue(1) fills its format in, in the zone of its
environment and without hidden partitions unless asked; scancel(1) takes a name literally.
"""

import json
import sys
import time
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from snakemake_executor_plugin_osgpilot.slurm import inventory as survey
from snakemake_executor_plugin_osgpilot.slurm.client import SlurmClient
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host

PROGRAM = """#!{python}
import json, os, re, sys, time
from pathlib import Path
here = Path(__file__).parent
jobs = json.loads((here / "jobs").read_text())
options = dict((each + "=").split("=", 1) for each in sys.argv[1:] if each.startswith("--"))
options = {{name: value.removesuffix("=") for name, value in options.items()}}

def shown(seconds):
    if seconds is None:
        return "N/A"
    if os.environ.get("SLURM_TIME_FORMAT") == "relative":
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))

def squeue():
    text = options["--format"]
    for job in jobs:
        if job.get("hidden") and "--all" not in options:
            continue
        if job.get("over") and "--states" not in options:
            continue
        values = {{**job, "S": shown(job.get("S")), "e": shown(job.get("e"))}}
        print(re.sub("%([A-Za-z])", lambda found: values[found[1]], text))

def scancel():
    status = 0
    for wanted in [each for each in sys.argv[1:] if not each.startswith("--")]:
        found = [job for job in jobs if job["A"] == wanted]
        if not found:
            print(f"scancel: error: Kill job error on job id {{wanted}}: Invalid job id specified",
                  file=sys.stderr)
            status = 1
            continue
        job, = found
        if options.get("--state", job["T"]) != job["T"]:
            continue
        if options.get("--name", job["j"]) != job["j"]:
            continue
        with (here / "hit").open("a") as hit:
            print(options.get("--signal", "KILL"), wanted, file=hit)
    sys.exit(status)

globals()[Path(__file__).name]()
"""

PILOT = "osgpilot-r1-1"
FORGED = "x\n7\x1fosgpilot-r1-1\x1fCANCELLED\x1fNone\x1fN/A\x1fN/A\x1fn9\n8\x1f"


def job(number, name, state="RUNNING", **more):
    folder = f"/home/me/r1/pilots/{name}"
    known = {"A": str(number), "j": name, "T": state, "r": "None", "N": "n1", "C": "4"}
    return known | {"Z": folder} | more


class World:
    """The user's jobs, and what `scancel` did to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("squeue", "scancel"):
            self.put(name, PROGRAM.format(python=sys.executable))
        self.show()
        self.client = SlurmClient(Host(Here()), "me", SlurmOptions(), folder / "pilot.sh")

    def put(self, name, text):
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o755)

    def show(self, *jobs):
        self._folder.joinpath("jobs").write_text(json.dumps(jobs))

    @property
    def hit(self):
        path = self._folder / "hit"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return World(tmp_path)


@pytest.mark.parametrize("ahead_s", [600, -600, 0])
def test_times_of_slurm_are_by_our_clock(world, ahead_s):
    began_s, ends_s = 1_800_000_000, 1_800_003_600
    world.show(
        job(7, PILOT, S=began_s + ahead_s, e=ends_s + ahead_s), job(8, "osgpilot-r1-2", "PENDING")
    )
    world.client._host.ahead_s = ahead_s
    world.client._host._learn_time = lambda *answer: None
    rows = world.client.look()
    assert (rows[PILOT].started_s, rows[PILOT].ends_s) == (began_s, ends_s)
    assert rows["osgpilot-r1-2"].started_s is None


FOREIGN = {
    "a name with a line break": job(9, "two\nlines"),
    "a name with a separator": job(9, "a\x1fb|c,d"),
    "a forged row": job(9, FORGED),
    "a state of a later version": job(9, "mine", "DANCING"),
    "an array that waits": job("9", "array", "PENDING", N=""),
    "an empty name": job(9, ""),
    "a name that is no text of ours": job(9, "osgpilot-\u00e9-x"),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_job_never_keeps_pilots_from_being_seen(world, foreign):
    world.show(foreign, job(7, PILOT), {**foreign, "A": "6"})
    rows = world.client.look()
    assert rows[PILOT].seen is Seen.RUNNING
    assert rows[PILOT].allocation_id == "7"
    found = world.client.folders()
    assert [(number, name) for number, name, _ in found] == [("7", PILOT)]


def test_a_pilot_in_a_state_that_is_not_known_is_there(world):
    world.show(job(7, PILOT, "DANCING"))
    row = world.client.look()[PILOT]
    assert (row.seen, row.allocation_id) == (Seen.UNKNOWN, "7")
    assert [number for number, _, _ in world.client.folders()] == ["7"]


def test_a_pilot_in_a_hidden_partition_is_seen_and_ended(world):
    world.show(job(7, PILOT, hidden=True))
    assert world.client.look()[PILOT].seen is Seen.RUNNING
    assert [number for number, _, _ in world.client.folders()] == ["7"]
    world.client.end_running({"7": PILOT})
    assert world.hit == ["TERM 7"]


def test_pilots_that_have_ended_are_not_left_behind(world):
    world.show(*(job(n, PILOT, state) for n, state in enumerate(("COMPLETED", "CANCELLED"), 7)))
    assert world.client.folders() == []


def test_a_job_that_only_has_the_name_of_a_pilot_is_none(world):
    """`osgpilot cleanup` would end it and remove `jobs` two folders above it."""
    world.show(job(7, PILOT, Z="/home/me/project/x"), job(8, "osgpilot-a-b-1", Z="/"))
    assert world.client.folders() == []


def test_of_two_with_one_name_the_one_in_the_pilots_folder_counts(world):
    world.show(job(7, PILOT), job(9, PILOT, "PENDING", Z="/home/me"))
    assert world.client.look()[PILOT].allocation_id == "7"


def test_of_siblings_in_a_federation_the_one_that_is_here_counts(world):
    world.show(job(7, PILOT), job(7, PILOT, "REVOKED"))
    assert world.client.look()[PILOT].seen is Seen.RUNNING


class InZone(Here):
    """A host with a time zone, a language and habits of its own."""

    def __init__(self, zone):
        self._zone = zone

    def shell(self):
        habits = ("LC_ALL=de_DE.UTF-8", "SLURM_TIME_FORMAT=relative", "SQUEUE_FORMAT=%i")
        return ["env", f"TZ={self._zone}", *habits, "sh"]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC0"])
def test_times_are_right_whatever_the_zones_of_both_sides(world, monkeypatch, zone):
    # 1:30 comes twice in New York, when daylight saving ends
    begins_s = 1793514600.0
    world.show(job(7, PILOT, S=begins_s, e=begins_s + 7200))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        client = SlurmClient(Host(InZone(zone)), "me", SlurmOptions(), Path("/w/pilot.sh"))
        row = client.look()[PILOT]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (row.started_s, row.ends_s) == (begins_s, begins_s + 7200)


@pytest.mark.parametrize("act", ["cancel_pending", "drain_running", "end_running", "kill"])
def test_a_job_that_has_the_id_of_a_pilot_by_now_is_not_touched(world, act):
    state = "PENDING" if act == "cancel_pending" else "RUNNING"
    look_alike = f"{PILOT}\nx"
    world.show(job(7, "mine", state), job(8, "osgpilot-r1-2", state), job(9, look_alike, state))
    getattr(world.client, act)({"7": PILOT, "8": "osgpilot-r1-2", "9": PILOT})
    assert [hit.split()[1] for hit in world.hit] == ["8"]


def test_a_foreign_job_cannot_keep_a_pilot_from_being_ended(world):
    world.show(job(7, PILOT), job(9, "x\nm 7 other m"), job(10, FORGED))
    world.client.kill({"7": PILOT})
    assert world.hit == ["KILL 7"]


def test_one_that_is_gone_does_not_keep_others_from_being_ended(world):
    world.show(job(7, PILOT))
    with pytest.raises(RejectedError, match="Invalid job id"):
        world.client.kill({"6": "osgpilot-r1-0", "7": PILOT})
    assert world.hit == ["KILL 7"]


def test_very_many_pilots_are_ended_by_one_call(world):
    many = {str(n): f"osgpilot-20261129-101010-abc123-{n}" for n in range(1, 3001)}
    world.show(*(job(n, name) for n, name in many.items()))
    world.client.kill(many)
    assert {hit.split()[1] for hit in world.hit} == set(many)


def test_failed_squeue_cancels_nothing(world):
    world.show(job(7, PILOT))
    world.put("squeue", "#!/bin/sh\necho 'slurm_load_jobs error: Connection refused' >&2; exit 1\n")
    with pytest.raises(OutcomeUnknownError, match="Connection refused"):
        world.client.kill({"7": PILOT})
    with pytest.raises(OutcomeUnknownError, match="Connection refused"):
        world.client.look()
    world.put("squeue", "#!/bin/sh\necho 'slurm_load_jobs error: Connection refused' >&2\n")
    with pytest.raises(OutcomeUnknownError, match="Connection refused"):
        world.client.look()
    assert world.hit == []


def test_hidden_partitions_are_part_of_a_survey(world):
    world.put("scontrol", """#!/bin/sh
case "$*" in
    *config*) echo 'ClusterName = here' ;;
    *node*) echo 'NodeName=n1 CPUTot=4 RealMemory=4000 Partitions=secret' ;;
    *--all*partition*) echo 'PartitionName=secret Hidden=YES State=UP' ;;
esac
""")  # fmt: skip
    cluster = survey.survey(Host(Here()))
    assert [(p.name, p.is_hidden) for p in cluster.partitions] == [("secret", True)]
