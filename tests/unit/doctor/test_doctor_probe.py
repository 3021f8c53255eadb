"""Probe jobs of the doctor: in all cases, none stays in Slurm."""

from pathlib import Path

import pytest
from doubles import FakeSlurm
from doubles import site as a_site

from snakemake_executor_plugin_osgpilot.doctor import probe
from snakemake_executor_plugin_osgpilot.doctor.context import CheckContext
from snakemake_executor_plugin_osgpilot.doctor.findings import Verdict
from snakemake_executor_plugin_osgpilot.doctor.probe import Probe, sent
from snakemake_executor_plugin_osgpilot.doctor.remote_checks import largest
from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from snakemake_executor_plugin_osgpilot.slurm.cluster import Cluster
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host


class Slurm(FakeSlurm):
    """Shows what was submitted in one state, from the first look on."""

    def __init__(self, seen, **more):
        super().__init__()
        self.shown = seen, more

    def look(self):
        self.show(self.shown[0], **self.shown[1])
        return super().look()


@pytest.fixture
def send(tmp_path, monkeypatch):
    """Send one probe to `slurm`; return what was found."""
    for name in ("PAUSE_S", "LOG_WAIT_S"):
        monkeypatch.setattr(probe, name, 0.0)
    site = a_site(tmp_path)
    cluster = Cluster(Host(Here()), site, "me", tmp_path)

    def run(slurm, probe_wait_s=0.0):
        context = CheckContext(Path("none"), state_folder=tmp_path, probe_wait_s=probe_wait_s)
        allocation = Allocation("osgpilot-doctor-1", "doctor", 1, 500, 2, tmp_path / "1")
        return sent([Probe(largest(site)[0], allocation)], slurm, context, cluster)

    return run


def test_a_probe_that_does_not_start_in_time_is_cancelled(send):
    slurm = Slurm(Seen.QUEUED, reason="Priority")
    (finding,) = send(slurm)
    assert (finding.name, finding.verdict) == ("node", Verdict.UNTESTED)
    assert "did not start (Priority)" in finding.what
    assert slurm.killed == ["1"]


def test_a_probe_that_can_never_start_is_cancelled_and_fails(send):
    slurm = Slurm(Seen.QUEUED, reason="AssocMaxCpuPerJobLimit")
    (finding,) = send(slurm, probe_wait_s=3600)
    assert finding.verdict is Verdict.FAILED
    assert slurm.killed == ["1"]


def test_a_probe_with_unknown_submission_is_found_by_name_and_cancelled(send):
    slurm = Slurm(Seen.QUEUED)
    slurm.lost_answer = True
    (finding,) = send(slurm)
    assert finding.verdict is Verdict.UNTESTED
    assert slurm.killed == ["1"]


def test_a_probe_that_slurm_refuses_is_a_failure(send):
    slurm = Slurm(Seen.QUEUED)
    slurm.fails = RejectedError("sbatch: error: Invalid account")
    (finding,) = send(slurm)
    assert (finding.verdict, finding.what) == (Verdict.FAILED, "sbatch: error: Invalid account")
    assert slurm.killed == []


def test_a_probe_without_a_shared_folder_leaves_no_log(send):
    slurm = Slurm(Seen.FAILED, started_s=1.0, node="n1")
    (finding,) = send(slurm)
    assert (finding.name, finding.verdict) == ("node-folder", Verdict.FAILED)
    assert "share with this host" in finding.fix
    assert slurm.killed == []


def test_a_probe_that_slurm_purged_has_run(send, tmp_path):
    class Forgetful(FakeSlurm):
        def look(self):
            self.looks += 1
            return {}

    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "slurm.log").write_text("osgpilot: check node=n1\n")
    slurm = Forgetful()
    (finding,) = send(slurm, probe_wait_s=3600)
    assert "the probe on n1 broke off" in finding.what
    assert slurm.looks == 3


def test_what_one_said_is_read(send, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "slurm.log").write_text("osgpilot: check node=n1\nslurmstepd: error: gone\n")
    (finding,) = send(Slurm(Seen.FAILED, started_s=1.0, node="n1"))
    assert "broke off, it said: osgpilot: check node=n1 slurmstepd: error: gone" in finding.what
