"""Inputs that several jobs have: which are shared, and how a job gets its own copy."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.job import SharedFile
from snakemake_executor_plugin_osgpilot.staging import job_archive
from snakemake_executor_plugin_osgpilot.staging.payload import Payload, tops
from snakemake_executor_plugin_osgpilot.staging.places import source_of
from snakemake_executor_plugin_osgpilot.staging.shared_inputs import (
    LIST,
    PER_JOB_MAX,
    USERS_MIN,
    Found,
    Sharing,
    files,
    look,
    read_list,
    worth_sharing,
)

BIG = 1000
MANY = USERS_MIN + 1


def found(size_bytes=BIG, *, is_plain=True):
    return Found("digest", size_bytes, 0o644, is_plain)


@pytest.mark.parametrize(
    ("each", "users", "least_bytes", "is_shared"),
    [
        (found(), MANY, BIG, True),
        (found(), USERS_MIN, BIG, True),
        (found(), USERS_MIN - 1, BIG, False),
        (found(BIG - 1), MANY, BIG, False),
        (found(is_plain=False), MANY, BIG, False),
        (found(), MANY, None, False),
    ],
)
def test_inputs_are_shared_by_size_and_number_of_users(each, users, least_bytes, is_shared):
    chosen = worth_sharing({"a": each}, {"a": users}, least_bytes)
    assert chosen == (["a"] if is_shared else [])


def test_the_largest_inputs_of_a_job_are_shared_in_its_order():
    many = {f"{n:02}": found(BIG + n) for n in range(PER_JOB_MAX + 3)}
    chosen = worth_sharing(many, dict.fromkeys(many, MANY), BIG)
    assert chosen == list(many)[3:]


@dataclass
class Job:
    """A Snakemake job, as far as sharing looks at it."""

    input: list[str] = field(default_factory=list)


class Bench:
    def __init__(self, root: Path) -> None:
        self.workdir, self.node = root / "work", root / "node"
        self.run = self.workdir / "run"
        self.run.mkdir(parents=True)
        (self.workdir / "index/deep").mkdir(parents=True)
        (self.workdir / "index/deep/data").write_bytes(os.urandom(BIG * 100))
        (self.workdir / "index/link").symlink_to("deep/data")
        (self.workdir / "genome").write_bytes(os.urandom(BIG * 100))
        (self.workdir / "genome").chmod(0o750)
        os.utime(self.workdir / "genome", (1, 1))
        self.sharing = Sharing(BIG, self.workdir)
        self.sharing.count(Job(["genome", "index", f"own{n}"]) for n in range(MANY))

    def pack(self, command: str, *inputs: str, shares: bool = True) -> job_archive.JobArchive:
        payload = Payload((f"set -e\n{command}\n",), "bash", inputs, ("out",), ())
        sources = {path: source_of(path, self.workdir) for path in tops(inputs)} if shares else {}
        return job_archive.pack(payload, self.run, self.workdir, self.sharing.of(sources))

    def execute(self, archive: job_archive.JobArchive, key: str = "1") -> str:
        """Run a job as HTCondor does, which links what is common into its folder."""
        job, node = self.run / "jobs" / key, self.node / key
        archive.write(job)
        staged = self.node / "staged"
        staged.mkdir(exist_ok=True)
        for each in archive.shared:
            if not (staged / each.name).exists():
                at = self.run / "jobs/shared" / each.name
                subprocess.run(["cp", "-rL", at, staged], check=True)
                subprocess.run(["chmod", "-R", "a-w,a-x+X", staged / each.name], check=True)
        subprocess.run(["cp", "-rL", job / "osgpilot-in", node], check=True)
        for each in archive.shared:
            subprocess.run(["cp", "-rl", staged / each.name, node], check=True)
            if (node / each.name).is_dir():
                subprocess.run(
                    ["find", node / each.name, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"],
                    check=True,
                )
        done = subprocess.run(
            ["/bin/bash", "osgpilot-job"], cwd=node, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return (node / "osgpilot-out/out").read_text()


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "node").mkdir()
    return Bench(tmp_path)


CARELESS = (
    "cat genome index/deep/data index/link | cksum > out; stat -c '%a %h' genome >> out;"
    "echo more >> genome; echo more >> index/deep/data; rm -r index; touch genome"
)


def test_each_job_has_a_copy_of_its_own(bench):
    archive = bench.pack(CARELESS, "genome", "index")
    assert [each.path for each in archive.shared] == ["genome", "index"]
    assert archive.linked == {}
    first = bench.execute(archive, "1")
    assert first == bench.execute(archive, "2")
    assert first.endswith("750 1\n")
    assert not list(bench.node.glob("1/osgpilot_*"))


def test_a_copy_keeps_its_time_so_that_an_index_beside_it_is_newer(bench):
    (bench.workdir / "index.small").write_text("small")
    archive = bench.pack("[ index.small -nt genome ] && echo newer > out", "genome", "index.small")
    assert bench.execute(archive) == "newer\n"


def test_a_file_below_a_shared_folder_does_not_travel_again(bench):
    archive = bench.pack("cksum < index/deep/data > out", "index/deep/data", "index")
    assert [each.path for each in archive.shared] == ["index"]
    assert archive.linked == {}
    bench.execute(archive)


def test_an_absolute_input_is_shared_too(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(bench.workdir)
    far = tmp_path / "far"
    far.write_bytes(os.urandom(BIG * 100))
    bench.sharing.count(Job(["../far"]) for _ in range(MANY))
    archive = bench.pack("cksum < ../far > out", f"osgpilot-root{far}")
    assert [each.source for each in archive.shared] == [far]
    bench.execute(archive)


def test_a_job_is_the_same_whether_its_inputs_are_shared_or_not(bench):
    """Else a resumed run would submit jobs again, whose inputs have fewer users by then."""
    shared, alone = (bench.pack("true", "genome", "index", shares=s) for s in (True, False))
    assert shared.shared
    assert not alone.shared
    assert shared.digest == alone.digest


def test_an_input_has_a_name_that_htcondor_can_have_and_people_know(bench):
    odd = bench.workdir / "it's the (big) genome, $HOME.fa"
    odd.write_bytes(os.urandom(BIG * 100))
    bench.sharing.count(Job([odd.name]) for _ in range(MANY))
    (each,) = bench.pack('cksum < "it\'s the (big) genome, \\$HOME.fa" > out', odd.name).shared
    assert re.fullmatch("osgpilot_[0-9a-f]{24}_it_s_the_big_genome_HOME", each.name)
    assert len(each.name) <= 64


def test_a_changed_input_has_another_name(bench):
    (before,) = bench.pack("true", "genome").shared
    os.utime(bench.workdir / "genome", (2, 2))
    (after,) = bench.pack("true", "genome").shared
    assert before.name != after.name


def test_a_folder_with_programs_is_not_shared(bench):
    (bench.workdir / "index/deep/data").chmod(0o755)
    assert not look(bench.workdir / "index").is_plain
    assert bench.pack("true", "index").shared == ()


def test_later_sessions_know_what_a_job_shares(bench):
    archive = bench.pack("true", "genome")
    archive.write(bench.run / "jobs/1")
    assert read_list(bench.run / "jobs/1" / LIST) == files(archive.shared)
    assert files(archive.shared) == (SharedFile(archive.shared[0].name, BIG * 100),)
    assert read_list(bench.run / "jobs/2" / LIST) == ()


def test_links_that_a_kill_left_half_made_are_made_again(bench):
    archive = bench.pack("cksum < index/deep/data > out", "index")
    half = bench.run / "jobs/shared" / f".{archive.shared[0].name}"
    half.mkdir(parents=True)
    (half / "deep").write_text("half")
    bench.execute(archive)


def test_totals_count_each_shared_input_once_and_the_others_with_each_job(bench):
    (bench.workdir / "own1").write_bytes(b"x" * 50)
    genome, own = bench.workdir / "genome", bench.workdir / "own1"
    jobs = [{"genome": genome}] * MANY + [{"genome": genome, "own1": own, "no": own / "gone"}]
    totals = bench.sharing.totals(jobs)
    assert totals == (BIG * 100 * (MANY + 1) + 50, 50, 1, BIG * 100)
    assert totals.sent_bytes(pilots=2) == BIG * 200 + 50
    assert Sharing(None, bench.workdir).totals(jobs)[1:] == (totals.every_bytes, 0, 0)
