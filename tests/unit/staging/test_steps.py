"""Steps of a job, run by the real scripts: members of a group, and benchmarks."""

import os
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.staging import benchmarks
from snakemake_executor_plugin_osgpilot.staging import failure_message as failure
from snakemake_executor_plugin_osgpilot.staging.payload import Payload
from snakemake_executor_plugin_osgpilot.staging.returned_files import JobFailedError
from snakemake_executor_plugin_osgpilot.staging.steps import Schedule, Step
from unit.staging.test_payload import STRICT, Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def step(command, crew, **given):
    commands = command if isinstance(command, tuple) else (command,)
    texts = tuple(f"{STRICT}{each}\n" for each in commands)
    return Step(f"rule r{crew}", "bash", texts, crew, **given)


def group(*steps, cores=4, outputs=(), **lists):
    schedule = Schedule((cores, 1000, 0), steps)
    lists = {"inputs": (), "logs": (), **lists}
    return Payload((), "bash", outputs=outputs, schedule=schedule, **lists)


def numbered(*commands, **given):
    return [step(command, number, **given) for number, command in enumerate(commands)]


MEET = "touch at.{me}; for n in $(seq 200); do [ -e at.{you} ] && exit 0; sleep 0.05; done; exit 9"
"""Succeeds only if the other one runs at the same time."""


def test_members_of_one_level_run_at_the_same_time(bench):
    steps = numbered(MEET.format(me=1, you=2), MEET.format(me=2, you=1))
    assert bench.execute(group(*steps)) == 0


ALONE = "mkdir alone; sleep 0.2; rmdir alone"
"""Fails if another one runs at the same time."""


@pytest.mark.parametrize("needs", [(3, 0, 0), (1, 600, 0)])
def test_no_more_members_run_than_cores_and_memory_allow(bench, needs):
    assert bench.execute(group(*numbered(ALONE, ALONE, ALONE, needs=needs))) == 0


def test_a_member_that_asks_for_more_than_there_is_runs_alone(bench):
    assert bench.execute(group(*numbered(ALONE, ALONE, needs=(9, 0, 0)))) == 0


def test_members_wait_for_those_before_them(bench):
    steps = (
        step("sleep 0.3; echo 1 > a", 0),
        step("cat a > b", 1, after=(0,)),
        step("cat a b > c", 2, after=(0, 1)),
    )
    payload = group(*steps, outputs=("c",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "c").read_text() == "1\n1\n"


def test_after_a_failure_nothing_more_starts_and_what_runs_continues(bench):
    steps = (
        step("echo why > bad.log; exit 3", 0),
        step("sleep 0.5; echo end > slow.log", 1),
        step("touch never", 2, after=(0,)),
    )
    payload = group(*steps, logs=("bad.log", "slow.log"))
    assert bench.execute(payload) == 3
    assert "rule r0 failed with exit status 3" in failure.output_tail(bench.job, Redactor())
    with pytest.raises(JobFailedError):
        bench.commit(payload)
    assert (bench.workdir / "bad.log").read_text() == "why\n"
    assert (bench.workdir / "slow.log").read_text() == "end\n"
    assert not (bench.node / "never").exists()


@pytest.mark.parametrize("whom", ["$$", "$PPID $$"])
def test_a_member_that_is_killed_fails(bench, whom):
    assert bench.execute(group(*numbered(f"kill -KILL {whom}", "true"))) == 128 + 9


def test_a_member_has_to_make_its_outputs(bench):
    steps = (step("true", 0, wanted=("a",)), step("touch b", 1, after=(0,)))
    assert bench.execute(group(*steps)) == 1
    assert "rule r0: the command succeeded but did not make a" in failure.output_tail(
        bench.job, Redactor()
    )
    assert not (bench.node / "b").exists()


def test_a_folder_that_a_member_does_not_make_is_named(bench):
    stamp = "a/.snakemake_timestamp"
    steps = [step("true", 0, touched=(stamp,), wanted=("a",))]
    assert bench.execute(group(*steps, outputs=("a",), folders=("a",))) == 1
    assert "did not make a" in failure.output_tail(bench.job, Redactor())


def test_temporary_files_go_as_soon_as_they_are_used_up(bench):
    steps = (
        step("echo 1 > big", 0, uses=("big",)),
        step("cat big > one", 1, after=(0,), uses=("big",)),
        step("cat big > two", 2, after=(0,), uses=("big",)),
        step("[ ! -e big ]; cat one two > sum", 3, after=(1, 2)),
    )
    payload = group(*steps, outputs=("sum",), internal=("big",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "sum").read_text() == "1\n1\n"


def test_touched_files_are_there_for_the_members_after(bench):
    steps = (step("true", 0, touched=("flag",)), step("cp flag out", 1, after=(0,)))
    assert bench.execute(group(*steps, outputs=("flag", "out"))) == 0


def test_a_pipe_joins_members_that_run_at_the_same_time(bench):
    steps = (
        step("seq 50000 > stream", 0, pipes=("stream",), uses=("stream",)),
        step("[ -p stream ]; wc -l < stream > out", 0, uses=("stream",)),
    )
    payload = group(*steps, cores=1, outputs=("out",), internal=("stream",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "out").read_text().strip() == "50000"
    assert not (bench.node / "stream").exists()


def test_if_one_end_of_a_pipe_fails_the_other_is_killed(bench):
    steps = (
        step("exec 3> stream; sleep 1000", 0, pipes=("stream",)),
        step("exit 7", 0),
    )
    assert bench.execute(group(*steps)) == 7


def test_a_user_of_a_service_starts_when_its_file_is_there(bench):
    steps = (
        step("sleep 0.5; ln -s /dev/null port; sleep 60", 0, service=True),
        step("[ -L port ]; touch used", 0, awaited=("port",)),
    )
    assert bench.execute(group(*steps)) == 0


def test_a_failure_ends_the_wait_for_a_service(bench):
    steps = (
        step("sleep 60", 0, service=True),
        step("true", 0, awaited=("port",)),
        step("sleep 0.3; exit 3", 0),
    )
    assert bench.execute(group(*steps)) == 3


def test_a_service_ends_when_those_who_use_it_have(bench):
    steps = (
        step("trap 'echo bye > said; exit 1' TERM; echo $$ > pid; while :; do sleep 0.1; done", 0,
             service=True, uses=("pid",)),
        step("until [ -s pid ]; do sleep 0.05; done; cp pid out", 0, uses=("pid",)),
        step("cat said > after", 2, after=(0, 1)),
    )  # fmt: skip
    payload = group(*steps, outputs=("out", "after"), internal=("pid",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "after").read_text() == "bye\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((bench.workdir / "out").read_text()), 0)


@pytest.mark.parametrize("shadow", ["minimal", "copy-minimal", "shallow", "full"])
def test_members_with_a_shadow_do_not_see_each_others_litter(bench, shadow):
    (bench.workdir / "in").mkdir()
    (bench.workdir / "in/x y").write_text("x\n")
    steps = [
        step(
            f"[ ! -e litter ]; touch litter {bench.node}/at.{me}; "
            f"for n in $(seq 200); do [ -e {bench.node}/at.{you} ] && break; sleep 0.05; done; "
            f"cat 'in/x y' > deep/out{me}",
            me, shadow=shadow, given=("in/x y",), made=(f"deep/out{me}",),
        )
        for me, you in ((0, 1), (1, 0))
    ]  # fmt: skip
    payload = group(*steps, outputs=("deep/out0", "deep/out1"), inputs=("in/x y",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "deep/out0").read_text() == "x\n"
    assert (bench.workdir / "deep/out1").read_text() == "x\n"
    assert not (bench.node / "litter").exists()


def measured(*commands):
    return group(step(tuple(commands), 0, measured=True), benchmarks=((0, "b.tsv"),))


def rows(bench, payload, path="b.tsv"):
    resources = {"mem_mb": 5}
    job = SimpleNamespace(
        is_group=lambda: False, jobid=1, wildcards={"w": "v"}, params={}, resources=resources,
        threads=1, input=(), rule=SimpleNamespace(name="r"),
    )  # fmt: skip
    ((_, text),) = benchmarks.texts(job, ((0, path),), bench.job, extended=False)
    header, *lines = text.splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


BUSY = """python3 -c '
import time
held = bytearray(200_000_000)
end = time.process_time() + 2
while time.process_time() < end: pass
time.sleep(3)'"""


def test_a_benchmark_measures_the_whole_tree_of_processes(bench):
    payload = measured(BUSY)
    assert bench.execute(payload) == 0
    (row,) = rows(bench, payload)
    assert 190 < float(row["max_rss"]) < 240
    assert 190 < float(row["max_uss"]) <= float(row["max_pss"]) <= float(row["max_rss"])
    assert float(row["max_vms"]) > 200
    assert 1.5 < float(row["cpu_time"]) <= 2.5
    assert float(row["s"]) >= 5
    assert 0 < float(row["mean_load"]) < 110


def test_a_benchmark_is_repeated(bench):
    payload = measured("echo 0 >> out", "echo 1 >> out", "echo 2 >> out")
    assert bench.execute(payload) == 0
    assert (bench.node / "out").read_text() == "0\n1\n2\n"
    found = rows(bench, payload)
    assert len(found) == 3
    assert all(float(row["max_rss"]) > 0 for row in found)


def test_a_benchmark_of_a_failed_command_ends_at_once(bench):
    assert bench.execute(measured("exit 4", "touch never")) == 4
    assert not (bench.node / "never").exists()


@pytest.mark.parametrize("text", ["", "x", "1 2 3\n", "1 " + "9" * 30, "-1 \n"])
def test_what_did_not_come_from_the_sampler_is_no_benchmark(bench, text):
    (bench.job / "osgpilot-out").mkdir(parents=True)
    (bench.job / "osgpilot-out" / f"{benchmarks.MEASURED}0").write_text(text)
    with pytest.raises(JobFailedError, match=r"benchmark b\.tsv cannot be read"):
        rows(bench, None)


def test_a_group_of_many_members_runs(bench):
    steps = [
        *numbered(*(f"echo {n} > part{n}" for n in range(300))),
        step("cat part* | wc -l > out", 300, after=tuple(range(300))),
    ]
    payload = group(*steps, outputs=("out",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "out").read_text().strip() == "300"
