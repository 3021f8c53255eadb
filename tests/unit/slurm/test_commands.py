"""The arguments we give to Slurm's commands and how their answers are read."""

import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import (
    OsgpilotError,
    OutcomeUnknownError,
    RejectedError,
    TryLaterError,
)
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from snakemake_executor_plugin_osgpilot.slurm import commands, parse
from snakemake_executor_plugin_osgpilot.slurm.client import SlurmClient
from snakemake_executor_plugin_osgpilot.slurm.error_messages import NEVER, UNKNOWN, failure
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host

ALLOCATION = Allocation("osgpilot-r1-1", "r1", 4, 3900, 60, Path("/w/100%/pilots/x"))


MARK = "5f0c"


def squeue_line(*fields):
    return f"{MARK}+" + f"{MARK},".join(fields) + f"{MARK}.\n"


RUNNING = squeue_line(
    "42", "osgpilot-r1-1", "RUNNING", "None", "2026-01-02T03:04:05", "2026-01-02T04:04:05", "n1",
    "128", "/w/r1/pilots/osgpilot-r1-1",
)  # fmt: skip


def test_sbatch_asks_for_the_shape_and_leaks_nothing():
    argv = commands.sbatch(ALLOCATION, SlurmOptions(partition="compute"), Path("/w/pilot.sh"))
    for wanted in (
        "--export=NONE",
        "--no-requeue",
        "--cpus-per-task=4",
        "--mem=3900",
        "--time=60",
        "--partition=compute",
        "--job-name=osgpilot-r1-1",
    ):
        assert wanted in argv
    assert argv[-2:] == ["/w/pilot.sh", "/w/100%/pilots/x"]
    assert "--output=/w/100%%/pilots/x/slurm.log" in argv
    assert not any(a.startswith("--account") for a in argv)


def test_sbatch_asks_for_gpus_only_where_a_pilot_has_some():
    script = Path("/w/pilot.sh")
    with_gpus = replace(ALLOCATION, gpus=2)
    assert "--gres=gpu:2" in commands.sbatch(with_gpus, SlurmOptions(), script)
    of_a_kind = replace(with_gpus, gpu_type="a100")
    assert "--gres=gpu:a100:2" in commands.sbatch(of_a_kind, SlurmOptions(), script)
    assert "gres" not in " ".join(commands.sbatch(ALLOCATION, SlurmOptions(), script))


def test_bad_nodes_are_left_out_and_a_pilots_own_partition_wins():
    here = replace(ALLOCATION, partition="long", exclude=("n1", "n7"))
    argv = commands.sbatch(here, SlurmOptions(partition="compute"), Path("/w/pilot.sh"))
    assert "--exclude=n1,n7" in argv
    assert "--partition=long" in argv
    assert "--partition=compute" not in argv


def test_slurm_is_asked_for_its_expectation_without_submitting():
    argv = commands.sbatch_test_only(ALLOCATION, SlurmOptions(), Path("/w/pilot.sh"))
    assert argv[:2] == ["sbatch", "--test-only"]
    said = (
        "sbatch: Job 42 to start at 2026-01-02T03:04:05 using 4 processors on nodes n1 "
        "in partition compute"
    )
    now_s = parse.timestamp("2026-01-02T03:00:00")
    assert parse.expectation(said, now_s=now_s) == (245, 4)
    assert parse.expectation(said.partition(" using")[0], now_s=now_s) == (245, 0)
    assert parse.expectation("allocation failure: Invalid qos", now_s=now_s) is None


def test_the_user_reads_an_expectation_in_local_time(fake_sbatch, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        slurm = fake_sbatch("echo Job 42 to start at 2026-01-02T03:04:05 on n1 >&2")
        said = slurm.verdict(ALLOCATION, "")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said[:2] == (True, "Job 42 to start at 2026-01-01T22:04:05 on n1")
    long_ago_s = parse.timestamp("2026-01-02T03:04:05")
    assert said[2].wait_s == max(0.0, long_ago_s - time.time())
    assert parse.in_local_time("sbatch: error: Invalid qos") == "sbatch: error: Invalid qos"


def test_running_pilots_are_signalled_at_the_batch_shell_only():
    assert commands.END == ("--batch", "--signal=TERM")


@pytest.mark.parametrize("text", ["42\n", "42;cluster\n", "sbatch: info: lua says hi\n42\n"])
def test_sbatch_answers(text):
    assert parse.allocation_id(text) == "42"


@pytest.mark.parametrize("text", ["", "Submitted batch job 42", "٤٢", "42 43"])
def test_an_sbatch_answer_without_an_id_is_no_answer(text):
    with pytest.raises(OutcomeUnknownError):
        parse.allocation_id(text)


def test_a_row_is_read():
    row = parse.rows(RUNNING, MARK)["osgpilot-r1-1"]
    assert (row.allocation_id, row.seen, row.node) == ("42", Seen.RUNNING, "n1")
    assert row.ends_s - row.started_s == 3600
    assert row.cores == 128
    assert parse.rows(RUNNING.replace("128", "?"), MARK)["osgpilot-r1-1"].cores == 0


def test_the_latest_allocation_of_a_name_counts():
    older = RUNNING.replace("42", "9", 1)
    assert parse.rows(RUNNING + older, MARK)["osgpilot-r1-1"].allocation_id == "42"


SECOND = RUNNING.replace("osgpilot-r1-1", "osgpilot-r1-2")


@pytest.mark.parametrize("length", range(len(f"{MARK}+"), len(SECOND.rstrip())))
def test_an_answer_that_is_cut_off_means_nothing_is_known(length):
    with pytest.raises(OutcomeUnknownError, match="truncated"):
        parse.rows(RUNNING + SECOND[:length], MARK)


@pytest.mark.parametrize(
    "line",
    [
        RUNNING.replace("RUNNING", "DANCING"),
        RUNNING.replace("42", "42_[1-10%2]"),
        RUNNING.replace("42", "42+0"),
        RUNNING.replace("42", "42;cluster"),
    ],
)
def test_unreadable_row_is_an_unknown_state(line):
    row = parse.rows("Welcome to the cluster!\n" + line, MARK)["osgpilot-r1-1"]
    assert row.seen is Seen.UNKNOWN
    assert row.allocation_id in ("", "42")


@pytest.mark.parametrize("said", ["slurm_load_jobs error: Unable to contact slurm controller\n"])
def test_an_error_is_no_answer_whatever_the_status(said):
    with pytest.raises(OutcomeUnknownError, match="Unable to contact"):
        parse.rows(said, MARK)
    with pytest.raises(OutcomeUnknownError, match="Unable to contact"):
        parse.rows(RUNNING + said, MARK)
    named = squeue_line("7", said.strip(), *RUNNING.split(f"{MARK},")[2:])
    assert set(parse.rows(RUNNING + named, MARK)) == {"osgpilot-r1-1"}


@pytest.mark.parametrize("node", ["n[1-2]", "None assigned", "(null)", ""])
def test_what_is_no_node_is_never_left_out(node):
    assert parse.rows(RUNNING.replace("n1", node), MARK)["osgpilot-r1-1"].node == ""


def test_times_that_are_not_known():
    assert parse.timestamp("N/A") is None
    assert parse.timestamp("Unknown") is None


@pytest.fixture
def fake_sbatch(tmp_path, monkeypatch):
    def install(text):
        path = tmp_path / "sbatch"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return SlurmClient(Host(Here()), "me", SlurmOptions(), Path("/w/pilot.sh"))

    return install


GRANTED = "echo Job 42 to start at 2026-01-02T03:04:05 using 4 processors on nodes n1 >&2"
LIMITED = """
case "$*" in
    "show config") echo "MaxMemPerCPU            = 1000" ;;
    *) echo "PartitionName=p Default=YES State=UP MaxMemPerCPU=500"
       echo "PartitionName=q Default=NO State=UP MaxMemPerNode=UNLIMITED" ;;
esac
"""


@pytest.mark.parametrize(
    ("partition", "how", "cores"),
    [("p", "node", 8), ("", "node", 8), ("q", "node", 4), ("p", "none", 4), ("p", "cpu", 8)],
)
def test_cores_that_memory_takes_are_expected(fake_sbatch, tmp_path, partition, how, cores):
    slurm = fake_sbatch(GRANTED)
    slurm._options = SlurmOptions(memory=how)
    wanted = replace(ALLOCATION, partition=partition, cores=4, memory_mb=3900)
    # without an answer nothing is known of partitions
    assert slurm.expectation(wanted).cores == 4
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\n{LIMITED}")
    program.chmod(0o755)
    assert slurm.expectation(wanted).cores == cores
    assert slurm.verdict(wanted, "")[2].cores == cores


FAILED = "sbatch: error: Batch job submission failed: "


def said_by_sbatch(fake_sbatch, text):
    slurm = fake_sbatch(f"printf '%s\\n' {shlex.quote(text)} >&2; exit 1")
    with pytest.raises(OsgpilotError) as raised:
        slurm.submit(ALLOCATION)
    return raised.value


@pytest.mark.parametrize(
    "text",
    [
        "Invalid account or account/partition combination specified",
        "Requested node configuration is not available",
        "Memory specification can not be satisfied",
    ],
)
def test_a_refusal_is_for_good(fake_sbatch, text):
    error = said_by_sbatch(fake_sbatch, FAILED + text)
    assert type(error) is RejectedError
    assert text in str(error)


@pytest.mark.parametrize(
    "text",
    [
        FAILED + "Unable to contact slurm controller (connect failure)",
        "sbatch: error: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        FAILED + "Zero Bytes were transmitted or received",
    ],
)
def test_what_may_have_been_carried_out_is_no_refusal(fake_sbatch, text):
    assert type(said_by_sbatch(fake_sbatch, text)) is OutcomeUnknownError


@pytest.mark.parametrize(
    "text",
    [
        "Unspecified error",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "MaxJobCount limit reached",
        "Protocol authentication error",
        "An error of a Slurm to come",
    ],
)
def test_what_time_may_cure_is_a_refusal_for_now(fake_sbatch, text):
    assert type(said_by_sbatch(fake_sbatch, FAILED + text)) is TryLaterError


LATER = (
    "unspecified error",
    "slurm internal error",
    "maxjobcount limit reached",
    "job violates accounting/qos policy",
    "requested account has breached requested qos usage threshold",
    "rate limit exceeded",
    "system submissions disabled",
    "requested operation is presently disabled",
    "requested partition configuration not available now",
    "required partition not available",
    "required node not available",
    "requested reservation not usable now",
    "licenses currently unavailable",
    "partition in down state",
    "slurm backup controller in standby mode",
    "controller is in standby mode",
    "i/o error writing script/environment to file",
    "error generating job credential",
    "protocol authentication error",
    "invalid authentication credential",
    "authentication credential expired",
    "unable to connect to database",
    "unable to resolve user id to user name",
)
"""Messages that time may cure: in no list, and no part of them may be."""


def test_no_message_is_in_two_lists_and_what_time_may_cure_in_none():
    for command in ("sbatch", "scancel"):
        for texts, kind in ((NEVER, RejectedError), (UNKNOWN, OutcomeUnknownError)):
            assert {type(failure(command, text)) for text in texts} == {kind}
    assert {type(failure("sbatch", text)) for text in LATER} == {TryLaterError}
    assert {type(failure("squeue", text)) for text in LATER} == {OutcomeUnknownError}


def test_the_enclosing_allocation_does_not_leak_into_our_calls(fake_sbatch, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "99")
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    monkeypatch.setenv("SQUEUE_FORMAT", "a b\nc")
    monkeypatch.setenv("SLURM_CONF", "/etc/my-slurm.conf")
    monkeypatch.setenv("SLURM_CONF_SERVER", "ctl")
    monkeypatch.setenv("SLURM_JWT", "token")
    left = 'env | grep "^SLURM_\\|^SBATCH_\\|^SQUEUE_" | sort | tr "\\n" " "'
    kept = "SLURM_CONF=/etc/my-slurm.conf SLURM_CONF_SERVER=ctl SLURM_JWT=token "
    slurm = fake_sbatch(f'[ "$({left})" = "{kept}" ] && echo 42')
    assert slurm.submit(ALLOCATION) == "42"


def test_a_missing_command_is_no_answer(fake_sbatch, tmp_path, monkeypatch):
    slurm = fake_sbatch("echo 42")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "date", "timeout", "env", "sed", "grep", "mkdir"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(OutcomeUnknownError, match="sbatch"):
        slurm.submit(ALLOCATION)
