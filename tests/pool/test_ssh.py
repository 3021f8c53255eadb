"""Snakemake runs on the access point, Slurm is behind SSH: nothing is shared between the two."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

HERE = "/home/alice/workflow"
BEHIND_SSH = {**SITE, "slurm": {"ssh": "login"}}
SNAKEFILE = """
rule all:
    input: expand("out/{n}", n=range(4))
rule one:
    output: "out/{n}"
    retries: 0
    shell: "echo start >> {output}; sleep 25; echo end >> {output}"
"""

PATH = "export PATH=/home/alice/bin:/usr/bin:/bin\n"
SBATCH = """#!/bin/bash
# Slurm takes the first pilot; then its answer, and the connection that it comes by, are lost.
case $1 in --test-only) exec /usr/bin/sbatch "$@" ;; esac
[ ! -e ~/cut ] || exec /usr/bin/sbatch "$@"
/usr/bin/sbatch "$@" > ~/answer
touch ~/cut
while [ -e /run/sshd.pid ]; do sleep 0.1; done
pkill -KILL -u alice sshd-session
"""
PROMPTED = """
import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while True:
    try:
        more = os.read(terminal, 1024)
    except OSError:
        break
    said += more
    if said.count(b"passphrase") + said.count(b"Password") == 1 and more.rstrip().endswith(b":"):
        os.write(terminal, b"correct horse\\n")
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Runs a command on a terminal and types the passphrase, or the code, there once."""

TWO_FACTORS = """
Port 2222
PidFile /run/second-sshd.pid
UsePAM yes
PAMServiceName second
KbdInteractiveAuthentication yes
PasswordAuthentication no
AuthenticationMethods publickey,keyboard-interactive
"""
PAM = """
auth required pam_exec.so expose_authtok quiet /etc/ssh/take-code
auth required pam_permit.so
account required pam_permit.so
session required pam_permit.so
"""
TAKE_CODE = """#!/bin/sh
# A code is good for one login.
[ "$(tr -d '\\0')" = "$(cat /run/second-sshd.code)" ] && rm /run/second-sshd.code
"""
THROUGH_ANOTHER = """
Host cluster again
    HostName login
    Port 2222
    HostKeyAlias login
    ProxyJump login
"""
COMPUTE = {"name": "compute", "cores": 4, "memory_mb": 3900, "walltime_max_min": 60}
AT_BOTH = """
rule all:
    input: "One", "Two"
rule one:
    output: "{site}"
    resources: osgpilot_partition=lambda wildcards: f"{wildcards.site}:compute"
    shell: "hostname > {output}; sleep {config[sleep_s]}"
"""
SHORT = """
rule all:
    output: "out"
    shell: "hostname > {output}"
"""


def put(pool: Pool, path: str, text: str, *, host: str = "ap") -> None:
    done = pool.run("sh", "-c", 'mkdir -p "${1%/*}"; cat > "$1"', "-", path, host=host, stdin=text)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def ap(pool: Pool) -> Iterator[Pool]:
    """The pool, with a workflow in a folder that the cluster does not see."""
    put(pool, f"{HERE}/Snakefile", SNAKEFILE)
    put(pool, f"{HERE}/site.yaml", yaml.safe_dump(BEHIND_SSH))
    assert pool.run("ls", HERE).returncode != 0
    yield pool
    pool.say("rm", "-rf", HERE, host="ap")


@contextmanager
def started(pool: Pool, *argv: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the workflow; its output goes to the file `said` there."""
    line = f"{' '.join(argv or SNAKEMAKE)} > said 2>&1"
    with subprocess.Popen(pool.argv("sh", "-c", line, host="ap", folder=HERE)) as workflow:
        try:
            yield workflow
        finally:
            workflow.kill()


def said(pool: Pool) -> str:
    return pool.run("cat", f"{HERE}/said", host="ap").stdout


def in_slurm(pool: Pool) -> list[str]:
    """Return the names of the run's pilots that Slurm knows, each as often as it is there."""
    run = json.loads(in_run(pool, "record.json"))["run"]
    names = pool.say("squeue", "--noheader", "--me", "--states=all", "--format=%j").splitlines()
    # Slurm shows those of other tests for a while
    return sorted(name for name in names if run in name)


def in_run(pool: Pool, name: str) -> str:
    """Return a file of the run's folder."""
    return pool.say("sh", "-c", f"cat {HERE}/.snakemake/osgpilot/*/{name}", host="ap")


def nothing_left(pool: Pool) -> bool:
    queued = pool.say("squeue", "--noheader", "--me")
    # it may have no runs yet
    folders = pool.run("find", "/home/alice/.local/state/osgpilot", "-mindepth", "1").stdout
    masters = pool.run("pgrep", "-u", "alice", "-x", "ssh", host="ap").stdout
    sockets = pool.say("find", "/tmp", "-maxdepth", "1", "-name", "osgpilot-*", host="ap")
    return not (queued or folders or masters or sockets)


def test_a_connection_cut_in_mid_submission_costs_no_pilot_and_makes_none_twice(ap: Pool):
    put(ap, "/home/alice/.bashrc", PATH, host="login")
    put(ap, "/home/alice/bin/sbatch", SBATCH, host="login")
    ap.say("chmod", "755", "/home/alice/bin/sbatch")
    with started(ap) as workflow:
        until(lambda: ap.run("test", "-e", "/home/alice/cut").returncode == 0, 60, "a submission")
        ap.say("pool-svc", "sshd", "stop", user="root")
        until(lambda: "Connection refused" in said(ap), 60, "a failed login")
        ap.say("pool-svc", "sshd", "start", user="root")
        assert workflow.wait(PATIENCE_S) == 0, said(ap)
    for n in range(4):
        assert ap.say("cat", f"{HERE}/out/{n}", host="ap") == "start\nend"
    reported, lost = said(ap), ap.say("cat", "/home/alice/answer")
    assert f"pilot {lost} on" in reported, "the one whose answer was lost was found by its name"
    assert "could manage the pilots again" in reported
    names = in_slurm(ap)
    recorded = json.loads(in_run(ap, "record.json"))["pilots"]
    assert names == sorted(pilot["name"] for pilot in recorded), "no job is lost, none runs twice"
    assert f"in allocation {lost} on" in in_run(ap, "pilots.log")
    until(lambda: nothing_left(ap), 90, "an empty cluster")


KNOWN = "/home/alice/.ssh/known_hosts"


def test_why_a_pilot_waits_is_asked_where_slurm_is(ap: Pool):
    assert ap.run("squeue", host="ap").returncode != 0, "there is no Slurm here"
    with started(ap) as workflow:
        shown = ("squeue", "--noheader", "--me", "--format=%j")
        until(lambda: "osgpilot" in ap.say(*shown), 120, "a pilot")
        pilot = ap.say(*shown).splitlines()[0].strip()
        explain = ("osgpilot", "explain", "--json", pilot)
        known = "a pilot in the history"
        until(lambda: ap.run(*explain, host="ap", folder=HERE).returncode == 0, 60, known)
        reported = json.loads(ap.say(*explain, host="ap", folder=HERE))
        assert reported["unanswered"] == []
        assert pilot in str(reported["explanations"][0])
        assert workflow.wait(PATIENCE_S) == 0, said(ap)
    until(lambda: nothing_left(ap), 90, "an empty cluster")


@pytest.mark.parametrize(
    ("ssh", "known_hosts", "line"),
    [
        ("login", "another", "the host key differs from the known one"),
        ("login", "none", "not known yet; run `ssh login` once"),
        ("bob@login", "right", "Permission denied (publickey)"),
    ],
)
def test_a_login_that_fails_is_one_line_before_anything_is_submitted(
    ap: Pool, ssh: str, known_hosts: str, line: str
):
    put(ap, f"{HERE}/site.yaml", yaml.safe_dump({**SITE, "slurm": {"ssh": ssh}}))
    kept = ap.say("cat", KNOWN, host="ap")
    keygen = "ssh-keygen -q -t ed25519 -N '' -f k; cat k.pub; rm k k.pub"
    known = {"none": "", "another": f"login {ap.say('sh', '-c', keygen, host='ap')}\n"}
    try:
        put(ap, KNOWN, known.get(known_hosts, kept))
        with started(ap) as workflow:
            assert workflow.wait(PATIENCE_S) == 1
    finally:
        put(ap, KNOWN, f"{kept}\n")
    (reported,) = [each for each in said(ap).splitlines() if "osgpilot:" in each]
    assert line in reported
    assert "Traceback" not in said(ap)
    assert not ap.say("squeue", "--noheader", "--me")
    assert not ap.say("find", "/tmp", "-maxdepth", "1", "-name", "osgpilot-*", host="ap")


def test_who_has_to_be_asked_is_asked_once_before_anything_is_submitted(ap: Pool):
    put(ap, f"{HERE}/site.yaml", yaml.safe_dump({**BEHIND_SSH, "image": "/nowhere.sif"}))
    put(ap, f"{HERE}/prompted.py", PROMPTED)
    key = "/home/alice/.ssh/id_ed25519"
    change = ("ssh-keygen", "-q", "-p", "-f", key)
    ap.say(*change, "-N", "correct horse", host="ap")
    try:
        done = ap.run("python", "prompted.py", *SNAKEMAKE, host="ap", folder=HERE)
        alone = ap.run(*SNAKEMAKE, host="ap", folder=HERE)
    finally:
        ap.say(*change, "-P", "correct horse", "-N", "", host="ap")
    assert done.stdout.count("Enter passphrase") == 1
    # that far it comes only after the login
    assert "pilot image /nowhere.sif does not exist on login" in done.stdout
    assert "if it asks for a password or a second factor" in alone.stdout + alone.stderr
    until(lambda: nothing_left(ap), 90, "an empty cluster")


def new_code(pool: Pool) -> None:
    """Have the second sshd take the code for one login."""
    put_code = "printf 'correct horse' > /run/second-sshd.code"
    pool.say("sh", "-c", put_code, user="root")


@pytest.fixture
def second_sshd(pool: Pool) -> Iterator[None]:
    """An sshd on the cluster that takes a key and a code, and is reached through the first one."""
    files = {
        "/etc/ssh/second": TWO_FACTORS,
        "/etc/pam.d/second": PAM,
        "/etc/ssh/take-code": TAKE_CODE,
        "/run/second-sshd.code": "correct horse",
    }
    for path, text in files.items():
        pool.say("sh", "-c", 'printf %s "$2" > "$1"', "-", path, text, user="root")
    pool.say("chmod", "755", "/etc/ssh/take-code", user="root")
    pool.say("/usr/sbin/sshd", "-f", "/etc/ssh/second", user="root")
    put(pool, "/home/alice/.ssh/config", THROUGH_ANOTHER, host="ap")
    yield
    pool.say("sh", "-c", "kill $(cat /run/second-sshd.pid)", user="root")
    pool.say("rm", "-f", *files, user="root")
    pool.say("rm", "/home/alice/.ssh/config", host="ap")


def test_a_code_and_a_jump_host_are_ssh_s_business_and_the_code_is_asked_for_once(
    ap: Pool, second_sshd: None
):
    put(ap, f"{HERE}/Snakefile", SHORT)
    put(ap, f"{HERE}/site.yaml", yaml.safe_dump({**SITE, "slurm": {"ssh": "cluster"}}))
    put(ap, f"{HERE}/prompted.py", PROMPTED)
    done = ap.run("python", "prompted.py", *SNAKEMAKE, host="ap", folder=HERE)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Password:") == 1
    assert "log in from another one" not in done.stdout
    assert ap.say("cat", f"{HERE}/out", host="ap")
    assert ap.run("test", "-e", "/run/second-sshd.code").returncode == 1, "the code was used"
    until(lambda: nothing_left(ap), 90, "an empty cluster")


def test_sites_on_one_host_share_a_login_and_cleanup_finds_the_folder_of_each(
    ap: Pool, second_sshd: None
):
    put(ap, f"{HERE}/Snakefile", AT_BOTH)
    put(ap, f"{HERE}/prompted.py", PROMPTED)
    for name, alias in (("One", "cluster"), ("Two", "again")):
        slurm = {"ssh": alias, "folder": f"~/pilots-{name}"}
        content = {**SITE, "resource": name, "slurm": slurm, "pilot": {"idle_min": 1}}
        content["partitions"] = [COMPUTE]
        put(ap, f"{HERE}/{name}.yaml", yaml.safe_dump(content))
    files = ["One.yaml,Two.yaml" if word == "site.yaml" else word for word in SNAKEMAKE]
    prompted = ("python", "prompted.py")
    done = ap.run(*prompted, *files, "--config", "sleep_s=0", host="ap", folder=HERE)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Password:") == 1
    assert "is left alone" not in done.stdout
    folders = ("find", "/home/alice/pilots-One", "/home/alice/pilots-Two", "-mindepth", "1")
    assert not ap.say(*folders, "-maxdepth", "1")
    until(lambda: nothing_left(ap), 90, "an empty cluster")
    command = [*prompted, *files, "--forceall", "--config", "sleep_s=600"]
    new_code(ap)
    with started(ap, *command) as workflow:
        until(lambda: ap.say(*folders, "-name", "lease").count("\n") == 1, 90, "both folders")
        kill = (
            "pkill",
            "-KILL",
            "-u",
            "alice",
            "-f",
            "--",
            "--executor osgpilot|ssh: /tmp/osgpilot",
        )
        ap.say(*kill, host="ap")
        workflow.wait()
    new_code(ap)
    done = ap.run(*prompted, "osgpilot", "cleanup", "--yes", host="ap", folder=HERE)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Password:") == 1
    assert not ap.say(*folders, "-maxdepth", "1")
    ap.say("rm", "-r", "/home/alice/pilots-One", "/home/alice/pilots-Two")
    ap.say("sh", "-c", "rm -rf /tmp/osgpilot-*", host="ap")
    until(lambda: nothing_left(ap), 90, "an empty cluster")


LOSSY = "10.99.0.77"
"""A second address of the cluster, whose packets can get lost."""

LOSSY_HOST = f"""
Host lossy
    HostName {LOSSY}
    HostKeyAlias login
"""
NOWHERE = "02:00:00:00:00:99"


def lose_packets(pool: Pool, *, lost: bool) -> None:
    """Send packets for the second address to a station that is not there, or to the cluster."""
    nowhere = ("replace", LOSSY, "lladdr", NOWHERE, "nud", "permanent", "dev", "eth0")
    change = nowhere if lost else ("del", LOSSY, "dev", "eth0")
    pool.say("ip", "neigh", *change, host="ap", user="root")


@pytest.fixture
def lossy(ap: Pool) -> Iterator[Pool]:
    """The pool, with a name of the cluster whose packets can get lost without a word."""
    ap.say("ip", "address", "add", f"{LOSSY}/24", "dev", "eth0", user="root")
    put(ap, "/home/alice/.ssh/config", LOSSY_HOST, host="ap")
    assert ap.say("ssh", "lossy", "hostname", host="ap") == "login"
    yield ap
    ap.run("ip", "neigh", "del", LOSSY, "dev", "eth0", host="ap", user="root")
    ap.say("ip", "address", "del", f"{LOSSY}/24", "dev", "eth0", user="root")
    ap.say("rm", "/home/alice/.ssh/config", host="ap")


def test_a_link_that_loses_packets_hangs_neither_a_run_nor_its_end(lossy: Pool):
    # more than are done before a lost connection is noticed; the run is ended in the midst of them
    many = SNAKEFILE.replace("range(4)", "range(240)").replace("sleep 25", "sleep 5")
    put(lossy, f"{HERE}/Snakefile", many)
    for name, alias in (("Near", "login"), ("Far", "lossy")):
        content = {**SITE, "resource": name, "limits": {"max_pilots": 1}}
        content["slurm"] = {"ssh": alias, "folder": f"~/pilots-{name}"}
        put(lossy, f"{HERE}/{name}.yaml", yaml.safe_dump(content))
    files = ["Near.yaml,Far.yaml" if word == "site.yaml" else word for word in SNAKEMAKE]
    with started(lossy, *files) as workflow:
        until(lambda: "at Far on n" in said(lossy), 90, "a pilot at the site")
        lose_packets(lossy, lost=True)
        left_alone = "site Far is left alone and polled again later: "
        until(lambda: left_alone in said(lossy), 100, "the notice")
        until(lambda: "Finished jobid" in said(lossy), 90, "jobs at the other site")
        lossy.say("pkill", "-INT", "-f", "^python -m snakemake", host="ap")
        # it asks the site a few times for its pilots, each time for as long as a login may take
        workflow.wait(PATIENCE_S)
    assert "could not end the pilots: Far: " in said(lossy)
    lose_packets(lossy, lost=False)
    names = in_slurm(lossy)
    lossy.say("osgpilot", "cleanup", "--yes", host="ap", folder=HERE)
    until(lambda: nothing_left(lossy), 90, "an empty cluster")
    recorded = json.loads(in_run(lossy, "record.json"))["pilots"]
    assert sorted({pilot["name"] for pilot in recorded}) == names, "none runs twice"
