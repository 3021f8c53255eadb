"""Values of `envvars:` in the output of jobs are masked before they are shown."""

import base64
import os
from types import SimpleNamespace

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.common.redact import MASK, Redactor
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import (
    INPUT_FOLDER,
    JOB_FILE,
    JOB_OUTPUT,
    OUTPUT_FOLDER,
)
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.job import FailedAttempt, Job
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.run import shutdown as ending
from snakemake_executor_plugin_osgpilot.run.intake import Intake
from snakemake_executor_plugin_osgpilot.staging import failure_message as failure

SECRET = "pr1vate-en0ugh"
KEY = "\n".join(["-- begin --", *(f"line{number:02}{'x' * 40}" for number in range(60)), "--end--"])
REDACT = Redactor([SECRET, KEY, "1", "true"])


def job(**more):
    return Job("1", "map", Request(JobClass(Shape(1, 1))), exit_status=1, **more)


def reported(tmp_path, printed, error="failed", **more):
    (tmp_path / JOB_OUTPUT).write_bytes(printed.encode())
    return failure.explain(OsgpilotError(error), job(**more), tmp_path, REDACT)


@pytest.mark.parametrize(
    "printed",
    [
        f"login {SECRET} failed",
        base64.encodebytes(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"\n{SECRET}\n".encode()).decode(),
        "pr1vate-en0ugh%0A",
        KEY.splitlines()[7],
    ],
)
def test_failed_job_shows_no_secret(tmp_path, printed):
    shown = reported(tmp_path, f"before\n{printed}\nafter 1 is true\n")
    assert MASK in shown
    assert "before\n" in shown
    assert "after 1 is true" in shown, "short values are ordinary words"
    assert not {SECRET, KEY.splitlines()[7], printed.strip()} & {*shown.split()}
    assert base64.b64encode(SECRET.encode()).decode()[:12] not in shown


def test_secret_that_is_not_utf_8_is_not_shown(tmp_path):
    secret = b"k\xffy-of-bytes"
    for printed in (secret, base64.b64encode(secret)):
        (tmp_path / JOB_OUTPUT).write_bytes(b"it is " + printed + b" \xfe")
        redact = Redactor([os.fsdecode(secret)])
        shown = failure.explain(OsgpilotError("failed"), job(), tmp_path, redact)
        assert f"it is {MASK}" in shown
        assert "y-of-bytes" not in shown


def test_causes_of_failure_show_no_secret(tmp_path):
    more = {"failed_attempts": (FailedAttempt(f"could not fetch https://x/?k={SECRET}"),)}
    shown = reported(tmp_path, "", error=f"out is a link to {SECRET}", **more)
    assert SECRET not in shown
    assert shown.count(MASK) == 2


@pytest.mark.parametrize("encode", [str, lambda key: base64.encodebytes(key.encode()).decode()])
@pytest.mark.parametrize("rest", range(0, failure.TAIL_BYTES + 3000, 977))
def test_secret_truncated_by_output_limit_is_not_shown(tmp_path, encode, rest):
    encoded = encode(KEY)
    shown = reported(tmp_path, "start\n" + encoded + "\n" + "." * rest + "\nend\n")
    assert "end" in shown
    assert not any(line in shown for line in encoded.splitlines() if len(line) > 40)


def test_secret_truncated_in_long_line_is_not_shown(tmp_path):
    for rest in range(failure.TAIL_BYTES - 40, failure.TAIL_BYTES + 40):
        shown = reported(tmp_path, "x" * 5000 + SECRET + "y" * rest)
        assert SECRET[-5:] not in shown


def test_a_long_word_takes_no_time_to_look_through():
    assert len(Redactor([KEY])("a1" * 200_000)) == 400_000


class Journal:
    """Writes nothing down."""

    def __init__(self, trouble=None):
        self.trouble = trouble

    def settled(self, jobs):
        if self.trouble:
            raise self.trouble


def test_no_file_with_secrets_is_left_after_a_run(tmp_path):
    folder = RunFolder.create(tmp_path, "r1")
    (folder.job("000001") / INPUT_FOLDER).mkdir(parents=True)
    (folder.job("000001") / INPUT_FOLDER / JOB_FILE).write_text(SECRET)
    (folder.job("000001") / JOB_OUTPUT).write_text("why")
    journal = SimpleNamespace(check_held=lambda: None, entries=lambda: [], finish=lambda: None)
    ending.finish(folder, journal)
    left = [path.name for path in folder.job("000001").rglob("*") if path.is_file()]
    assert left == [JOB_OUTPUT]


@pytest.mark.parametrize("trouble", [None, OutcomeUnknownError("the disk is full")])
def test_job_file_of_failed_job_is_removed_and_outputs_stay(tmp_path, trouble, logged):
    folder = RunFolder.create(tmp_path, "r1")
    for key in ("000001", "000002"):
        (folder.job(key) / INPUT_FOLDER).mkdir(parents=True)
        (folder.job(key) / OUTPUT_FOLDER).mkdir()
        (folder.job(key) / INPUT_FOLDER / JOB_FILE).write_text(SECRET)
        (folder.job(key) / JOB_OUTPUT).write_text("why")
        (folder.job(key) / OUTPUT_FOLDER / "half.txt").write_text("half")
    queue = JobManager(FakeAccessPoint(), Shape(4, 3800))
    intake = Intake(queue, Journal(trouble), folder)
    intake.queue = SimpleNamespace(jobs=lambda keys: [])
    intake.settle(["000001", "000009"])
    left = sorted(path.name for path in folder.job("000001").rglob("*") if path.is_file())
    assert left == ["half.txt", JOB_OUTPUT]
    assert (folder.job("000002") / INPUT_FOLDER / JOB_FILE).read_text() == SECRET, "it continues"
    assert bool(logged.warnings) == bool(trouble)
