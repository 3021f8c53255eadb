"""What a pilot is told, and the script that reads it."""

import os
import subprocess
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.pilot import parameters
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.site.load import PilotOptions, Site

SEAT = Seat("alice", "MyProject", "r1")


def site(tmp_path, **more):
    options = PilotOptions(cores=4, memory_mb=3900, walltime_min=90, memory_headroom_mb=100)
    return Site("Home", "Home-Slurm", tmp_path / "token", "/x.sif", options, **more)


def test_the_contract_of_the_pilot_container(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, "p1")
    assert values["env OSG_PROJECT_NAME"] == "MyProject"
    assert values["env MEMORY"] == "3800"
    assert values["env NUM_CPUS"] == "4"
    assert values["env GLIDEIN_RANDOMIZE_NAME"] == "true"
    assert values["env ACCEPT_JOBS_FOR_HOURS"] == "2"
    assert values["env GLIDEIN_Start_Extra"] == (
        '((TARGET.Owner == "alice") && (TARGET.OSGPilotWorkflow =?= "r1"))'
    )


@pytest.mark.parametrize("bad", ['x" || true || "', "a b", "", "-x", "a\nb", "ü", "x" * 129])
def test_a_project_that_would_change_the_start_expression_is_refused(tmp_path, bad):
    with pytest.raises(BadInput, match="project"):
        parameters.parameters(site(tmp_path), Seat("alice", bad, "r1"), "p1")


def test_the_token_itself_is_nowhere_in_a_pilots_folder(tmp_path):
    (tmp_path / "token").write_text("SECRET")
    folder = tmp_path / "pilots" / "p1"
    values = parameters.parameters(site(tmp_path), SEAT, "p1")
    parameters.write(folder, site(tmp_path), values)
    assert "SECRET" not in "".join(p.read_text() for p in folder.iterdir())


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    path.chmod(0o600)
    return path


def test_a_private_token_is_fine(token):
    parameters.check_token(token)


def test_a_token_that_others_can_read_is_refused_with_the_cure(token):
    token.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        parameters.check_token(token)


def test_missing_and_empty_tokens_are_refused(tmp_path, token):
    with pytest.raises(BadInput, match="No such file"):
        parameters.check_token(tmp_path / "none")
    token.write_text("")
    with pytest.raises(BadInput, match="empty"):
        parameters.check_token(token)


FAKE_RUNTIME = """#!/bin/bash
printf '%s\\n' "$@" > "$FOLDER_OUT/argv"
env > "$FOLDER_OUT/env"
for a in "$@"; do
    case $a in *extra-attributes.cfg*) cat "${a%%:*}" > "$FOLDER_OUT/attributes";; esac
done
trap 'echo ended > "$FOLDER_OUT/term"; kill $!; exit 0' TERM
if [ -n "${WAIT_FOR_TERM:-}" ]; then
    sleep 60 > /dev/null 2>&1 &
    touch "$FOLDER_OUT/waiting"
    wait
fi
exit "${RUNTIME_STATUS:-0}"
"""


@pytest.fixture
def pilot_sh(tmp_path, token):
    """Start pilot.sh in an allocation that is not one, with a container runtime that only looks."""
    bin_folder, scratch = tmp_path / "bin", tmp_path / "scratch"
    bin_folder.mkdir()
    scratch.mkdir()
    runtime = bin_folder / "apptainer"
    runtime.write_text(FAKE_RUNTIME)
    runtime.chmod(0o755)
    (tmp_path / "data").mkdir()
    here = site(
        tmp_path,
        scratch=str(scratch),
        setup=("export FROM_SETUP=yes",),
        shared_folders=(f"{tmp_path}/data",),
    )
    folder = tmp_path / "p1"
    values = parameters.parameters(here, SEAT, "p1")
    values["env TRICKY"] = "a=b $(touch pwned) `id` \"quoted\" 'single' \\ end "
    parameters.write(folder, here, values)
    script = parameters.install_script(tmp_path)

    def start(**env):
        return subprocess.Popen(
            [str(script), str(folder)],
            env={
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
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

    return start


def test_values_reach_the_container_unchanged_and_unevaluated(pilot_sh, tmp_path):
    process = pilot_sh()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    env = (tmp_path / "env").read_text()
    assert "APPTAINERENV_TRICKY=a=b $(touch pwned) `id` \"quoted\" 'single' \\ end \n" in env
    assert "APPTAINERENV_OSG_PROJECT_NAME=MyProject\n" in env
    assert "FROM_SETUP=yes" in env
    assert not (tmp_path / "pwned").exists()
    argv = (tmp_path / "argv").read_text()
    assert f"{tmp_path}/token:/etc/condor/tokens-orig.d/flock.opensciencegrid.org:ro" in argv
    assert "secret" not in argv + env + said


def test_a_pilot_with_gpus_takes_them_into_the_container(pilot_sh, tmp_path):
    pilot_sh(CUDA_VISIBLE_DEVICES="1,2").communicate(timeout=30)
    assert "--nv" not in (tmp_path / "argv").read_text()
    assert "APPTAINERENV_CUDA" not in (tmp_path / "env").read_text()

    told = tmp_path / "p1" / "parameters"
    told.write_text(told.read_text().replace("option gpus=0\n", "option gpus=2\n"))
    pilot_sh(CUDA_VISIBLE_DEVICES="1,2").communicate(timeout=30)
    assert "--nv\n" in (tmp_path / "argv").read_text()
    assert "APPTAINERENV_CUDA_VISIBLE_DEVICES=1,2\n" in (tmp_path / "env").read_text()


def test_shared_folders_reach_the_pilot_and_the_containers_of_its_jobs(pilot_sh, tmp_path):
    said, _ = pilot_sh().communicate(timeout=30)
    data = f"{tmp_path}/data"
    assert f"--bind {data}" in " ".join((tmp_path / "argv").read_text().split()), said
    assert f"APPTAINERENV_SINGULARITY_BIND_EXTRA={data}:{data}\n" in (tmp_path / "env").read_text()


def test_a_shared_folder_that_a_node_lacks_is_named(pilot_sh, tmp_path):
    (tmp_path / "data").rmdir()
    process = pilot_sh()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"{tmp_path}/data is not on" in said
    assert "--osgpilot-shared-prefixes" in said


def test_the_end_of_life_comes_from_the_end_of_the_allocation(pilot_sh, tmp_path):
    pilot_sh().communicate(timeout=30)
    attributes = dict(
        line.split(" = ") for line in (tmp_path / "attributes").read_text().splitlines()
    )
    assert int(attributes["GLIDEIN_ToDie"]) == 2000000000 - 240
    assert attributes["OSGPILOT_SLURM_JOB_ID"] == '"4711"'
    assert attributes["OSGPILOT_PILOT_ID"] == '"p1"'


def test_term_ends_the_container_gently_and_leaves_no_scratch(pilot_sh, tmp_path):
    process = pilot_sh(WAIT_FOR_TERM="1")
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.stdout.read()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / "term").read_text() == "ended\n"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_container_that_fails_fails_the_allocation(pilot_sh, tmp_path):
    process = pilot_sh(RUNTIME_STATUS="7")
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert list((tmp_path / "scratch").iterdir()) == []


def test_without_a_container_runtime_the_log_says_so(pilot_sh, tmp_path):
    (tmp_path / "bin" / "apptainer").unlink()
    for tool in ("bash", "hostname", "env"):
        (tmp_path / "bin" / tool).symlink_to(Path("/usr/bin") / tool)
    process = pilot_sh(PATH=str(tmp_path / "bin"))
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "neither apptainer nor singularity" in said
