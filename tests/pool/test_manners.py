"""Several users at one pool, and what its administrators allow."""

import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, Pool, until

MEET = "/home/meet"
"""A folder that all pilots see."""

WORKFLOW = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))

rule work:
    output: "out/{{n}}"
    shell: "{command}; touch {{output}}"
"""
LIMITS = "/etc/condor/config.d/99-limits.conf"


class Run:
    """A workflow of one user, in a folder of the user's own."""

    def __init__(self, pool: Pool, user: str, name: str, jobs: int, command: str = "true") -> None:
        self.pool, self.user, self.folder = pool, user, f"/home/{user}/{name}"
        pool.say("mkdir", self.folder, user=user)
        self._write("site.yaml", yaml.safe_dump({**SITE, "project": "TestProject"}))
        self._write("Snakefile", WORKFLOW.format(jobs=jobs, command=command))

    def _write(self, name: str, text: str) -> None:
        path = f"{self.folder}/{name}"
        done = self.pool.run("tee", path, user=self.user, stdin=text)
        assert done.returncode == 0, done.stderr

    def start(self, *extra: str) -> "subprocess.Popen[str]":
        argv = self.pool.argv(
            "python", "-m", "snakemake", "--executor", "osgpilot", "--jobs", "unlimited",
            "--shared-fs-usage", "none", "--osgpilot-site", "site.yaml",
            "--osgpilot-offload", "always", "--osgpilot-max-pilots", "1",
            "--default-resources", "mem_mb=500", "disk_mb=100",
            *extra, user=self.user, folder=self.folder,
        )  # fmt: skip
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )

    def places(self) -> list[tuple[str, str]]:
        """Run and pilot of every start of a job, from the run's event log."""
        found = self.pool.say(
            "sh", "-c", "cat .snakemake/osgpilot/*/jobs.log; basename .snakemake/osgpilot/*/",
            user=self.user, folder=self.folder,
        )  # fmt: skip
        run = found.splitlines()[-1]
        return [(run, pilot) for pilot in re.findall('OSGPILOT_PILOT_ID = "(.*)"', found)]


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said = process.communicate(timeout=PATIENCE_S)[0]
    return process.returncode, said


def test_two_users_of_a_project_never_run_on_each_others_pilots(pool: Pool):
    pool.say("install", "-d", "-m", "1777", MEET, user="root")
    wait = f"until [ -e {MEET}/go ]; do sleep 0.2; done"
    runs = [Run(pool, user, "isolated", 8, wait) for user in ("alice", "bob")]
    processes = [run.start("--osgpilot-shared-prefixes", MEET) for run in runs]
    running = ["condor_q", "-allusers", "-constraint", "JobStatus == 2", "-af", "Owner"]
    try:
        until(lambda: set(pool.say(*running).split()) == {"alice", "bob"}, 90, "jobs of both")
    finally:
        # jobs of both wait, and pilots of both become free again and again from now on
        pool.say("touch", f"{MEET}/go")
        ends = [end(process) for process in processes]
    for status, said in ends:
        assert status == 0, said
    for run in runs:
        places = run.places()
        assert len(places) == 8
        assert {pilot for _, pilot in places} == {f"osgpilot-{places[0][0]}-1"}


@pytest.fixture
def limits(pool: Pool) -> Iterator[object]:
    """Settings of the access point, as its administrators change them."""

    def write(text: str) -> None:
        done = pool.run("tee", LIMITS, user="root", stdin=f"{text}OSGPILOT_LIMITS = {hash(text)}\n")
        assert done.returncode == 0, done.stderr
        pool.say("condor_reconfig", user="root")
        known = ["condor_config_val", "-schedd", "OSGPILOT_LIMITS"]
        until(lambda: pool.run(*known).stdout.strip() == str(hash(text)), 60, "new settings")

    yield write
    pool.say("rm", "-f", LIMITS, user="root")
    pool.say("condor_reconfig", user="root")


def test_a_full_access_point_makes_jobs_wait_and_not_fail(pool: Pool, limits):
    limits("MAX_JOBS_PER_OWNER = 6\nMAX_JOBS_PER_SUBMISSION = 4\n")
    status, said = end(Run(pool, "alice", "full", 12).start("--osgpilot-bundle", "off"))
    assert status == 0, said
    assert said.count("the access point accepts no more jobs of yours") == 1
    assert said.count("the access point has room for all jobs again") <= 1


def test_a_rule_of_the_administrators_is_reported_in_their_words(pool: Pool, limits):
    limits(
        "SUBMIT_REQUIREMENT_NAMES = Known\n"
        'SUBMIT_REQUIREMENT_Known = ProjectName == "Another"\n'
        'SUBMIT_REQUIREMENT_Known_REASON = "TestProject is over; renew it"\n'
    )
    status, said = end(Run(pool, "alice", "refused", 1).start())
    assert status == 1
    assert "administrators refuses it: TestProject is over; renew it" in said
    assert "Traceback" not in said


def test_a_project_that_the_access_point_changes_is_reported_before_jobs_wait_indefinitely(
    pool: Pool, limits
):
    rewrite = 'JOB_TRANSFORM_Own @=end\nSET ProjectName "Another"\n@end\n'
    limits(f"JOB_TRANSFORM_NAMES = Own\n{rewrite}")
    status, said = end(Run(pool, "alice", "changed", 2).start())
    assert status == 1
    assert "it changes ProjectName of jobs from 'TestProject' to 'Another'" in said
    assert pool.say("condor_q", "-allusers", "-af", "ClusterId") == ""
