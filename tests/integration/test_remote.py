"""Snakemake on login, jobs in the queue of the access point `ap` on another host."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace

import htcondor2
import pytest
from conftest import (
    PATIENCE_S,
    SITE,
    WebServer,
    Workflow,
    nothing_left,
    pilots_in_slurm,
    tool,
    until,
)
from test_bundles import BLOCKED
from test_bundles import JOBS as SHORT_JOBS
from test_resume import COUNTED, JOBS, executions, run_folder
from test_resume import options as resuming
from test_trouble import WATCHFUL, errors

from snakemake_executor_plugin_osgpilot.common.system_clock import SystemClock
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.htcondor.remote_schedd import Address, RemoteAccessPoint
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

AP = ("-name", "ap.localpool", "-pool", "ap.localpool:9618")
REMOTE = {
    **SITE,
    "access_point": {"schedd": "ap.localpool", "poll_s": 2},
    "condor": WATCHFUL,
}


def queue_there(*asked: str) -> list[str]:
    return tool("condor_q", *AP, "-allusers", *asked).splitlines()


def there(constraint: str) -> list[str]:
    return queue_there("-af:j", "JobStatus", "-constraint", constraint)


def jobs_there() -> list[str]:
    return queue_there("-af:j", "JobStatus")


@pytest.fixture
def remote(workflow: Workflow):
    workflow.write_site(REMOTE)
    yield workflow
    workflow.stop()
    if jobs_there():
        subprocess.run(["condor_rm", *AP, "-all"], check=False, capture_output=True)
        subprocess.run(["condor_rm", *AP, "-forcex", "-all"], check=False, capture_output=True)


SNAKEFILE = """
rule all:
    input: "by-body", "from-big", "folder", "grows", "removed", "fails"

rule big:
    output: "strange, name"
    shell: "head -c 200000 /dev/zero > '{output}'"
rule direct:
    input: "strange, name", "tmp/given"
    output: "from-big", directory("folder"), link="l"
    threads: 2
    container: "/opt/sif/job.sif"
    shell:
        "wc -c < '{input[0]}' > {output[0]}; mkdir -p folder/empty; cat {input[1]} > folder/x; "
        "ln -s from-big {output.link}"
rule by_body:
    input: "from-big"
    output: "by-body"
    run:
        with open(output[0], "w") as made:
            made.write(open(input[0]).read())
rule grows:
    output: "grows"
    resources: mem_mb=128
    shell:
        "(head -c 300M /dev/zero; ! grep -q '^RequestMemory = 128$' $_CONDOR_JOB_AD || sleep 600) |"
        " tail -c 300M | wc -c > grows"
rule fails:
    output: "fails"
    shell: "echo so far so good; exit 7"
rule removed:
    output: "removed"
    threads: 3
    shell: "sleep 300; touch removed"
"""


def test_a_workflow_runs_at_an_access_point_on_another_host(remote):
    remote.snakefile(SNAKEFILE)
    (remote.folder / "tmp").mkdir()
    (remote.folder / "tmp/given").write_text("given\n" * 20_000)
    process = remote.start(
        "--keep-going", "--osgpilot-runtime-image", "/opt/sif/runtime.sif",
        "--software-deployment-method", "apptainer",
    )  # fmt: skip
    until(lambda: there("RequestCpus == 3") or process.poll(), "the job")
    tool("condor_rm", *AP, "-constraint", "RequestCpus == 3")
    assert process.wait(PATIENCE_S) == 1
    print(remote.said)
    reported = errors(remote.said)
    assert set(reported) == {"fails", "removed"}
    assert "exit status 7 (in Slurm job" in reported["fails"]
    assert "so far so good" in reported["fails"]
    assert "somebody removed it from the queue" in reported["removed"]
    assert "condor_rm (by user alice)" in reported["removed"]
    for name in ("from-big", "by-body", "l"):
        assert (remote.folder / name).read_text() == "200000\n"
    assert (remote.folder / "l").is_symlink()
    assert (remote.folder / "folder/empty").is_dir()
    assert (remote.folder / "folder/x").read_text() == "given\n" * 20_000
    assert (remote.folder / "grows").read_text() == f"{300 * 2**20}\n"
    assert "rule grows: exceeded 128 MB of memory; requesting" in remote.said
    assert not jobs_there()
    assert not pilots_in_slurm()


KEPT = """
rule all:
    input: expand("part{n}", n=range(5)), "alone", "body"

rule part:
    output: "part{n}"
    resources: container_image="images/tools.sif"
    shell: "cat /etc/job-image > {output}"

rule alone:
    input: "part0"
    output: "alone"
    threads: 2
    resources: container_image="images/tools.sif"
    shell: "cat /etc/job-image > {output}"

rule body:
    input: "part1"
    output: "body"
    run: open(output[0], "w").write("made")
"""


def test_an_image_goes_to_the_access_point_once_in_a_run(remote):
    (remote.folder / "images").mkdir()
    shutil.copy("/opt/sif/job.sif", remote.folder / "images/tools.sif")
    remote.snakefile(KEPT)
    assert remote.run() == 0, remote.said
    for name in ("part0", "part4", "alone"):
        assert (remote.folder / name).read_text() == "localpool-job\n"
    assert (remote.folder / "body").read_text() == "made"
    assert "is sent to the access point once, and from there once to each pilot" in remote.said
    assert not jobs_there()
    wanted = f'OSGPilotWorkflow == "{remote.record()["run"]}"'
    ads = json.loads(tool("condor_history", *AP, "-json", "-constraint", wanted))
    keepers = [ad for ad in ads if "OSGPilotImage" in ad]
    assert sorted(ad["TransferInput"].partition("-")[0] for ad in keepers) == [
        "python",
        "tools.sif",
    ]
    size_mb = (remote.folder / "images/tools.sif").stat().st_size // 2**20
    rules = [ad for ad in ads if "OSGPilotImage" not in ad]
    assert len(rules) == 7
    assert all(ad["TransferInputSizeMB"] < 5 < size_mb for ad in rules)


RULE = "rule all:\n    output: 'out'\n    shell: 'touch out'"


def test_an_access_point_that_is_not_known_is_reported_with_those_that_are(remote):
    remote.snakefile(RULE)
    assert remote.run("--osgpilot-access-point", "elsewhere") == 1
    knows = "knows no access point `elsewhere`; it knows ap.localpool, login.localpool"
    assert knows in remote.said
    assert "Traceback" not in remote.said


def test_a_collector_that_does_not_answer_is_reported_at_once(remote):
    address = {"schedd": "ap.localpool", "collector": "ap.localpool:1"}
    remote.write_site({**SITE, "access_point": address})
    remote.snakefile(RULE)
    assert remote.run() == 1
    assert "the collector ap.localpool:1 does not answer" in remote.said
    assert "Traceback" not in remote.said


def fetched(*options: str) -> str:
    return tool("condor_token_fetch", *AP, "-authz", "READ", *options)


def only_token(workflow: Workflow, text: str, patch: pytest.MonkeyPatch) -> str:
    """Have HTCondor know this token alone, none if it is empty; return the name of its file."""
    folder = workflow.folder / "tokens"
    folder.mkdir(mode=0o700)
    if text:
        (folder / "token").write_text(text)
        (folder / "token").chmod(0o600)
    patch.setenv("_CONDOR_SEC_TOKEN_DIRECTORY", str(folder))
    return str(folder / "token")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (lambda: "", "there is no token"),
        (lambda: "abc", "there is no token"),
        (lambda: fetched("-authz", "WRITE", "-lifetime", "1"), "/token expired "),
        (fetched, "/token does not allow WRITE"),
    ],
)
def test_without_a_token_that_is_accepted_nothing_is_submitted(remote, text, why, monkeypatch):
    only_token(remote, text(), monkeypatch)
    remote.snakefile(RULE)
    time.sleep(1.5 if "expired" in why else 0)
    assert remote.run() == 1
    (line,) = [each for each in remote.said.splitlines() if "does not let you submit" in each]
    assert why in line
    assert "condor_token_fetch -authz READ -authz WRITE" in line
    assert "eyJ" not in remote.said
    assert "Traceback" not in remote.said
    assert not jobs_there()


def test_what_a_token_allows_is_reported_and_that_it_ends_too_early(remote, monkeypatch):
    soon = fetched("-authz", "WRITE", "-lifetime", "1170")
    file = only_token(remote, soon, monkeypatch)
    remote.snakefile(RULE.replace("    shell", '    resources: ospool="maybe"\n    shell'))
    assert remote.run() == 1
    assert "the resource ospool is 'maybe'" in remote.said
    said = "token for the access point: alice@localpool at localpool, may READ WRITE, expires in 1"
    assert said in remote.said
    warning = rf"the token in {re.escape(file)} expires in 1\d min, before 1 h are over"
    assert re.search(warning, remote.said)
    assert "condor_token_fetch -authz READ -authz WRITE` and put it into that file" in remote.said
    assert "eyJ" not in remote.said


@pytest.fixture
def seat_there(tmp_path):
    """An access point on the other host, and a run of its own."""
    seat = RunIdentity("alice", "TestProject", f"test-{tmp_path.name}")
    address = Address("ap.localpool", "ap.localpool:9618")
    made = RemoteAccessPoint(seat, tmp_path, "ap.localpool:9618", address, SystemClock(), 1.0)
    yield made
    made.remove(None, "end of the test")
    made.close()


def job_folder(folder, key):
    (folder / "jobs" / key / "osgpilot-in").mkdir(parents=True)
    (folder / "jobs" / key / "osgpilot-in/osgpilot-job").write_text("exit 0")


def test_jobs_whose_inputs_did_not_arrive_are_taken_back(seat_there, tmp_path):
    """As when the process dies between the submission and the transfer."""
    submission = Submission(("whole", "half"), Request(JobClass(Shape(1, 100, 100))))
    for key in submission.keys:
        job_folder(tmp_path, key)
    whole = seat_there.submit(replace(submission, keys=("whole",)))
    collector = htcondor2.Collector("ap.localpool:9618")
    schedd = htcondor2.Schedd(collector.locate(htcondor2.DaemonType.Schedd, "ap.localpool"))
    description = htcondor2.Submit(seat_there.description(submission))
    items = iter([{"OSGPilotKey": "half", "OSGPilotUrls": ""}])
    schedd.submit(description, spool=True, itemdata=items)
    assert there("HoldReasonCode == 16")
    assert seat_there.find() == whole
    assert not there("HoldReasonCode == 16")


def test_a_submission_whose_inputs_are_gone_leaves_nothing_behind(seat_there, tmp_path):
    submission = Submission(("there", "gone"), Request(JobClass(Shape(1, 100, 100))))
    job_folder(tmp_path, "there")
    with pytest.raises(OsgpilotError):
        seat_there.submit(submission)
    assert seat_there.find() == {}


def test_what_ended_while_snakemake_was_dead_is_fetched_and_not_run_again(remote, shared):
    remote.write_site({**REMOTE, "access_point": {"schedd": "ap.localpool", "poll_s": 3600}})
    remote.snakefile(COUNTED.format(place=shared, jobs=JOBS))
    first = remote.start(*resuming(shared))
    until(lambda: len(there("JobStatus == 4")) == 2, "two jobs whose outputs nobody has fetched")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not list(remote.folder.glob("out/*"))
    (shared / "go").touch()
    until(lambda: len(there("JobStatus == 4")) > 2, "more jobs that end with nobody there")
    remote.write_site(REMOTE)
    assert remote.run(*resuming(shared)) == 0, remote.said
    assert "resuming run" in remote.said
    assert (remote.folder / "sum").read_text().split() == [str(n) for n in range(JOBS)]
    assert executions(shared) == [str(n) for n in range(JOBS)]
    assert not jobs_there()


BUNDLED = 'regexp("[+].", OSGPilotJobKey)'


def test_bundles_end_while_snakemake_is_dead_and_are_fetched(remote, shared):
    of_each = BLOCKED.replace("rule one:\n", 'rule one:\n    input: "in/{{n}}"\n')
    of_each = of_each.replace(
        "echo {{wildcards.n}} > {{output}}", "tail -n 1 {{input}} > {{output}}"
    )
    (remote.folder / "in").mkdir()
    for n in range(SHORT_JOBS):
        # some are too large to be part of the job's own file
        (remote.folder / "in" / str(n)).write_text(f"{n}\n" * (100_000 if n % 3 == 0 else 1))
    remote.snakefile(of_each.format(place=shared, jobs=SHORT_JOBS))
    options = resuming(shared)
    first = remote.start(*options)
    until(lambda: len(there(f"{BUNDLED} && JobStatus == 2")) >= 2, "bundles that run")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (shared / "open").touch()
    until(lambda: not there(f"{BUNDLED} && JobStatus =!= 4"), "the end of the bundles")
    assert remote.run(*options) == 0, remote.said
    print(remote.said)
    ran = Counter((shared / "ran").read_text().split())
    assert set(ran.values()) == {1}, ran
    for n in range(SHORT_JOBS):
        assert (remote.folder / "out" / str(n)).read_text() == f"{n}\n"
    assert nothing_left()
    assert not jobs_there()


MANY = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))
rule one:
    output: "out/{{n}}"
    shell:
        "echo {{wildcards.n}} >> {place}/ran; sleep 0.5; "
        "while [ -e {place}/wait-{{wildcards.n}} ]; do sleep 0.2; done; "
        "echo {{wildcards.n}} > {{output}}"
"""
MANY_JOBS = 60
LATE = 20, 40, 59
"""Jobs that wait until they may end: however long a start of Snakemake takes, there is one more
output in each session, and one that is missing."""


def test_jobs_that_ended_just_before_a_kill_are_recorded_and_run_once(remote, shared):
    """Alone or in a bundle of which others are recorded, in the queue or removed from it."""
    remote.snakefile(MANY.format(place=shared, jobs=MANY_JOBS))

    def made() -> int:
        return len(list(remote.folder.glob("out/*")))

    waits = [shared / f"wait-{n}" for n in LATE]
    for wait in waits:
        wait.touch()
    for wait in (None, *waits[:-1]):
        before, process = made(), remote.start(*resuming(shared))
        if wait:
            wait.unlink()
        until(lambda before=before: made() > before, "outputs")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert made() < MANY_JOBS
    waits[-1].unlink()
    assert remote.run(*resuming(shared)) == 0, remote.said
    ran = Counter((shared / "ran").read_text().split())
    assert len(ran) == MANY_JOBS
    assert set(ran.values()) == {1}, ran
    assert "outputs cannot be fetched" not in remote.said
    recorded = json.loads((run_folder(remote) / "record.json").read_text())["rules"]["one"]
    assert (recorded["jobs"], recorded["done"]) == (MANY_JOBS, MANY_JOBS)
    assert recorded["core_h"] * 3600 > MANY_JOBS * 0.4
    assert not jobs_there()


SLOW_INPUT = """
rule all:
    input: storage.http("{url}/slow")
    output: "out"
    shell: "cp {{input}} {{output}}"
"""


@pytest.mark.parametrize(
    "site", [{**SITE, "condor": WATCHFUL}, REMOTE], ids=["this host", "another host"]
)
def test_a_job_whose_pilot_is_killed_before_its_command_begins_does_not_wait_for_its_lease(
    remote: Workflow, web: WebServer, site: dict[str, object]
) -> None:
    """The lease (600 s) is longer than the patience."""
    remote.write_site(site)
    remote.snakefile(SLOW_INPUT.format(url=web.url))
    (web.folder / "slow").write_text("came\n")
    web.open.clear()
    process = remote.start()
    until(lambda: web.begun or process.poll() is not None, "a pilot that fetches the input")
    (pilot,) = pilots_in_slurm()
    subprocess.run(["scancel", "--signal=KILL", "--full", pilot.split()[0]], check=True)
    web.open.set()
    assert process.wait(PATIENCE_S) == 0, remote.said
    assert (remote.folder / "out").read_text() == "came\n"
    assert web.begun == ["/slow", "/slow"]
    assert not jobs_there()
