"""A command inside is as good as one outside."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import PATIENCE_S, Pool, osgpilot, until


def test_exit_status_is_that_of_the_command(pool: Pool):
    assert pool.run("sh", "-c", "exit 7").returncode == 7


def test_death_by_signal_is_that_of_the_command(pool: Pool):
    assert pool.run("sh", "-c", "kill -USR1 $$").returncode == -signal.SIGUSR1


def test_input_and_output_pass_through(pool: Pool):
    done = pool.run("sh", "-c", "tr a-z A-Z; echo no >&2", stdin="yes")
    assert (done.stdout, done.stderr) == ("YES", "no\n")


@pytest.mark.parametrize("host", ["login", "ap"])
@pytest.mark.parametrize(("user", "uid"), [("alice", "2001"), ("bob", "2002"), ("root", "0")])
def test_user_and_host_are_those_asked_for(pool: Pool, host: str, user: str, uid: str):
    answer = pool.say("sh", "-c", "hostname; id -un; id -u; id -G; pwd", host=host, user=user)
    home = "/root" if user == "root" else f"/home/{user}"
    assert answer.split("\n") == [host, user, uid, uid, home]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_exec_reaches_the_command(pool: Pool, number: signal.Signals):
    script = f"trap 'echo got; exit 3' {number.name[3:]}; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(pool.argv("sh", "-c", script), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.read() == "got\n"
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 3


def test_killing_exec_ends_the_command(pool: Pool):
    marker = "sleep 98765"
    process = subprocess.Popen(pool.argv(*marker.split()))
    until(lambda: pool.run("pgrep", "-f", marker).returncode == 0, 60, "start")
    process.kill()
    process.wait()
    until(lambda: pool.run("pgrep", "-f", marker).returncode == 1, 60, "end")


def test_alices_files_in_the_working_folder_are_the_invoking_users(pool: Pool):
    pool.say("touch", "made-inside", folder=str(pool.work))
    made = (pool.work / "made-inside").stat()
    assert (made.st_uid, made.st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.parametrize("host", ["login", "ap"])
def test_the_working_folder_has_the_same_path_inside(pool: Pool, host: str):
    (pool.work / "made-outside").write_text("text")
    assert pool.say("sh", "-c", "pwd; cat made-outside", host=host, folder=str(pool.work)) == (
        f"{pool.work}\ntext"
    )


def test_the_current_folder_is_where_exec_runs(pool: Pool):
    below = pool.work / "below"
    below.mkdir(exist_ok=True)
    done = osgpilot("pool", "exec", "--name", pool.name, "--", "pwd", cwd=below)
    assert done.stdout.strip() == str(below)


def test_a_folder_that_came_later_is_shown_on_both_hosts(pool: Pool, tmp_path: Path):
    done = osgpilot("pool", "exec", "--name", pool.name, "--", "touch", "late", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "late").stat().st_uid == os.geteuid()
    assert pool.say("ls", host="ap", folder=str(tmp_path)) == "late"
    assert str(tmp_path) in pool.running.work


@pytest.mark.parametrize(("folder", "words"), [("/no/such", "--work DIR"), ("/boot/efi", "")])
def test_a_folder_that_cannot_be_inside_gets_a_remedy(pool: Pool, folder: str, words: str):
    done = osgpilot("pool", "exec", "--name", pool.name, "--dir", folder, "--", "pwd")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_the_project_is_there_as_it_is_outside(pool: Pool):
    assert "osgpilot, version" in pool.say("osgpilot", "--version")
    found = pool.say("python3", "-c", "import snakemake_executor_plugin_osgpilot as p; print(p)")
    assert "/opt/osgpilot/" in found
    assert "--osgpilot-" in pool.say("snakemake", "--help")


@pytest.mark.parametrize("file", ["osg-token/flock.opensciencegrid.org", ".condor/tokens.d/ap"])
def test_users_cannot_read_each_others_tokens(pool: Pool, file: str):
    assert pool.run("cat", f"/home/alice/{file}", user="alice").returncode == 0
    assert pool.run("cat", f"/home/alice/{file}", user="bob").returncode != 0
    assert pool.run("cat", f"/home/bob/{file}", user="alice").returncode != 0


def test_the_pool_is_offline(pool: Pool):
    assert pool.say("ip", "route").split()[:1] == ["10.99.0.0/24"]


def test_users_reach_login_from_ap_by_ssh(pool: Pool):
    for user in ("alice", "bob"):
        assert pool.say("ssh", "login", "id", "-un", host="ap", user=user) == user


def test_nobody_inside_may_change_settings_of_the_kernel(pool: Pool) -> None:
    settings = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger")
    for user in ("alice", "bob", "root"):
        for setting in settings:
            assert pool.run("test", "-w", setting, user=user).returncode == 1, (user, setting)
