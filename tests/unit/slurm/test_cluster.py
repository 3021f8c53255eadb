"""The prerequisites of a submission, on whichever host Slurm is."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import site as a_site

from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import InputError, MissingPrerequisiteError
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.slurm.cluster import LOGS, checked
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host

RUN = "20260102-030405-abcdef"
SIF = b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + bytes(64)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with Slurm's commands in its PATH."""
    for command in ("sbatch", "squeue", "scancel"):
        path = tmp_path / "bin" / command
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def site(home):
    return a_site(home)


@pytest.fixture
def behind_ssh(site):
    """The same site as if it were behind SSH: the checks are the same over any connection."""
    return replace(site, token=Path("~/token"), slurm=SlurmOptions(ssh="login"))


@pytest.mark.parametrize(("mode", "safe"), [(0o700, True), (0o755, True), (0o1777, True),
                                            (0o777, False), (0o775, False)])  # fmt: skip
def test_a_folder_on_the_cluster_in_which_others_can_replace_files_is_refused(
    behind_ssh, home, mode, safe
):
    folder = home / "scratch" / "osgpilot"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    named = replace(behind_ssh, slurm=SlurmOptions(ssh="login", folder=str(folder)))
    cluster = check(named)
    run = RunFolder(Path(f"/w/osgpilot/{RUN}"))
    if safe:
        cluster.client(run)
        return
    with pytest.raises(InputError, match=r"osgpilot on login belongs .*`slurm\.folder`"):
        cluster.client(run)


def test_a_folder_of_another_user_on_the_cluster_is_refused(behind_ssh, home):
    cluster = replace(check(behind_ssh), user="nobody")
    folder = cluster.folder(RunFolder(Path(f"/w/osgpilot/{RUN}"))).path.parent
    if not folder.exists() and os.geteuid() == 0:
        folder.mkdir(parents=True)
        os.chown(folder, 4711, 4711)
    with pytest.raises(InputError, match="belongs to another user"):
        cluster.client(RunFolder(Path(f"/w/osgpilot/{RUN}")))


def check(site):
    return checked(Host(Here()), site)


def test_a_private_token_is_fine(site):
    cluster = check(site)
    assert cluster.site == site
    assert cluster.folder(RunFolder(Path("/w/r1"))).path == Path("/w/r1")


def test_a_token_that_others_can_read_is_refused_with_the_cure(site):
    site.token.chmod(0o644)
    with pytest.raises(InputError, match=f"chmod 600 {site.token}"):
        check(site)


def test_missing_and_empty_tokens_are_refused(site):
    with pytest.raises(InputError, match="none: No such file"):
        check(replace(site, token=site.token.with_name("none")))
    site.token.write_text("")
    with pytest.raises(InputError, match="empty"):
        check(site)


def test_of_tokens_only_what_they_claim_is_read(site):
    site.token.write_text("# a comment\n\nhead.claims.signature\n  head.more.signature\nhunter2\n")
    assert check(site).claims.splitlines() == ["head.claims.", "head.more.", "?"]


def test_a_missing_image_is_named_and_one_that_is_fetched_is_not_looked_for(site):
    with pytest.raises(InputError, match=r"pilot image /nowhere\.sif does not exist;"):
        check(replace(site, image="/nowhere.sif"))
    assert check(site).site.image == "docker://pilot"


def test_an_image_that_is_none_and_one_that_cannot_be_read_are_refused(site, home):
    (home / "x.sif").write_text("docker://not-this-way\n")
    with pytest.raises(InputError, match=r"x\.sif is not an image of Apptainer \(SIF\);"):
        check(replace(site, image=f"{home}/x.sif"))
    (home / "x.sif").write_bytes(SIF)
    assert check(replace(site, image=f"{home}/x.sif")).site.image == f"{home}/x.sif"


def test_without_slurm_the_line_says_where_to_run(site, home):
    (home / "bin" / "squeue").rename(home / "bin" / "off")
    with pytest.raises(MissingPrerequisiteError, match="`squeue` was not found; run this where"):
        check(site)


def test_behind_ssh_the_home_is_that_of_the_cluster(behind_ssh, home):
    (home / "x.sif").write_bytes(SIF)
    cluster = check(replace(behind_ssh, image="~/x.sif"))
    assert (cluster.site.token, cluster.site.image) == (home / "token", f"{home}/x.sif")
    there = cluster.folder(RunFolder(Path(f"/w/osgpilot/{RUN}")))
    assert there.path == home / ".local/state/osgpilot" / RUN


@pytest.mark.parametrize(
    ("folder", "found"), [("~", "{home}"), ("~/a/b", "{home}/a/b"), ("/scratch/me", "/scratch/me")]
)
def test_the_folder_for_pilots_can_be_chosen(behind_ssh, home, folder, found):
    cluster = check(replace(behind_ssh, slurm=SlurmOptions(ssh="login", folder=folder)))
    assert str(cluster.folder(RunFolder(Path("/w/r1"))).path) == f"{found.format(home=home)}/r1"


def test_behind_ssh_complaints_name_the_host(behind_ssh, home):
    (home / "token").chmod(0o640)
    with pytest.raises(InputError, match=f"token file {home}/token on login can be read by others"):
        check(behind_ssh)


def test_clean_up_copies_logs_and_removes_the_folder(behind_ssh, home):
    run = RunFolder.create(home / ".snakemake", RUN)
    cluster = check(behind_ssh)
    client, there = cluster.client(run), cluster.folder(run)
    assert (there.path / "pilot.sh").stat().st_mode & 0o077 == 0
    client.write({there.pilot("p1") / "slurm.log": "it said this\n"})
    cluster.clean_up(run)
    assert "it said this" in (run.path / LOGS).read_text()
    assert not there.path.exists()
    assert run.path.exists()


def test_where_slurm_is_here_the_runs_folder_stays(site, home):
    run = RunFolder.create(home / ".snakemake", RUN)
    check(site).clean_up(run)
    assert run.path.exists()


def test_a_folder_that_cannot_be_written_is_named(behind_ssh, home):
    (home / "file").touch()
    options = SlurmOptions(ssh="login", folder="~/file")
    cluster = check(replace(behind_ssh, slurm=options))
    with pytest.raises(MissingPrerequisiteError, match=r"Not a directory.*`slurm.folder`"):
        cluster.client(RunFolder(Path("/w/r1")))
