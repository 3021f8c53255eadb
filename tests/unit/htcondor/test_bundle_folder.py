"""A bundle as its folder has it, run by bash as on an execution point, and what comes back."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.htcondor.bundle_folder import STATUS, BundleFolders
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import JOB_FILE

KEYS = ["000001", "000002", "000003"]
WRITES = 'mkdir -p "$1"; echo "${record[5]}" > "$1/result"; echo "said ${record[5]}"\n'


class Bundle:
    """A run's folder with jobs, and the folder in which the execution point runs their bundle."""

    def __init__(self, place: Path) -> None:
        self.run, self.there = place / "run", place / "there"
        self.folders = BundleFolders(self.run, self.job)

    def job(self, key: str) -> Path:
        return self.run / "jobs" / key

    def add(self, key: str, script: str, **inputs: str) -> None:
        entry = self.job(key) / "osgpilot-in"
        entry.mkdir(parents=True)
        # as the job's file: a script, lists after their lengths, and other records
        records = [f"{script}exit\n".encode(), b"0", b"0", b"1", b"made", key.encode(), b"\xff\n"]
        (entry / JOB_FILE).write_bytes(b"".join(record + b"\0" for record in records))
        for name, text in inputs.items():
            (self.run / name).write_text(text)
            (entry / name).symlink_to(self.run / name)

    def execute(self, keys=KEYS, limit_s=60, wait=True):
        self.folders.write(keys, limit_s)
        # HTCondor follows links to files
        shutil.copytree(self.run / f"jobs/bundle-{keys[0]}/osgpilot-in", self.there)
        running = subprocess.Popen(["/bin/bash", JOB_FILE], cwd=self.there)
        if wait:
            assert running.wait(60) == 0
        return running

    def back(self, keys=KEYS):
        place = self.run / f"jobs/bundle-{keys[0]}/osgpilot-out"
        if (self.there / "osgpilot-out").exists() and not place.exists():
            shutil.copytree(self.there / "osgpilot-out", place)
        return self.folders.take(keys)

    def result(self, key: str) -> str:
        return (self.job(key) / "osgpilot-out/result").read_text().strip()


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    for key in KEYS:
        made.add(key, WRITES)
    return made


def test_each_job_has_its_own_result_output_and_times(bundle):
    bundle.execute()
    ends = bundle.back()
    assert [end.exit_status for end in ends] == [0, 0, 0]
    assert all(0 <= end.began_s <= end.ended_s < 60 for end in ends)
    assert [end.began_s for end in ends] == sorted(end.began_s for end in ends)
    for key in KEYS:
        assert bundle.result(key) == key
        assert (bundle.job(key) / "output").read_text() == f"said {key}\n"
    assert not list(bundle.run.glob("jobs/bundle-*"))


def test_a_script_that_several_jobs_have_travels_once(bundle):
    bundle.folders.write(KEYS, 60)
    written = (bundle.run / "jobs/bundle-000001/osgpilot-in" / JOB_FILE).read_bytes()
    assert written.count(WRITES.encode()) == 1


def test_a_file_that_is_cut_off_ends_the_bundle(bundle):
    bundle.folders.write(KEYS, 60)
    written = bundle.run / "jobs/bundle-000001/osgpilot-in" / JOB_FILE
    written.write_bytes(written.read_bytes()[:-4])
    shutil.copytree(written.parent, bundle.there)
    assert subprocess.run(["/bin/bash", JOB_FILE], cwd=bundle.there, check=False).returncode == 0
    assert [end and end.exit_status for end in bundle.back()] == [0, 0, None]


def test_results_are_taken_once_and_known_ever_after(bundle):
    bundle.execute()
    first = bundle.back()
    shutil.rmtree(bundle.there)
    assert bundle.folders.take(KEYS) == first


def test_one_that_fails_leaves_the_others_alone(bundle):
    bundle.add("000004", "echo bad >&2; exit 7\n")
    keys = ["000001", "000004", "000002"]
    bundle.execute(keys)
    assert [end.exit_status for end in bundle.back(keys)] == [0, 7, 0]
    assert (bundle.job("000004") / "output").read_text() == "bad\n"


def test_two_failures_in_a_row_end_the_bundle(bundle):
    for key in ("000004", "000005", "000006"):
        bundle.add(key, "exit 3\n")
    keys = ["000004", "000001", "000005", "000006", "000002"]
    bundle.execute(keys)
    assert [end and end.exit_status for end in bundle.back(keys)] == [3, 0, 3, 3, None]


def test_inputs_are_those_of_each_job(bundle):
    for n, key in enumerate(("000004", "000005")):
        bundle.add(key, 'mkdir "$1"; cat data > "$1/result"\n', data=f"{n}")
        (bundle.job(key) / "osgpilot-in/data").unlink()
        (bundle.run / f"data{n}").write_text(f"of {n}")
        (bundle.job(key) / "osgpilot-in/data").symlink_to(bundle.run / f"data{n}")
    keys = ["000004", "000005"]
    bundle.execute(keys)
    assert [end.exit_status for end in bundle.back(keys)] == [0, 0]
    assert [bundle.result(key) for key in keys] == ["of 0", "of 1"]


def test_inputs_come_in_a_folder_from_an_access_point_on_another_host(bundle):
    bundle.add("000004", 'mkdir "$1"; cat data > "$1/result"\n', data="of 4")
    keys = ["000001", "000004"]
    bundle.folders.write(keys, 60)
    entry = bundle.there / "osgpilot-in"
    shutil.copytree(bundle.run / "jobs/bundle-000001/osgpilot-in", entry)
    command = ["/bin/bash", f"osgpilot-in/{JOB_FILE}"]
    assert subprocess.run(command, cwd=bundle.there, check=False).returncode == 0
    assert not entry.exists()
    assert [end and end.exit_status for end in bundle.back(keys)] == [0, 0]
    assert [bundle.result(key) for key in keys] == ["000001", "of 4"]


@pytest.mark.parametrize("name", ["000002", "osgpilot-out/000002", "osgpilot-out/returned/000002"])
def test_a_job_whose_folder_an_earlier_one_removed_runs_elsewhere(bundle, name):
    bundle.add("000004", f"rm -r ../{name}\n")
    keys = ["000004", "000002"]
    bundle.execute(keys)
    assert [end and end.exit_status for end in bundle.back(keys)] == [0, None]


def test_no_job_starts_after_the_limit(bundle):
    bundle.add("000004", 'sleep 1.5; mkdir -p "$1"\n')
    keys = ["000004", "000001", "000002"]
    bundle.execute(keys, limit_s=1)
    first, *others = bundle.back(keys)
    assert first.exit_status == 0
    assert others == [None, None]


def test_a_full_disk_ends_the_bundle(bundle):
    bundle.add("000004", "exit 121\n")
    keys = ["000001", "000004", "000002"]
    bundle.execute(keys)
    one, full, other = bundle.back(keys)
    assert (one.exit_status, full.exit_status, other) == (0, 121, None)


def test_nothing_of_a_job_outlives_its_turn(bundle, tmp_path):
    late = tmp_path / "late"
    bundle.add("000004", f"(sleep 1; touch {late}) & chmod 0 .\n")
    bundle.add("000005", f"sleep 2; [ ! -e {late} ] && [ ! -e ../000004 ]\n")
    keys = ["000004", "000005"]
    bundle.execute(keys)
    assert [end.exit_status for end in bundle.back(keys)] == [0, 0]


def test_a_job_that_is_stopped_for_a_while_continues(bundle):
    bundle.add("000004", "me=$BASHPID; (sleep 1; kill -CONT $me) & kill -STOP $me\n")
    keys = ["000004", "000002"]
    bundle.execute(keys)
    assert [end and end.exit_status for end in bundle.back(keys)] == [0, 0]


def test_a_job_that_kills_its_bundle_takes_those_with_it_that_had_not_ended(bundle):
    bundle.add("000004", "kill -KILL $$\n")
    keys = ["000001", "000004", "000002"]
    running = bundle.execute(keys, wait=False)
    assert running.wait(60) == -9
    one, *others = bundle.back(keys)
    assert one.exit_status == 0
    assert others == [None, None]
    assert bundle.result("000001") == "000001"


@pytest.mark.parametrize(
    "text", ["0 1 2\n", "0 1 2 x\n", "-1 1 1 1\n", "1000 1 1 1\n", "0 1 1 1", ""]
)
def test_a_status_that_is_none_counts_for_nothing(bundle, text):
    bundle.execute()
    (bundle.there / "osgpilot-out/000002/status").write_text(text)
    ends = bundle.back()
    assert [end and end.exit_status for end in ends] == [0, None, 0]
    assert not (bundle.job("000002") / "osgpilot-out").exists()


def test_what_came_back_is_data_and_no_place(bundle, tmp_path):
    bundle.execute()
    place = bundle.run / "jobs/bundle-000001/osgpilot-out"
    shutil.copytree(bundle.there / "osgpilot-out", place)
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(place / "returned/000001")
    (place / "returned/000001").symlink_to(outside)
    (place / "000002/output").unlink()
    os.mkfifo(place / "000002/output")
    (tmp_path / "fake").write_text("0 1 1 1\n")
    (place / "000003/status").unlink()
    (place / "000003/status").symlink_to(tmp_path / "fake")
    ends = bundle.folders.take(KEYS)
    assert [end and end.exit_status for end in ends] == [0, 0, None]
    assert not (bundle.job("000001") / "osgpilot-out").exists()
    assert not (bundle.job("000002") / "output").exists()
    assert outside.is_dir()


def test_the_file_of_a_bundle_is_private(bundle):
    bundle.folders.write(KEYS, 60)
    folder = bundle.run / "jobs/bundle-000001/osgpilot-in"
    assert (folder / JOB_FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_bundle_that_was_not_submitted_can_be_written_again(bundle):
    bundle.folders.write(KEYS, 60)
    bundle.execute(KEYS[:2])
    assert [end.exit_status for end in bundle.back(KEYS[:2])] == [0, 0]


def test_a_bundle_that_vanished_gives_no_ends(bundle):
    assert bundle.folders.take(KEYS) == [None, None, None]
    assert not (bundle.job("000001") / STATUS).exists()
