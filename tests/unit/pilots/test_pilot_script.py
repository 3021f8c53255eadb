"""The script of a pilot and its parameters, in a simulated allocation."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.model.resources import END_MARGIN_S
from snakemake_executor_plugin_osgpilot.pilots import parameters
from unit.pilots.test_parameters import PILOT, SEAT, site

FAKE_RUNTIME = """#!/bin/bash
if [ "$1" = pull ]; then
    echo "$4" >> "$FOLDER_OUT/pulls"
    [ -z "${PULL_FAILS:-}" ] || exit 1
    echo sif > "$3"
    exit
fi
printf '%s\\n' "$@" > "$FOLDER_OUT/argv"
env > "$FOLDER_OUT/env"
for a in "$@"; do
    case $a in
        *extra-attributes.cfg*) cat "${a%%:*}" > "$FOLDER_OUT/attributes" ;;
        *:/pilot) inside=${a%%:*}; cat "$inside/osgpilot-gate" > "$FOLDER_OUT/gate" ;;
    esac
done
[ -z "${RUNTIME_DOES:-}" ] || eval "$RUNTIME_DOES"
trap 'echo ended > "$FOLDER_OUT/term"; kill $!; exit 0' TERM
if [ -n "${WAIT_FOR_TERM:-}" ]; then
    sleep 60 > /dev/null 2>&1 &
    touch "$FOLDER_OUT/waiting"
    wait
fi
exit "${RUNTIME_STATUS:-0}"
"""


@pytest.fixture
def pilot_sh(tmp_path):
    """Start pilot.sh in an allocation that is not one, with a container runtime that only looks."""
    bin_folder, scratch = tmp_path / "bin", tmp_path / "scratch"
    bin_folder.mkdir()
    scratch.mkdir()
    runtime = bin_folder / "apptainer"
    runtime.write_text(FAKE_RUNTIME)
    runtime.chmod(0o755)
    pool = socket.create_server(("127.0.0.1", 0))
    (tmp_path / "data").mkdir()
    here = site(
        tmp_path,
        scratch=str(scratch),
        setup=("export FROM_SETUP=yes",),
        central_manager=f"127.0.0.1:{pool.getsockname()[1]}",
        shared_folders=(f"{tmp_path}/data",),
    )
    folder = tmp_path / "p1"
    values = parameters.parameters(here, SEAT, PILOT, tmp_path)
    values["env TRICKY"] = "a=b $(touch pwned) `id` \"quoted\" 'single' \\ end "
    folder.mkdir()
    for name, text in parameters.pilot_files(here, values).items():
        (folder / name).write_text(text)
    script = tmp_path / parameters.SCRIPT
    script.write_text(parameters.script())

    def start(**env):
        return subprocess.Popen(
            ["bash", str(script), str(folder)],
            env={
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "SLURM_JOB_ID": "4711",
                "SLURM_JOB_END_TIME": "2000000000",
                "FOLDER_OUT": str(tmp_path),
                **env,
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    yield start
    pool.close()


def test_values_reach_the_container_unchanged_and_unevaluated(pilot_sh, tmp_path):
    process = pilot_sh()
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    env = (tmp_path / "env").read_text()
    assert "APPTAINERENV_TRICKY=a=b $(touch pwned) `id` \"quoted\" 'single' \\ end \n" in env
    assert "APPTAINERENV_OSG_PROJECT_NAME=MyProject\n" in env
    assert "SINGULARITYENV_TRICKY=a=b $(touch pwned) `id` \"quoted\" 'single' \\ end \n" in env
    assert "APPTAINER_NO_EVAL=1\n" in env
    assert "SINGULARITY_NO_EVAL=1\n" in env
    assert "FROM_SETUP=yes" in env
    assert not (tmp_path / "pwned").exists()
    argv = (tmp_path / "argv").read_text()
    assert f"{tmp_path}/token:/etc/condor/tokens-orig.d/flock.opensciencegrid.org:ro" in argv
    assert "secret" not in argv + env + said


def test_a_pilot_with_gpus_takes_them_into_the_container(pilot_sh, tmp_path):
    pilot_sh(CUDA_VISIBLE_DEVICES="1,2").communicate(timeout=90)
    assert "--nv" not in (tmp_path / "argv").read_text()
    assert "APPTAINERENV_CUDA" not in (tmp_path / "env").read_text()

    reported = tmp_path / "p1" / "parameters"
    reported.write_text(reported.read_text().replace("option gpus=0\n", "option gpus=2\n"))
    pilot_sh(CUDA_VISIBLE_DEVICES="1,2").communicate(timeout=90)
    assert "--nv\n" in (tmp_path / "argv").read_text()
    assert "APPTAINERENV_CUDA_VISIBLE_DEVICES=1,2\n" in (tmp_path / "env").read_text()
    assert "SINGULARITYENV_CUDA_VISIBLE_DEVICES=1,2\n" in (tmp_path / "env").read_text()


def test_shared_folders_reach_the_pilot_and_the_containers_of_its_jobs(pilot_sh, tmp_path):
    said, _ = pilot_sh().communicate(timeout=90)
    data = f"{tmp_path}/data"
    assert f"--bind {data}" in " ".join((tmp_path / "argv").read_text().split()), said
    assert f"APPTAINERENV_SINGULARITY_BIND_EXTRA={data}:{data}\n" in (tmp_path / "env").read_text()


def test_a_shared_folder_that_a_node_lacks_is_named(pilot_sh, tmp_path):
    (tmp_path / "data").rmdir()
    process = pilot_sh()
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert f"{tmp_path}/data is not on" in said
    assert "--osgpilot-shared-prefixes" in said


def test_the_end_of_life_comes_from_the_end_of_the_allocation(pilot_sh, tmp_path):
    pilot_sh(SLURMD_NODENAME="n7").communicate(timeout=90)
    attributes = dict(
        line.split(" = ") for line in (tmp_path / "attributes").read_text().splitlines()
    )
    dies = str(2000000000 - END_MARGIN_S)
    assert attributes == {
        "GLIDEIN_ToDie": dies,
        "GLIDEIN_ToRetire": dies,
        "OSGPILOT_PILOT_ID": '"p1"',
        "OSGPILOT_RUN_ID": '"r1"',
        "OSGPILOT_OFFER": '"default/4c"',
        "OSGPILOT_SLURM_JOB_ID": '"4711"',
        "OSGPILOT_NODE": '"n7"',
    }


def test_term_ends_the_container_gently_and_leaves_no_scratch(pilot_sh, tmp_path):
    process = pilot_sh(WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    process.terminate()
    process.communicate(timeout=90)
    assert process.returncode == 0
    assert (tmp_path / "term").read_text() == "ended\n"
    assert list((tmp_path / "scratch").iterdir()) == []


MASTER = f"""#!{sys.executable}
import os, pathlib, signal, sys, time

def heard(number, _):
    with open(out / "master", "a") as log:
        print(signal.Signals(number).name, file=log)
    if number == signal.SIGTERM and stubborn or stubborn == "very":
        return
    sys.exit()

out, stubborn = pathlib.Path(os.environ["FOLDER_OUT"]), os.environ["STUBBORN"]
# a container would end with its processes; here, the test must not wait for one that lives on
os.closerange(1, 100)
signal.signal(signal.SIGTERM, heard)
signal.signal(signal.SIGQUIT, heard)
(out / "waiting").touch()
time.sleep(20)
"""
WITH_MASTER = """
"$FOLDER_OUT/condor_master" &
master=$!
trap 'echo ended > "$FOLDER_OUT/term"; [ -n "$DEAF" ] || exit 0' TERM
while kill -0 $master 2>/dev/null; do wait $master; done
exit 0
"""


@pytest.fixture
def asked_to_end(pilot_sh, tmp_path):
    """Ask a pilot to end by TERM; return what condor_master in its container heard."""
    master, script = tmp_path / "condor_master", tmp_path / "pilot.sh"
    master.write_text(MASTER)
    master.chmod(0o755)
    text = script.read_text().replace("readonly VACATE_S=60", "readonly VACATE_S=1")
    script.write_text(text.replace("readonly MASTER_S=15", "readonly MASTER_S=1"))

    def ask(stubborn="", **env):
        process = pilot_sh(RUNTIME_DOES=WITH_MASTER, STUBBORN=stubborn, **env)
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None, process.stdout.read()
        process.terminate()
        said, _ = process.communicate(timeout=90)
        assert process.returncode == 0, said
        assert list((tmp_path / "scratch").iterdir()) == []
        (tmp_path / "said").write_text(said)
        return (tmp_path / "master").read_text().split()

    return ask


def test_term_asks_the_master_and_leaves_it_the_end_of_the_container(asked_to_end, tmp_path):
    assert asked_to_end() == ["SIGTERM"]
    assert not (tmp_path / "term").exists(), "supervisord would kill the master after 10 s"


def test_jobs_that_ignore_term_are_stopped_by_htcondor_not_with_it(asked_to_end, tmp_path):
    assert asked_to_end(stubborn="yes") == ["SIGTERM", "SIGQUIT"]
    assert not (tmp_path / "term").exists()


@pytest.mark.parametrize(("deaf", "status"), [("", 0), ("yes", 128 + signal.SIGKILL)])
def test_a_pilot_that_does_not_end_is_ended(asked_to_end, tmp_path, deaf, status):
    assert asked_to_end(stubborn="very", DEAF=deaf) == ["SIGTERM", "SIGQUIT"]
    assert (tmp_path / "term").exists()
    assert f"container ended with status {status}\n" in (tmp_path / "said").read_text()


def test_little_time_before_the_walltime_is_divided(asked_to_end, tmp_path):
    script = tmp_path / "pilot.sh"
    script.write_text(script.read_text().replace("VACATE_S=1", "VACATE_S=3600"))
    ends = str(int(time.time()) + 8)
    assert asked_to_end(stubborn="yes", SLURM_JOB_END_TIME=ends) == ["SIGTERM", "SIGQUIT"]


def failing(pilot_sh, tmp_path, does):
    """Start a pilot whose container stays up, but can run no jobs; return its last line."""
    script = tmp_path / "pilot.sh"
    script.write_text(script.read_text().replace("LOOK_S=5", "LOOK_S=0.1"))
    process = pilot_sh(RUNTIME_DOES=does, WAIT_FOR_TERM="1")
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 1, said
    assert (tmp_path / "term").read_text() == "ended\n"
    return said.splitlines()[-1]


SUPERVISORD = """\
2026-11-30 04:05:57,975 INFO supervisord started with pid 13543
2026-11-30 04:05:59,007 INFO spawned: 'condor_master' with pid 13648
ERROR: cannot write /pilot/log
2026-11-30 04:05:59,107 WARN exited: condor_master (exit status 44; not expected)
ot write /pilot/log
2026-11-30 04:06:06,107 INFO gave up: condor_master entered FATAL state, too many start retries
"""


def test_a_master_that_does_not_start_ends_the_pilot_at_once_with_the_reason(pilot_sh, tmp_path):
    does = f"mkdir $inside/log; cat > $inside/log/supervisord.log <<'X'\n{SUPERVISORD}X\n"
    assert failing(pilot_sh, tmp_path, does) == (
        "osgpilot: error: condor_master does not start: ERROR: cannot write /pilot/log"
    )


def test_a_default_image_that_could_not_be_fetched_ends_the_pilot_at_once(pilot_sh, tmp_path):
    does = (
        "mkdir $inside/osgvo-pilot-x; "
        "echo OSG_DEFAULT_SINGULARITY_IMAGE /cvmfs/none/htc/rocky:9 "
        "> $inside/osgvo-pilot-x/glidein_config"
    )
    said = failing(pilot_sh, tmp_path, does)
    assert "the image in which jobs start could not be fetched" in said
    assert "/cvmfs/none/htc/rocky:9 is not here" in said


HOOK_LOG = (
    "11/30/26 08:16:04.629 (pid:2675) (D_ERROR) ERROR in HookPrepareJobClient::hookExited: "
    "PREPARE_JOB (prepare-hook) failed (reported status 306): the image does not exist"
)
"""As a starter of HTCondor 25.14 writes it."""


def test_a_container_that_takes_no_more_jobs_drains_with_the_reason(pilot_sh, tmp_path):
    """The hook before a job reports the reason minutes after it has put the stamp there."""
    does = (
        "mkdir -p $inside/osgvo-pilot-x $inside/log; touch $inside/osgvo-pilot-x/stop-glidein.stamp"
        f'; trap \'echo "{HOOK_LOG}" > $inside/log/StarterLog.slot1_1; echo ended > '
        "$FOLDER_OUT/term; kill $!; exit 0' TERM; sleep 60 & wait"
    )
    assert failing(pilot_sh, tmp_path, does) == (
        "osgpilot: error: the container takes no more jobs: PREPARE_JOB (prepare-hook) failed "
        "(reported status 306): the image does not exist"
    )


def test_links_of_jobs_are_not_followed_when_a_reason_is_looked_for(pilot_sh, tmp_path):
    """A job can write where the container logs, and sees the files of its pilot alone."""
    (tmp_path / "secret").write_text("::hookExited: s3cret\n")
    does = (
        "mkdir -p $inside/osgvo-pilot-x $inside/log;"
        " touch $inside/osgvo-pilot-x/stop-glidein.stamp;"
        " ln -s $FOLDER_OUT/secret $inside/log/StarterLog.slot1_1"
    )
    said = failing(pilot_sh, tmp_path, does)
    assert "its hook before a job failed" in said
    assert "s3cret" not in said


def test_the_stop_file_is_not_written_through_a_link_of_a_job(pilot_sh, tmp_path):
    does = "ln -s $FOLDER_OUT/elsewhere $inside/stop-glidein.stamp"
    process = pilot_sh(RUNTIME_DOES=does, WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=90)
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_keeps_the_beginning_and_the_end_of_what_the_container_says(pilot_sh, tmp_path):
    does = "echo first; seq 1000000; echo last >&2"
    said, _ = (process := pilot_sh(RUNTIME_DOES=does)).communicate(timeout=90)
    assert process.returncode == 0
    assert len(said) < 140_000
    assert "\nfirst\n1\n2\n" in said
    assert "\n999999\n1000000\nlast\n" in said
    assert "500000" not in said
    assert said.splitlines()[-1] == "osgpilot: container ended with status 0"


def test_a_short_output_is_kept_as_it_is(pilot_sh, tmp_path):
    said, _ = pilot_sh(RUNTIME_DOES="echo first; echo last").communicate(timeout=90)
    assert "\nfirst\nlast\nosgpilot: container ended with status 0\n" in said


def test_home_and_caches_of_the_container_are_on_the_scratch_disk(pilot_sh, tmp_path):
    """Otherwise they are in memory, 64 MB of it, too few for an image."""
    pilot_sh().communicate(timeout=90)
    argv = (tmp_path / "argv").read_text().split()
    assert re.fullmatch(
        rf"{tmp_path}/scratch/osg-pilot[^:]+/pilot/home:/pilot/home", argv[argv.index("--home") + 1]
    )
    assert re.search(rf"\n{tmp_path}/scratch/osg-pilot[^:]+/tmp:/tmp\n", "\n".join(argv))


def test_the_container_can_write_its_certificate_where_it_is_to_send_logs(pilot_sh, tmp_path):
    pilot_sh().communicate(timeout=90)
    assert "/etc/pki/rsyslog" not in (tmp_path / "argv").read_text()
    file = tmp_path / "p1" / "parameters"
    file.write_text(file.read_text().replace("SYSLOG=false", "SYSLOG=true"))
    pilot_sh().communicate(timeout=90)
    assert re.search(r"/syslog:/etc/pki/rsyslog\n", (tmp_path / "argv").read_text())


BUSY_RM = """#!/bin/bash
case $* in
    *osg-pilot.*) [ -e "$FOLDER_OUT/tried" ] || { touch "$FOLDER_OUT/tried"; exit 1; } ;;
esac
exec /bin/rm "$@"
"""


def test_scratch_that_a_dying_daemon_still_writes_into_is_removed_a_moment_later(
    pilot_sh, tmp_path
):
    rm = tmp_path / "bin" / "rm"
    rm.write_text(BUSY_RM)
    rm.chmod(0o755)
    pilot_sh().communicate(timeout=90)
    assert (tmp_path / "tried").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_pilot_without_a_job_that_is_to_drain_ends_at_once(pilot_sh, tmp_path):
    process = pilot_sh(WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    process.send_signal(signal.SIGUSR1)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "asked to take no new jobs" in said
    assert (tmp_path / "term").read_text() == "ended\n"


@pytest.mark.parametrize("gone", ["old", "deleted"])
def test_pilot_drains_when_the_lease_expires(pilot_sh, tmp_path, gone):
    script, lease = tmp_path / "pilot.sh", tmp_path / "lease"
    script.write_text(script.read_text().replace("LOOK_S=5", "LOOK_S=0.02"))
    lease.touch()
    process = pilot_sh(WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    time.sleep(0.5)
    assert process.poll() is None
    if gone == "old":
        os.utime(lease, (time.time() - 3600,) * 2)
    else:
        lease.unlink()
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "has not renewed its lease: taking no new jobs" in said
    assert (tmp_path / "term").read_text() == "ended\n"


@pytest.fixture
def gate(pilot_sh, tmp_path):
    """Run what the startd of a pilot asks whether it takes jobs, as often as wanted."""
    pilot_sh().communicate(timeout=90)
    folder, bin_folder = tmp_path / "pilot", tmp_path / "bin"
    folder.mkdir()
    text = (tmp_path / "gate").read_text().replace("/pilot", str(folder))

    def ask(free_mb=10_000, age_s=3600):
        for name, text_of in (
            ("df", f"echo; echo disk 1 1 {free_mb * 1024} 1% /"),
            ("ps", f"echo {age_s}"),
        ):
            (bin_folder / name).write_text(f"#!/bin/sh\n{text_of}\n")
            (bin_folder / name).chmod(0o755)
        local = folder / "osgvo-pilot-x"
        local.mkdir(exist_ok=True)
        env = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "LOCAL_DIR": str(local)}
        done = subprocess.run(
            ["sh", "-u"], input=text, env=env, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    ask.folder = folder
    return ask


OPEN, CLOSED = "OSGPILOT_CLOSED = false", "OSGPILOT_CLOSED = true"
SAID, NEWS = "- update:false", "- update:true"


@pytest.mark.parametrize("stamp", ["stop-glidein.stamp", "osgvo-pilot-x/stop-glidein.stamp"])
def test_stop_file_closes_the_gate_and_updates_the_pool_once(gate, stamp):
    """One file is that of pilot.sh, the other that of the container's hook before a job."""
    assert gate() == [OPEN, SAID]
    (gate.folder / stamp).touch()
    assert gate() == [CLOSED, NEWS]
    assert gate() == [CLOSED, SAID]


def test_the_pool_hears_again_and_again_of_a_pilot_that_has_just_started(gate):
    """The startd sends nothing when the container has tested the node, for five minutes."""
    updates = [age_s for age_s in range(0, 900, 5) if gate(age_s=age_s)[-1] == NEWS]
    assert updates == [10, 20, 40, 60, 90, 120, 180, 240]


def test_the_gate_is_closed_while_the_scratch_disk_is_full(gate):
    assert gate(free_mb=255) == [CLOSED, NEWS]
    assert gate(free_mb=0) == [CLOSED, SAID]
    assert gate(free_mb=256) == [OPEN, NEWS]
    assert gate() == [OPEN, SAID]


def test_a_disk_of_which_nothing_is_known_closes_no_gate(gate, tmp_path):
    df = tmp_path / "bin" / "df"
    gate()
    df.write_text("#!/bin/sh\nexit 1\n")
    text = (tmp_path / "gate").read_text().replace("/pilot", str(gate.folder))
    env = {"PATH": f"{df.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh"], input=text, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [OPEN, SAID]


def test_a_node_whose_scratch_disk_is_full_gets_no_pilot(pilot_sh, tmp_path):
    df = tmp_path / "bin" / "df"
    df.write_text("#!/bin/sh\necho; echo disk 1 1 1024 99% /\n")
    df.chmod(0o755)
    said, _ = (process := pilot_sh()).communicate(timeout=90)
    assert process.returncode == 1
    assert "1 MB free in" in said
    assert not (tmp_path / "argv").exists()


def test_a_pilot_whose_scratch_disk_stays_full_drains(pilot_sh, tmp_path):
    script, df = tmp_path / "pilot.sh", tmp_path / "bin" / "df"
    script.write_text(script.read_text().replace("LOOK_S=5", "LOOK_S=0.02"))
    process = pilot_sh(WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    df.write_text("#!/bin/sh\necho; echo disk 1 1 1024 99% /\n")
    df.chmod(0o755)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "MB free in" in said
    assert "for long: taking no new jobs" in said
    assert (tmp_path / "term").read_text() == "ended\n"


def test_the_log_tells_what_was_found_on_the_node(pilot_sh):
    said, _ = pilot_sh().communicate(timeout=90)
    checks = dict(
        line.removeprefix("osgpilot: check ").split("=")
        for line in said.splitlines()
        if line.startswith("osgpilot: check ")
    )
    assert set(checks) == {"user_namespaces", "fuse", "cvmfs", "scratch_gb", "pool"}
    assert checks["pool"] == "ok"
    assert int(checks["scratch_gb"]) >= 0


def test_a_node_that_cannot_reach_the_pool_says_so(pilot_sh, tmp_path):
    folder = tmp_path / "p1" / "parameters"
    folder.write_text(re.sub("env POOL=.*", "env POOL=127.0.0.1:1", folder.read_text()))
    said, _ = (process := pilot_sh()).communicate(timeout=90)
    assert process.returncode == 1
    assert "cannot reach 127.0.0.1 port 1" in said


def test_a_pilot_whose_workflow_is_gone_leaves_at_once(pilot_sh, tmp_path):
    lease = tmp_path / "lease"
    lease.touch()
    os.utime(lease, (time.time() - 3600,) * 2)
    said, _ = (process := pilot_sh()).communicate(timeout=90)
    assert process.returncode == 0
    assert "has not renewed its lease for 60 min: leaving" in said
    assert not (tmp_path / "argv").exists()


def test_a_pilot_whose_kind_is_held_back_leaves_at_once(pilot_sh, tmp_path):
    (tmp_path / "lease").touch()
    (tmp_path / "held-back").write_text("other/4c\ndefault/4c\n")
    said, _ = (process := pilot_sh()).communicate(timeout=90)
    assert process.returncode == 0
    assert "held back" in said
    assert not (tmp_path / "argv").exists()


@pytest.fixture
def fetched(tmp_path):
    """Have the pilot's image come by URL; returns what the container runtime was asked to fetch."""

    def use(url="docker://registry/pilot:1"):
        path = tmp_path / "p1" / "parameters"
        text = re.sub("option image=.*", f"option image={url}", path.read_text())
        path.write_text(text)

    def asked():
        return (tmp_path / "pulls").read_text().splitlines()

    use.asked = asked
    return use


def test_an_image_is_fetched_once_for_all_pilots_and_again_when_it_is_old(
    pilot_sh, fetched, tmp_path
):
    fetched()
    for _ in range(2):
        said, _ = (process := pilot_sh()).communicate(timeout=90)
        assert process.returncode == 0, said
    assert fetched.asked() == ["docker://registry/pilot:1"]
    (kept,) = (tmp_path / ".cache").rglob("*.sif")
    assert str(kept) in (tmp_path / "argv").read_text()
    os.utime(kept, (time.time() - 73 * 3600,) * 2)
    pilot_sh().communicate(timeout=90)
    assert len(fetched.asked()) == 2
    assert (tmp_path / ".cache" / "osgpilot" / "pilot-images").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("status", [0, 7])
def test_the_probe_fetches_what_a_pilot_will_fetch_as_the_pilot_does(pilot_sh, tmp_path, status):
    runtime, said_by = tmp_path / "bin" / "apptainer", tmp_path / "asked"
    runtime.write_text(
        f'#!/bin/bash\ncase "$*" in *curl*) echo "$@" >> {said_by}; exit {status} ;; esac\n'
    )
    file, probe = tmp_path / "p1" / "parameters", tmp_path / "p1" / "probe"
    probe.write_text((Path(parameters.__file__).parent / "probe.sh").read_text())
    file.write_text(file.read_text() + "option urls=https://images/v2/ARCH/x.txt\n")
    (tmp_path / "image.sif").touch()
    file.write_text(
        re.sub("option image=.*", f"option image={tmp_path}/image.sif", file.read_text())
    )
    said, _ = pilot_sh().communicate(timeout=90)
    url = f"https://images/v2/{os.uname().machine}/x.txt"
    assert f"check {'unfetched' if status else 'fetches'}={url}\n" in said
    assert url in said_by.read_text()


NVIDIA_SMI = {
    """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-8f0a2f2e-0000-4c1d-9d0c-000000000001)
  MIG 3g.20gb     Device  0: (UUID: MIG-00000000-1111-5222-8333-000000000002)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-8f0a2f2e-0000-4c1d-9d0c-000000000003)
""": "2",
    "GPU 0: Tesla V100-PCIE-16GB (UUID: GPU-00000000-0000-4c1d-9d0c-000000000004)\n": "1",
    "No devices were found\n": "0",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n": "0",
}
"""Output of `nvidia-smi --list-gpus` (its manual page)."""


@pytest.mark.parametrize("printed", NVIDIA_SMI)
def test_the_probe_counts_the_gpus_of_a_node(pilot_sh, tmp_path, printed):
    tool, file, probe = (
        tmp_path / name for name in ("bin/nvidia-smi", "p1/parameters", "p1/probe")
    )
    tool.write_text(f'#!/bin/bash\n[ "$1" = --list-gpus ] && printf %s {shlex.quote(printed)}\n')
    tool.chmod(0o755)
    probe.write_text((Path(parameters.__file__).parent / "probe.sh").read_text())
    file.write_text(file.read_text().replace("option gpus=0\n", "option gpus=1\n"))
    said, _ = pilot_sh().communicate(timeout=90)
    assert f"osgpilot: check gpus={NVIDIA_SMI[printed]}\n" in said


def test_an_old_image_is_better_than_none(pilot_sh, fetched, tmp_path):
    fetched()
    pilot_sh().communicate(timeout=90)
    (kept,) = (tmp_path / ".cache").rglob("*.sif")
    os.utime(kept, (time.time() - 73 * 3600,) * 2)
    said, _ = (process := pilot_sh(PULL_FAILS="1")).communicate(timeout=90)
    assert process.returncode == 0
    assert "cannot renew docker://registry/pilot:1" in said


def test_an_image_that_cannot_be_fetched_ends_the_pilot_with_the_reason(pilot_sh, fetched):
    fetched()
    said, _ = (process := pilot_sh(PULL_FAILS="1")).communicate(timeout=90)
    assert process.returncode == 1
    assert "cannot fetch docker://registry/pilot:1" in said


def test_a_container_that_fails_fails_the_allocation(pilot_sh, tmp_path):
    process = pilot_sh(RUNTIME_STATUS="7")
    process.communicate(timeout=90)
    assert process.returncode == 7
    assert list((tmp_path / "scratch").iterdir()) == []


def test_without_a_container_runtime_the_log_says_so(pilot_sh, tmp_path):
    (tmp_path / "bin" / "apptainer").unlink()
    for tool in ("bash", "hostname", "env", "stat"):
        (tmp_path / "bin" / tool).symlink_to(Path("/usr/bin") / tool)
    process = pilot_sh(PATH=str(tmp_path / "bin"))
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "neither apptainer nor singularity" in said


def test_scratch_may_name_variables_of_the_allocation(pilot_sh, tmp_path):
    reported, disk = tmp_path / "p1" / "parameters", tmp_path / "disk" / "job_4711"
    disk.mkdir(parents=True)
    reported.write_text(
        re.sub("option scratch=.*", "option scratch=$DISK/job_$SLURM_JOB_ID", reported.read_text())
    )
    said, _ = (process := pilot_sh(DISK=str(disk.parent))).communicate(timeout=90)
    assert process.returncode == 0, said
    assert f"{disk}/osg-pilot.4711." in (tmp_path / "argv").read_text()
    assert not any(disk.iterdir())


@pytest.mark.parametrize("value", ["", "disk", "/a:/b", "/a b"])
def test_scratch_that_is_no_folder_by_its_variables_is_named(pilot_sh, tmp_path, value):
    reported = tmp_path / "p1" / "parameters"
    reported.write_text(re.sub("option scratch=.*", "option scratch=$DISK", reported.read_text()))
    said, _ = (process := pilot_sh(DISK=value)).communicate(timeout=90)
    assert process.returncode == 1
    assert "$DISK is no folder on" in said
    assert "see `scratch` in the site file" in said
