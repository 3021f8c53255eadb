"""Files that travel with a job, its run by wrapper.sh, and the commit of its outputs.

The wrapper runs for real, in an empty folder that holds what HTCondor would have brought.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.jobs.state.job import NODE_AT_FAULT
from snakemake_executor_plugin_osgpilot.staging import commit_outputs as commit
from snakemake_executor_plugin_osgpilot.staging import failure_message as failure
from snakemake_executor_plugin_osgpilot.staging import job_archive as stage
from snakemake_executor_plugin_osgpilot.staging import snakemake_modules as modules
from snakemake_executor_plugin_osgpilot.staging import symlinks as links
from snakemake_executor_plugin_osgpilot.staging import workflow_sources as sources
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, TMPDIR, Payload, exports
from snakemake_executor_plugin_osgpilot.staging.returned_files import (
    MANIFEST,
    TAKEN,
    IncompleteOutputError,
    JobFailedError,
)
from snakemake_executor_plugin_osgpilot.staging.usage import TIMES, parse, spent

STRICT = "set -euo pipefail; "


class Bench:
    """A working folder, a run folder and a stand-in for HTCondor's file transfer."""

    def __init__(self, root: Path) -> None:
        self.workdir, self.run = root / "work", root / "work" / ".snakemake" / "run"
        self.run.mkdir(parents=True)
        self.job = self.run / "jobs" / "000001"
        self.node = root / "node"

    def bundle(self, *names: str) -> None:
        sources.bundle_sources(self.run / sources.WITHOUT_SNAKEFILES, names, self.workdir)

    def execute(self, payload: Payload) -> int:
        stage.pack(payload, self.run, self.workdir).write(self.job)
        return self.run_there()

    def run_there(self) -> int:
        shutil.copytree(self.job / "osgpilot-in", self.node)
        with (self.job / "output").open("w") as said:
            done = subprocess.run(
                ["/bin/bash", "osgpilot-job"],
                cwd=self.node,
                stdout=said,
                stderr=said,
                timeout=60,
                check=False,
            )
        shutil.copytree(self.node / "osgpilot-out", self.job / "osgpilot-out", symlinks=True)
        self.status = done.returncode
        return self.status

    def commit(self, payload: Payload) -> None:
        commit.commit(payload, self.job, self.workdir, self.status)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def job(command, **files):
    lists = {"inputs": (), "outputs": (), "logs": (), **files}
    return Payload((STRICT + command + "\n",), "bash", **lists)


def test_inputs_are_sent_and_outputs_returned(bench):
    (bench.workdir / "data").mkdir()
    (bench.workdir / "data" / "in.txt").write_text("hello")
    payload = job(
        "tr a-z A-Z < data/in.txt > deep/er/out.txt; echo note > logs/x.log",
        inputs=("data/in.txt",),
        outputs=("deep/er/out.txt",),
        logs=("logs/x.log",),
    )
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "deep/er/out.txt").read_text() == "HELLO"
    assert (bench.workdir / "logs/x.log").read_text() == "note\n"


def test_a_job_killed_with_its_pilot_may_run_again(bench):
    """HTCondor's starter can outlive what it has started, by long enough to report its end."""
    payload = job("echo half > out.txt; kill -KILL $PPID; sleep 0.1", outputs=("out.txt",))
    assert bench.execute(payload) == -signal.SIGKILL
    bench.status = 128 + signal.SIGKILL
    with pytest.raises(IncompleteOutputError, match=r"killed from outside \(exit status 137\)"):
        bench.commit(payload)


@pytest.mark.parametrize("home", [None, "/proc/self"])
def test_a_job_can_write_into_its_home(bench, monkeypatch, home):
    monkeypatch.delenv("HOME")
    if home:
        monkeypatch.setenv("HOME", home)
    payload = job("mkdir ~/.config && echo settings > ~/.config/x && cat ~/.config/x > out.txt",
                  outputs=("out.txt",))  # fmt: skip
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "out.txt").read_text() == "settings\n"


def test_a_home_that_is_there_stays(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    payload = job("echo $HOME > out.txt", outputs=("out.txt",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "out.txt").read_text() == f"{tmp_path}\n"


def test_a_command_that_is_killed_alone_fails(bench):
    """It may have taken too much memory of the node."""
    payload = job("kill -KILL $$", outputs=("out.txt",))
    assert bench.execute(payload) == 128 + signal.SIGKILL
    with pytest.raises(JobFailedError, match="exit status 137"):
        bench.commit(payload)


def on_a_disk_with(bench, monkeypatch, free_mb):
    tools = bench.run / "tools"
    tools.mkdir()
    free_kb = free_mb * 1024
    (tools / "df").write_text(f"#!/bin/sh\necho; echo /dev/a 9 9 {free_kb} 99% /\n")
    (tools / "sleep").write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def test_a_command_that_fails_on_a_full_disk_runs_again(bench, monkeypatch):
    on_a_disk_with(bench, monkeypatch, 255)
    payload = job("exit 3", outputs=("out.txt",))
    assert bench.execute(payload) == NODE_AT_FAULT
    with pytest.raises(IncompleteOutputError, match="because the node's disk was full"):
        bench.commit(payload)


def test_a_job_that_cannot_be_unpacked_on_a_full_disk_runs_again(bench, monkeypatch):
    on_a_disk_with(bench, monkeypatch, 0)
    payload = replace(job("true"), interpreter="no-such-interpreter")
    assert bench.execute(payload) == NODE_AT_FAULT
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)


def test_a_command_that_fails_with_free_disk_space_fails_for_good(bench, monkeypatch):
    on_a_disk_with(bench, monkeypatch, 256)
    payload = job(f"exit {NODE_AT_FAULT}")
    assert bench.execute(payload) == NODE_AT_FAULT
    with pytest.raises(JobFailedError, match=f"exit status {NODE_AT_FAULT}"):
        bench.commit(payload)


def test_a_command_that_succeeds_on_a_full_disk_succeeds(bench, monkeypatch):
    on_a_disk_with(bench, monkeypatch, 1)
    payload = job("echo 1 > out.txt", outputs=("out.txt",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "out.txt").read_text() == "1\n"


def test_a_container_that_fails_to_start_is_not_a_kill(bench):
    payload = job("true")
    bench.execute(payload)
    (bench.job / "osgpilot-out" / TIMES).unlink()
    bench.status = 255
    with pytest.raises(JobFailedError, match="exit status 255"):
        bench.commit(payload)


def test_a_missing_interpreter_is_a_failure(bench):
    payload = replace(job("true"), interpreter="no-such-interpreter")
    assert bench.execute(payload) == 125
    with pytest.raises(JobFailedError, match="exit status 125"):
        bench.commit(payload)


def test_a_failed_command_returns_its_log_but_no_output(bench):
    payload = job(
        "echo half > out.txt; echo why | tee x.log >&2; exit 3",
        outputs=("out.txt",),
        logs=("x.log",),
    )
    assert bench.execute(payload) == 3
    with pytest.raises(JobFailedError, match="exit status 3"):
        bench.commit(payload)
    assert not (bench.workdir / "out.txt").exists()
    assert (bench.workdir / "x.log").read_text() == "why\n"
    assert failure.output_tail(bench.job, Redactor()) == "why"


@pytest.mark.parametrize("command", ["false | cat", 'echo "$NOT_SET"', "false; true"])
def test_commands_run_in_the_strict_mode_of_snakemake(bench, command):
    assert bench.execute(job(command)) != 0


def test_a_missing_output_is_an_error_and_keeps_old_files(bench):
    (bench.workdir / "a.txt").write_text("old")
    payload = job("echo new > a.txt", outputs=("a.txt", "b.txt"))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match=r"did not make b\.txt"):
        bench.commit(payload)
    assert (bench.workdir / "a.txt").read_text() == "old"


def test_an_old_output_is_replaced(bench):
    (bench.workdir / "a.txt").write_text("old")
    payload = job("echo new > a.txt", outputs=("a.txt",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "a.txt").read_text() == "new\n"


def test_empty_files_folders_and_links_are_returned(bench):
    payload = job(
        "touch empty; mkdir folder; echo 1 > folder/one; ln -s folder/one link; chmod +x empty",
        outputs=("empty", "folder", "link"),
        folders=("folder",),
    )
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "empty").stat().st_size == 0
    assert os.access(bench.workdir / "empty", os.X_OK)
    assert (bench.workdir / "folder/one").read_text() == "1\n"
    assert (bench.workdir / "link").is_symlink()


def test_touched_outputs_exist_by_declaration(bench):
    payload = job("true", outputs=("done",), touched=("done",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "done").exists()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [("true", "did not make folder"), ("touch folder", "folder is declared as directory")],
)
def test_a_folder_that_the_command_did_not_make_is_named(bench, command, complaint):
    payload = job(
        command,
        outputs=("folder",),
        folders=("folder",),
        touched=("folder/.snakemake_timestamp",),
    )
    bench.execute(payload)
    assert (bench.job / "output").read_text() == ""
    with pytest.raises(JobFailedError, match=complaint):
        bench.commit(payload)


def test_special_characters_in_names_are_preserved(bench):
    name = "a b/$(touch pwned) 'q' \"d\", ü;#%s\n.txt"
    (bench.workdir / "a b").mkdir()
    (bench.workdir / name).write_text("x")
    payload = job("true", inputs=(name,), outputs=(name,))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / name).read_text() == "x"
    assert not list(bench.node.glob("**/pwned"))


def test_a_long_command_works(bench):
    payload = job(f"echo {'x' * 300_000} | wc -c > n", outputs=("n",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "n").read_text().strip() == "300001"


def test_members_of_a_group_run_in_order_and_stop_at_the_first_failure(bench):
    payload = Payload(
        (STRICT + "echo 1 > a\n", STRICT + "cat a; false\n", STRICT + "touch c\n"),
        "bash", (), ("a", "c"), (),
    )  # fmt: skip
    assert bench.execute(payload) == 1
    assert not (bench.node / "c").exists()


def test_internal_files_of_a_group_do_not_return(bench):
    payload = Payload(
        (STRICT + "echo 1 > tmp/a\n", STRICT + "cp tmp/a b\n"),
        "bash", (), ("b",), (), internal=("tmp/a",),
    )  # fmt: skip
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "b").read_text() == "1\n"
    assert not (bench.workdir / "tmp").exists()


def test_small_inputs_and_sources_travel_in_the_jobs_own_file(bench):
    (bench.workdir / "data").mkdir()
    (bench.workdir / "data" / "small").write_text("s")
    (bench.workdir / "tool.sh").write_text("cat data/small")
    bench.bundle("tool.sh")
    payload = job("bash tool.sh > out", inputs=("data/small",), outputs=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert [path.name for path in (bench.job / "osgpilot-in").iterdir()] == ["osgpilot-job"]
    assert (bench.workdir / "out").read_text() == "s"


def test_large_inputs_travel_as_links_and_stay_executable(bench):
    (bench.workdir / "big").write_bytes(b"x" * (stage.PACKED_MAX_BYTES + 1))
    (bench.workdir / "tool").write_text("#!/bin/sh\nwc -c < big")
    (bench.workdir / "tool").chmod(0o755)
    payload = job("./tool > out", inputs=("big", "tool"), outputs=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.job / "osgpilot-in" / "big").is_symlink()
    assert int((bench.workdir / "out").read_text()) == stage.PACKED_MAX_BYTES + 1


def test_input_folders_travel_with_their_content(bench):
    (bench.workdir / "db" / "sub").mkdir(parents=True)
    (bench.workdir / "db" / "sub" / "x").write_text("42")
    payload = job("cp db/sub/x out", inputs=("db",), outputs=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").read_text() == "42"


def test_sources_are_packed_once_and_unpacked_there(bench):
    (bench.workdir / "scripts").mkdir()
    (bench.workdir / "scripts" / "hi.sh").write_text("echo hi > $1")
    sources.bundle_sources(
        bench.run / sources.WITHOUT_SNAKEFILES,
        ["scripts/hi.sh", "../outside", "gone"],
        bench.workdir,
    )
    payload = job("bash scripts/hi.sh out", outputs=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").read_text() == "hi\n"


@pytest.mark.parametrize("size", [10, stage.PACKED_MAX_BYTES])
def test_modules_of_snakemake_travel_beside_inputs_of_any_size(bench, size):
    (bench.workdir / "in").write_bytes(b"x" * size)
    (bench.workdir / "helper.py").write_text("NUMBER = 3\n")
    bench.bundle("helper.py")
    modules.write_modules(bench.run)
    for inputs in (("in",), ()):
        payload = job(
            f"ls {modules.MODULES} helper.py {' '.join(inputs)} > out",
            inputs=inputs,
            outputs=("out",),
        )
        payload = replace(payload, modules=())
        assert bench.execute(payload) == 0
        bench.commit(payload)
        sent = {path.name for path in (bench.job / "osgpilot-in").iterdir()}
        # a second file would delay the start of the job
        assert sent == {"osgpilot-job"} or (inputs and size > 10)
        shutil.rmtree(bench.job)
        shutil.rmtree(bench.node)
    assert stage.pack(job("true"), bench.run, bench.workdir).linked == {}


def test_a_missing_input_is_named_before_anything_is_sent(bench):
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        stage.pack(job("true", inputs=("nowhere.txt",)), bench.run, bench.workdir).write(bench.job)


def test_a_missing_shell_is_named(bench):
    payload = Payload(("true\n",), "no-such-shell", (), (), ())
    assert bench.execute(payload) == 125
    assert "no-such-shell" in failure.output_tail(bench.job, Redactor())


def test_protected_outputs_are_write_protected(bench):
    payload = Payload(("echo x > out",), "bash", (), ("out",), (), protected=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").stat().st_mode & 0o222 == 0


def test_the_environment_reaches_the_command_and_is_private_on_the_way(bench):
    secret = 'it\'s $(touch pwned) `id` "x"\n\\ ü'
    payload = Payload((exports({"SECRET": secret}) + 'printf %s "$SECRET" > out',),
                      "bash", (), ("out",), ())  # fmt: skip
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").read_text() == secret
    assert (bench.job / "osgpilot-in" / "osgpilot-job").stat().st_mode & 0o077 == 0
    assert (bench.node / "osgpilot-script").stat().st_mode & 0o077 == 0


def refuse_to_place(monkeypatch, name):
    """Have the rename to this path fail, as on a disk with a fault."""
    rename = Path.rename

    def broken(self, target):
        if Path(target).name == name:
            raise OSError(errno.EIO, "Input/output error", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)


TWO = ("a", "sub/b")


def made(bench):
    command = "echo 1 > a; echo 22 > sub/b; mkdir c; echo 333 > 'c/x\n y'"
    payload = job(command, outputs=(*TWO, "c"), folders=("c",))
    assert bench.execute(payload) == 0
    return payload, bench.job / "osgpilot-out"


def test_all_outputs_are_committed_or_none(bench, monkeypatch):
    payload, _ = made(bench)
    (bench.workdir / "a").write_text("old")
    refuse_to_place(monkeypatch, "b")
    with pytest.raises(JobFailedError, match="cannot put the outputs in place"):
        bench.commit(payload)
    assert (bench.workdir / "a").read_text() == "old"
    assert not (bench.workdir / "sub/b").exists()
    monkeypatch.undo()
    bench.commit(payload)
    assert (bench.workdir / "a").read_text() == "1\n"
    assert (bench.workdir / "c/x\n y").read_text() == "333\n"


@pytest.mark.parametrize("cut", ["a", "c/x\n y"])
def test_a_truncated_file_is_detected(bench, cut):
    payload, back = made(bench)
    os.truncate(back / cut, 1)
    with pytest.raises(IncompleteOutputError, match="did not come back complete"):
        bench.commit(payload)
    assert not (bench.workdir / "a").exists()


@pytest.mark.parametrize("lost", ["sub/b", "c/x\n y", MANIFEST])
def test_a_file_that_was_not_returned_is_detected(bench, lost):
    payload, back = made(bench)
    (back / lost).unlink()
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)
    assert not (bench.workdir / "a").exists()


def test_a_truncated_manifest_is_detected(bench):
    payload, back = made(bench)
    os.truncate(back / MANIFEST, 5)
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)


def test_a_job_without_manifest_may_run_again(bench):
    """As on a node whose disk is full."""
    made = job(
        f"echo x > a; rm osgpilot-out/{MANIFEST}; mkdir osgpilot-out/{MANIFEST}", outputs=("a",)
    )
    assert bench.execute(made) == 0
    assert "cannot list the outputs" in (bench.job / "output").read_text()
    with pytest.raises(IncompleteOutputError):
        bench.commit(made)


def test_files_of_an_earlier_attempt_are_no_outputs(bench):
    payload = job("true", outputs=("a",))
    bench.execute(payload)
    (bench.job / "osgpilot-out/a").write_text("half of it")
    with pytest.raises(JobFailedError, match="did not make a"):
        bench.commit(payload)
    assert not (bench.workdir / "a").exists()


def test_many_files_are_listed(bench):
    payload = job("mkdir d; touch d/{1..1201}", outputs=("d",), folders=("d",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert len(list((bench.workdir / "d").iterdir())) == 1201


def test_an_input_that_did_not_arrive_fails_the_job_with_its_name(bench):
    (bench.workdir / "big").write_bytes(b"x" * 100_000)
    payload = job("touch a", inputs=("big",), outputs=("a",))
    stage.pack(payload, bench.run, bench.workdir).write(bench.job)
    shutil.copytree(bench.job / "osgpilot-in", bench.node)
    (bench.node / "big").unlink()
    done = subprocess.run(
        ["/bin/bash", "osgpilot-job"], cwd=bench.node, capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert "the input big did not arrive" in done.stderr
    assert (bench.node / "osgpilot-out").is_dir()


def links_in(folder: Path) -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in folder.iterdir() if path.is_symlink()}


def test_links_among_outputs_stay_links(bench):
    (bench.workdir / "in").write_text("i")
    payload = job(
        'mkdir -p d/e; echo x > x; ln -s x rel; ln -s "$PWD/x" abs; ln -s ../in back; '
        "ln -s ../gone d/dangling; ln -s e d/folder; ln -s $'a\\nb' d/odd; ln -s ../in o/up",
        outputs=("x", "rel", "abs", "d", "o/up"),
        folders=("d",),
    )
    assert bench.execute(payload) == 0
    assert not [path for path in (bench.job / "osgpilot-out").rglob("*") if path.is_symlink()]
    bench.commit(payload)
    found = {name: str((bench.workdir / name).readlink()) for name in ("rel", "abs", "o/up")}
    assert found == {"rel": "x", "abs": f"{bench.workdir}/x", "o/up": "../in"}
    inner = {
        path.name: str(path.readlink())
        for path in (bench.workdir / "d").iterdir()
        if path.is_symlink()
    }
    assert inner == {"dangling": "../gone", "folder": "e", "odd": "a\nb"}


def test_an_incomplete_result_creates_no_links(bench):
    payload = job(
        "ln -s /etc/hostname a; echo x > b; echo y > log", outputs=("a", "b"), logs=("log",)
    )
    assert bench.execute(payload) == 0
    back = bench.job / "osgpilot-out"
    os.truncate(back / "b", 0)
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)
    # HTCondor would write what the next attempt made through the link
    assert not (back / "a").is_symlink()
    assert (bench.workdir / "log").read_text() == "y\n"


def test_a_truncated_list_of_links_does_not_hide_a_failure(bench):
    payload = job("echo x > log; false", outputs=("d/a",), logs=("log",))
    bench.execute(payload)
    # left over from an attempt whose transfer was cut off
    (bench.job / "osgpilot-out" / MANIFEST).write_bytes(b">x\0d/a\0>/etc/host\0log\0>y\0d/b\0")
    with pytest.raises(JobFailedError, match="exit status 1"):
        bench.commit(payload)


@pytest.mark.parametrize("target", ["behind", "../outside", "/no/such/file", "out"])
def test_an_output_that_is_a_broken_link_is_an_error(bench, target):
    payload = job(f"echo x > behind; ln -s {target} out", outputs=("out",))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="out is a link to"):
        bench.commit(payload)
    assert not (bench.workdir / "out").is_symlink()


def test_links_within_an_input_folder_stay_links(bench):
    (bench.workdir / "db" / "sub").mkdir(parents=True)
    (bench.workdir / "db" / "x").write_text("x")
    (bench.workdir / "outside").write_text("o")
    for name, to in {"up": "../x", "loop": "..", "gone": "nowhere", "far": "../../outside"}.items():
        (bench.workdir / "db" / "sub" / name).symlink_to(to)
    payload = job("true", inputs=("db",))
    assert bench.execute(payload) == 0
    there = bench.node / "db" / "sub"
    assert links_in(there) == {"up": "../x", "loop": "..", "gone": "nowhere"}
    assert (there / "far").read_text() == "o"


@pytest.mark.parametrize(
    ("command", "folders", "message"),
    [("mkdir out", (), r"declare it as directory"), ("touch out", ("out",), "and is none")],
)
def test_folders_must_be_declared_as_directory(bench, command, folders, message):
    payload = job(command, outputs=("out",), folders=folders)
    bench.execute(payload)
    with pytest.raises(JobFailedError, match=message):
        bench.commit(payload)


def test_a_log_that_was_not_written_is_empty(bench):
    (bench.workdir / "old.log").write_text("from another time")
    payload = job("false", logs=("old.log",))
    bench.execute(payload)
    with pytest.raises(JobFailedError):
        bench.commit(payload)
    assert (bench.workdir / "old.log").read_text() == ""


def test_fetched_files_are_moved_to_their_paths(bench):
    url = "https://h/data/x.txt"
    payload = job("cp deep/er/x out", outputs=("out",), urls=((url, "deep/er/x"),))
    stage.pack(payload, bench.run, bench.workdir).write(bench.job)
    (bench.job / "osgpilot-in" / "x.txt").write_text("fetched")  # as HTCondor does
    bench.run_there()
    bench.commit(payload)
    assert (bench.workdir / "out").read_text() == "fetched"


def test_the_placeholder_becomes_the_folder_of_the_job(bench):
    command = f'[ {HERE}/x = "$PWD/x" ]; [ -d {TMPDIR} ]; touch out'
    payload = job(command, outputs=("out",))
    assert bench.execute(payload) == 0


def test_outputs_on_a_shared_file_system_must_be_visible(bench, tmp_path):
    shared = tmp_path / "shared"
    payload = job("true", shared=(str(shared),))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="cannot be seen here after 0 s"):
        bench.commit(payload)
    shared.touch()
    bench.commit(payload)


def tree(folder):
    files = [p for p in folder.rglob("*") if ".snakemake" not in p.parts]
    content = {p: str(p.readlink()) for p in files if p.is_symlink()}
    content |= {p: p.read_text() for p in files if p.is_file() and not p.is_symlink()}
    return {str(path.relative_to(folder)): text for path, text in content.items()}


class Killed(BaseException):
    """Nothing is undone after it."""


def test_a_commit_can_be_repeated_after_a_kill_at_any_moment(bench, monkeypatch):
    made = job(
        "mkdir -p d/e; echo a > a; echo b > d/b; echo c > d/e/c; ln -s b d/l; ln -s a link; "
        "echo x > log",
        outputs=("a", "d", "link"), folders=("d",), logs=("log",), protected=("a",),
    )  # fmt: skip
    bench.execute(made)
    bench.commit(made)
    whole = {"a": "a\n", "d/b": "b\n", "d/e/c": "c\n", "d/l": "b", "link": "a", "log": "x\n"}
    assert tree(bench.workdir) == whole
    rename = Path.rename
    for moment in range(7):
        steps = iter(range(moment))

        def or_killed(path, target, steps=steps):
            if next(steps, None) is None:
                raise Killed
            return rename(path, target)

        with suppress(Killed), monkeypatch.context() as patch:
            patch.setattr(Path, "rename", or_killed)
            patch.setattr(commit.ExitStack, "__exit__", lambda self, *_: None)
            bench.commit(made)
    bench.commit(made)
    assert tree(bench.workdir) == whole


def test_without_hard_links_outputs_are_moved(bench, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    made = job("mkdir -p d; echo a > a; echo b > d/b", outputs=("a", "d"), folders=("d",))
    bench.execute(made)
    bench.commit(made)
    assert tree(bench.workdir) == {"a": "a\n", "d/b": "b\n"}


def test_outputs_and_logs_are_committed_to_another_disk(bench):
    payload = job(
        "echo new > r/a; mkdir r/d; echo b > r/d/b; echo l > r/log",
        outputs=("r/a", "r/d"), logs=("r/log",), folders=("r/d",),
    )  # fmt: skip
    bench.execute(payload)
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        disk = Path(elsewhere)
        assert disk.stat().st_dev != bench.workdir.stat().st_dev
        (bench.workdir / "r").symlink_to(disk)
        (disk / "a").write_text("old")
        for _ in range(2):
            bench.commit(payload)
            assert tree(disk) == {"a": "new\n", "d/b": "b\n", "log": "l\n"}


def test_an_error_on_one_disk_restores_both(bench, monkeypatch):
    payload = job("echo new > a; echo new > r/b", outputs=("r/b", "a"))
    bench.execute(payload)
    refuse_to_place(monkeypatch, "a")
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (bench.workdir / "r").symlink_to(elsewhere)
        Path(elsewhere, "b").write_text("old")
        with pytest.raises(JobFailedError, match="cannot put the outputs in place"):
            bench.commit(payload)
        assert tree(Path(elsewhere)) == {"b": "old"}


SPIN = "for ((i = 0; i < 200000; i++)); do :; done; "


def test_usage_is_returned_for_success_and_failure(bench):
    before = os.times()
    assert bench.execute(job(f"{SPIN} bash -c '{SPIN}'; sleep 0.2; exit 3")) == 3
    after = os.times()
    took = spent(bench.job)
    all_s = sum(after[2:4]) - sum(before[2:4])
    assert 0 < took.cpu_s <= all_s + 0.01
    # the rest is the wrapper's, some milliseconds
    assert took.cpu_s > all_s / 2
    assert took.time_s >= 0.2
    assert spent(bench.job / "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("0m0.1s 0m0.1s\n1m2.500s 0m1.250s\n1790000000.5 1790000070.25\n", (63.75, 69.75)),
        ("0m0,1s 0m0,1s\n1m2,500s 0m1,250s\n1790000000,5 1790000070,25\n", (63.75, 69.75)),
        ("0m0.1s 0m0.1s\n1m2.500s 0m1.250s\n \n", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_times_are_parsed_in_any_locale(text, usage):
    assert parse(text) == usage


def back_of(bench: Bench) -> Path:
    back = bench.job / "osgpilot-out"
    back.mkdir(parents=True, exist_ok=True)
    return back


def listing(*pairs: str, end: str = "end") -> bytes:
    return os.fsencode("".join(f"{text}\0" for text in (*pairs, end)))


def came_back(bench: Bench, listed: bytes, status: int = 0) -> Path:
    """Have a job end whose wrapper had no say in what it sent."""
    back, bench.status = back_of(bench), status
    (back / MANIFEST).write_bytes(listed)
    return back


@pytest.mark.parametrize("status", [1, 0, 137, 143])
def test_no_link_is_created_in_the_folder_that_htcondor_writes(bench, tmp_path, status):
    secret = tmp_path / "secret"
    secret.write_text("token")
    back = came_back(bench, listing(f">{secret}", "out", "end" if not status else "failed"), status)
    (back / "osgpilot-links").write_bytes(listing("out", str(secret), ".osgpilot-times"))
    with pytest.raises((JobFailedError, IncompleteOutputError)):
        bench.commit(job("true", outputs=("out",), logs=("log",)))
    assert not [path for path in back.rglob("*") if path.is_symlink()]
    assert not os.path.lexists(bench.workdir / "out")


@pytest.mark.parametrize(
    "target",
    [
        *("{home}/secret", "../home/secret", "{work}/../home/secret", "sub/../../home/secret"),
        *("kept/secret", ".env", "{work}/.snakemake/run/jobs/keys", ".", "/proc/self/cwd/token"),
        *("hiding", "leading"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_links_to_files_of_others_are_rejected(bench, tmp_path, target, inside):
    home, work = tmp_path / "home", bench.workdir
    home.mkdir()
    for folder in ("sub", "hiding/deep", "leading"):
        (work / folder).mkdir(parents=True)
    (work / "hiding" / "deep" / ".env").touch()
    (work / "leading" / "out").symlink_to(home)
    (work / "kept").symlink_to(home)
    for path in (home / "secret", work / ".env", work / "token"):
        path.write_text("token")
    target = target.format(home=home, work=work)
    if inside and not target.startswith("/"):
        target = f"../{target}"
    back = came_back(bench, listing(*("/", "d") * inside, f">{target}", "d/l" if inside else "o"))
    if inside:
        (back / "d").mkdir()
    declared = ("d",) if inside else ("o",)
    with pytest.raises(JobFailedError, match="is a link to"):
        bench.commit(job("true", outputs=declared, folders=("d",)))
    assert not os.path.lexists(work / declared[0])


def test_links_to_inputs_stay_even_outside_the_working_folder(bench, tmp_path):
    """As in a rule that gives files of an archive the names that the workflow wants."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "x").write_text("x")
    (bench.workdir / "raw").symlink_to(tmp_path / "archive")
    payload = job("ln -s raw/x out", inputs=("raw/x",), outputs=("out",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").readlink() == Path("raw/x")


def test_a_link_may_lead_into_a_shared_folder(bench, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "x").write_text("x")
    payload = job(f"ln -s {tmp_path}/shared/x out", outputs=("out",))
    payload = replace(payload, shared_prefixes=(f"{tmp_path}/shared",))
    bench.execute(payload)
    bench.commit(payload)
    assert (bench.workdir / "out").read_text() == "x"


def test_protected_does_not_follow_links(bench):
    (bench.workdir / "data").mkdir()
    (bench.workdir / "data" / "x").write_text("of the user")
    payload = job("ln -s data out", outputs=("out",), folders=("out",), protected=("out",))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="protected"):
        bench.commit(payload)
    assert (bench.workdir / "data" / "x").stat().st_mode & 0o200


@pytest.mark.parametrize("kind", ["fifo", "link", "large", "folder"])
def test_only_a_regular_times_file_is_read(bench, kind):
    times = back_of(bench) / TIMES
    if kind == "fifo":
        os.mkfifo(times)
    elif kind == "link":
        times.symlink_to("/dev/zero")
    elif kind == "folder":
        times.mkdir()
    else:
        times.touch()
        os.truncate(times, 1 << 40)
    assert spent(bench.job) is None
    bench.status = 137
    with pytest.raises(IncompleteOutputError):
        bench.commit(job("true"))


def test_times_of_an_earlier_attempt_do_not_count(bench):
    """HTCondor itself starts a job again whose transfer was cut off, and lets lie what came."""
    payload = job("[ ! -e first ] || kill -KILL $PPID; sleep 0.1", outputs=("out",))
    assert bench.execute(payload) == 0
    (bench.node / "first").touch()
    done = subprocess.run(["/bin/bash", "osgpilot-job"], cwd=bench.node, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    shutil.copytree(bench.node / "osgpilot-out", bench.job / "osgpilot-out", dirs_exist_ok=True)
    bench.status = 137
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)


def test_a_folder_at_the_path_of_a_log_is_kept(bench):
    (bench.workdir / "logs").mkdir()
    (bench.workdir / "logs" / "kept").write_text("of the user")
    payload = job("echo x > logs; touch out", outputs=("out",), logs=("logs",))
    bench.execute(payload)
    with pytest.raises(
        JobFailedError, match="its log logs is not put in place: a folder is in its"
    ):
        bench.commit(payload)
    assert (bench.workdir / "logs" / "kept").read_text() == "of the user"
    assert not (bench.workdir / "out").exists()


def test_a_folder_at_the_path_of_an_output_is_kept(bench):
    (bench.workdir / "b").mkdir()
    (bench.workdir / "b" / "kept").write_text("of the user")
    payload = job("touch a b", outputs=("a", "b"))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="a folder is in its place"):
        bench.commit(payload)
    assert (bench.workdir / "b" / "kept").read_text() == "of the user"
    assert not (bench.workdir / "a").exists()


@pytest.mark.parametrize("made", ["mkdir log", "mkfifo log", "ln -s /etc/passwd log"])
def test_a_log_must_be_a_file(bench, made):
    payload = job(f"{made}; false", logs=("log",))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="exit status 1"):
        bench.commit(payload)
    assert not (bench.workdir / "log").is_symlink()
    assert not (bench.workdir / "log").is_dir()


def test_an_output_inside_another_is_committed_once(bench):
    payload = job(
        "mkdir -p report/more; cd report; echo s > summary.txt; echo m > more/m; echo l > l",
        outputs=("report/summary.txt", "report"), folders=("report",), logs=("report/l",),
    )  # fmt: skip
    bench.execute(payload)
    bench.commit(payload)
    made = {"report/summary.txt": "s\n", "report/more/m": "m\n", "report/l": "l\n"}
    assert tree(bench.workdir) == made


def test_a_log_inside_an_output_of_a_failed_job_is_returned(bench):
    payload = job(
        "echo l > report/l; echo x > report/x; false",
        outputs=("report",), folders=("report",), logs=("report/l",),
    )  # fmt: skip
    bench.execute(payload)
    with pytest.raises(JobFailedError):
        bench.commit(payload)
    assert tree(bench.workdir) == {"report/l": "l\n"}


ODD = os.fsdecode(b"\xff\xfe")


def test_undecodable_names_and_targets_are_returned(bench):
    payload = job(
        r"mkdir d; echo x > d/$'\xff\xfe'; ln -s $'\xff\xfe' d/l; echo $'\xff\xfe' | tee log >&2",
        outputs=("d",), folders=("d",), logs=("log",),
    )  # fmt: skip
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert (bench.workdir / "d" / ODD).read_text() == "x\n"
    assert (bench.workdir / "d" / "l").readlink() == Path(ODD)
    assert (bench.workdir / "log").read_bytes() == b"\xff\xfe\n"
    failure.output_tail(bench.job, Redactor()).encode("utf-8", "surrogateescape")


def test_a_message_about_an_odd_name_can_be_printed(bench):
    came_back(bench, listing("5", f"d/{ODD}\x1b[2J\n"))
    with pytest.raises(IncompleteOutputError) as raised:
        bench.commit(job("true", outputs=("d",)))
    assert str(raised.value).isprintable()
    str(raised.value).encode()


def test_long_output_is_shortened_in_the_middle(bench):
    payload = job(
        "echo first; head -c 9000000 /dev/zero | tr '\\0' x >&2; printf '\\nlast'; touch o; exit 3",
        outputs=("o",), logs=("log",),
    )  # fmt: skip
    assert bench.execute(payload) == 3
    printed = (bench.job / "output").read_bytes()
    assert len(printed) < 4.5e6
    assert printed.startswith(b"first\nxxx")
    assert printed.endswith(b"xxx\nlast")
    left_out = 9_000_011 - 2 * (2 << 20)
    said = f"\nosgpilot: {left_out} bytes of what the job printed are left out here\n".encode()
    assert printed.count(said) == 1


def test_declared_files_are_returned_complete_whatever_their_size(bench):
    payload = job("head -c 9000000 /dev/zero | tee log > o", outputs=("o",), logs=("log",))
    assert bench.execute(payload) == 0
    bench.commit(payload)
    assert {(bench.workdir / name).stat().st_size for name in ("o", "log")} == {9_000_000}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("touch o; chmod 000 o", r"o cannot be read \(mode 000\)"),
        ("mkdir o; touch o/x; chmod 000 o/x", r"o/x cannot be read \(mode 000\)"),
        ("mkdir -p o/d; chmod 000 o/d", r"o/d cannot be read \(mode 000\)"),
        ("mkdir -p o/d; mkfifo o/d/f; chmod 000 o/d", "o/d/f|cannot be read"),
        ("mkfifo o", "o is neither a file nor a folder"),
        ("mkdir o; mkfifo o/f", "o/f is neither a file nor a folder"),
    ],
)
def test_an_output_that_cannot_be_returned_fails_the_job(bench, command, why):
    payload = job(command, outputs=("o",), folders=("o",), logs=("log",))
    assert bench.execute(payload) == 125
    assert re.search(f"osgpilot: .*{why}", failure.output_tail(bench.job, Redactor()))
    # else HTCondor would hold the job, or wait for it
    for path in bench.node.joinpath("osgpilot-out").rglob("*"):
        assert path.is_file() or path.is_dir()
        assert path.stat().st_mode & 0o400
    with pytest.raises(JobFailedError, match="exit status 125"):
        bench.commit(payload)


def test_outputs_are_never_set_user_id(bench):
    payload = job("touch a; chmod 6755 a; mkdir d; touch d/x; chmod 2755 d/x", outputs=("a", "d"),
                  folders=("d",))  # fmt: skip
    bench.execute(payload)
    bench.commit(payload)
    modes = {(bench.workdir / name).stat().st_mode & 0o7777 for name in ("a", "d/x")}
    assert modes == {0o755}


def test_an_input_folder_that_contains_itself_is_rejected(bench):
    (bench.workdir / "d").mkdir()
    (bench.workdir / "e").mkdir()
    (bench.workdir / "d" / "l").symlink_to("../e")
    (bench.workdir / "e" / "m").symlink_to("../d")
    with pytest.raises(InputError, match="contains itself"):
        stage.pack(job("true", inputs=("d",)), bench.run, bench.workdir)


def test_a_special_file_as_input_is_rejected_and_not_opened(bench):
    os.mkfifo(bench.workdir / "pipe")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        stage.pack(job("true", inputs=("pipe",)), bench.run, bench.workdir)


def test_special_files_in_a_shared_folder_are_no_outputs(bench, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "secret").write_text("token")
    os.mkfifo(shared / "fifo")
    (shared / "link").symlink_to(tmp_path / "secret")
    for name in ("fifo", "link"):
        payload = job("true", shared=(f"{shared}/{name}",))
        bench.execute(replace(payload, shared_prefixes=(str(shared),)))
        with pytest.raises(JobFailedError, match="neither a file nor a folder in a shared folder"):
            bench.commit(replace(payload, shared_prefixes=(str(shared),)))
        shutil.rmtree(bench.node)
        shutil.rmtree(bench.job)


def runs_once_more(bench: Bench, text: str) -> None:
    """Have HTCondor write what a second run of the same job made, in place as it does."""
    back = back_of(bench)
    for path in ("a", MANIFEST, "log"):
        with (back / path).open("w") as file:
            file.write(text)


def test_a_late_transfer_changes_no_committed_output(bench):
    """A schedd that was killed before its own note of a job's end runs the job again."""
    payload = job("echo first > a; echo l > log", outputs=("a",), logs=("log",))
    bench.execute(payload)
    bench.commit(payload)
    runs_once_more(bench, "half")
    assert (bench.workdir / "a").read_text() == "first\n"
    assert (bench.workdir / "log").read_text() == "l\n"
    # a kill before Snakemake noted the end: it is done again
    bench.commit(payload)
    assert (bench.workdir / "a").read_text() == "first\n"
    assert spent(bench.job) is not None


def test_a_late_transfer_changes_no_log_of_a_failed_job(bench):
    payload = job("echo l > log; false", outputs=("a",), logs=("log",))
    bench.execute(payload)
    with pytest.raises(JobFailedError, match="exit status 1"):
        bench.commit(payload)
    runs_once_more(bench, "half")
    assert (bench.workdir / "log").read_text() == "l\n"


def dies_after_one_file(folder, **_):
    if not folder.exists():
        return
    next(path for path in Path(folder).iterdir() if path.name == commit.DISK_FULL).unlink()
    raise Killed


def test_a_kill_while_returned_files_are_removed_fails_no_job(bench, monkeypatch):
    back = came_back(bench, listing("0", commit.DISK_FULL, end="failed"), NODE_AT_FAULT)
    (back / commit.DISK_FULL).touch()
    payload = job("true")
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", dies_after_one_file)
        with pytest.raises(Killed):
            commit.empty(bench.job)
    with pytest.raises(IncompleteOutputError):
        bench.commit(payload)
    commit.empty(bench.job)
    assert not any(bench.job.glob("*/*"))


@contextmanager
def without_roots_rights():
    """Take away the right to write what cannot be written, where a test has it."""
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, data)
    before = tuple(data)
    data[0] &= ~0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
    libc.capset(header, data)
    try:
        yield
    finally:
        libc.capset(header, (ctypes.c_uint32 * 6)(*before))


def test_a_file_instead_of_the_output_folder_is_removed(bench):
    bench.job.mkdir(parents=True)
    bench.status = 0
    for _ in range(2):
        (bench.job / "osgpilot-out").write_text("of a hostile job")
        with pytest.raises(IncompleteOutputError):
            bench.commit(job("true"))
        commit.empty(bench.job)
    assert list(bench.job.iterdir()) == []


def test_returned_files_in_read_only_folders_are_removed(bench):
    inner = back_of(bench) / "d" / "e"
    inner.mkdir(parents=True)
    (inner / "x").touch()
    for folder in (inner, inner.parent):
        folder.chmod(0o555)
    with without_roots_rights():
        commit.empty(bench.job)
    assert list(bench.job.iterdir()) == []


@pytest.mark.parametrize(
    "link",
    [(">" + "a/" * 100_000, "out"), (">x", "out/" + "a/" * 100_000), (">x", "out" + "/d" * 300)],
)
def test_a_link_that_is_too_long_is_rejected(bench, link):
    came_back(bench, listing("/", "out", *link))
    (back_of(bench) / "out").mkdir()
    with pytest.raises(JobFailedError, match=r"longer than 4095 bytes|more than 200 deep"):
        bench.commit(job("true", outputs=("out",), folders=("out",)))


def test_checks_of_link_targets_are_limited(bench, monkeypatch):
    seen = []
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path, **how: seen.append(path) or real(path, **how)
    )
    monkeypatch.setattr(links, "STEPS_MAX", 5000)
    for number in range(40):
        for name in range(25):
            (bench.workdir / f"u{number}").mkdir(exist_ok=True)
            (bench.workdir / f"u{number}" / str(name)).touch()
    (back_of(bench) / "out").mkdir()
    one = [text for n in range(40) for text in (">../u0", f"out/{n}")]
    came_back(bench, listing("/", "out", *one))
    payload = job("true", outputs=("out",), folders=("out",))
    with suppress(JobFailedError):
        bench.commit(payload)
    assert len([path for path in seen if "/u0/" in str(path)]) <= 50, "each folder once"
    seen.clear()
    many = [text for n in range(40) for text in (f">../u{n}", f"out/{n}")]
    (bench.job / TAKEN / MANIFEST).write_bytes(listing("/", "out", *many))
    with pytest.raises(JobFailedError, match="too many links"):
        bench.commit(payload)
    assert len(seen) < 40 * 25


def test_a_folder_protected_before_a_kill_is_committed_again(bench):
    payload = job("mkdir -p d/e; echo x > d/e/x", outputs=("d",), folders=("d",), protected=("d",))
    bench.execute(payload)
    bench.commit(payload)
    with without_roots_rights():
        bench.commit(payload)
    assert (bench.workdir / "d/e/x").read_text() == "x\n"
    assert (bench.workdir / "d").stat().st_mode & 0o222 == 0
    assert not (bench.job / "replaced/0").exists()
