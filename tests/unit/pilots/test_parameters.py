"""The parameters of a pilot, and the script that reads them."""

from dataclasses import replace

import classad2
import pytest

from snakemake_executor_plugin_osgpilot.config.site import Partition, PilotOptions, Site
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.model.identity import PilotSharing, RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import OWN_ROOT, Pilot, Shape
from snakemake_executor_plugin_osgpilot.pilots import parameters

SEAT = RunIdentity("alice", "MyProject", "r1")


def site(tmp_path, **more):
    partition = Partition("", 4, 3900, (90,), smallest_cores=4)
    return Site("Home", "Home-Slurm", tmp_path / "token", "/x.sif", (partition,), **more)


PILOT = Pilot("p1", Shape(4, 3800), offer="default/4c", walltime_s=5400)


def test_the_contract_of_the_pilot_container(tmp_path):
    here = site(tmp_path, central_manager="cm.example.org", pilot=PilotOptions(idle_min=17))
    values = parameters.parameters(here, SEAT, PILOT, tmp_path)
    assert values["env POOL"] == "cm.example.org"
    assert values["env GLIDEIN_Site"] == "Home"
    assert values["env GLIDEIN_ResourceName"] == "Home-Slurm"
    assert values["env ACCEPT_IDLE_MINUTES"] == "17"
    assert int(values["env RETIREMENT_HOURS"]) > 0
    assert values["env OSG_PROJECT_NAME"] == "MyProject"
    assert values["env MEMORY"] == "3800"
    assert values["env NUM_CPUS"] == "4"
    assert values["env GLIDEIN_RANDOMIZE_NAME"] == "true"
    assert values["env ACCEPT_JOBS_FOR_HOURS"] == "2"
    assert values["env GLIDEIN_Start_Extra"] == (
        '((TARGET.Owner =?= "alice") && (TARGET.OSGPilotWorkflow =?= "r1")'
        " && (MY.OSGPILOT_CLOSED =!= true))"
    )


def test_the_master_looks_for_the_end_of_life_each_minute(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    assert int(values["env _CONDOR_MASTER_UPDATE_INTERVAL"]) <= 60


def test_knobs_of_the_site_file_win_over_those_of_pilots(tmp_path):
    here = site(tmp_path, condor={"UPDATE_INTERVAL": "7", "MASTER_UPDATE_INTERVAL": "9"})
    values = parameters.parameters(here, SEAT, PILOT, tmp_path)
    assert values["env _CONDOR_UPDATE_INTERVAL"] == "7"
    assert values["env _CONDOR_MASTER_UPDATE_INTERVAL"] == "9"


def test_memory_is_sampled_in_time_for_the_neighbours(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    assert int(values["env _CONDOR_STARTER_UPDATE_INTERVAL"]) <= 60


def test_a_pilot_sends_no_logs_away_unless_asked_to(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    assert values["env ENABLE_REMOTE_SYSLOG"] == "false"


@pytest.mark.parametrize(("wanted", "said"), [(True, "true"), (False, "false")])
def test_a_site_can_have_pilots_that_send_no_logs_away(tmp_path, wanted, said):
    quiet = site(tmp_path, pilot=PilotOptions(remote_log=wanted))
    values = parameters.parameters(quiet, SEAT, PILOT, tmp_path)
    assert values["env ENABLE_REMOTE_SYSLOG"] == said


def test_wider_pilot_sharing_admits_more_jobs_and_still_no_other_owner(tmp_path):
    seats = [replace(SEAT, pilot_sharing=sharing) for sharing in PilotSharing]
    clauses = [parameters.start_extra(seat) for seat in seats]
    jobs = [("alice", "r1"), ("alice", "r2"), ("bob", "r1"), ("bob", "r2"), ("Alice", "r1")]
    assert [[admits(clause, *job) for job in jobs] for clause in clauses] == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, True, True],
    ]


def admits(clause, owner, run, **slot):
    job = classad2.ClassAd({"Owner": owner, "OSGPilotWorkflow": run})
    return classad2.ExprTree(clause).eval(scope=classad2.ClassAd(slot), target=job)


@pytest.mark.parametrize("sharing", list(PilotSharing))
def test_a_pilot_that_is_closed_admits_nobody(sharing):
    clause = parameters.start_extra(replace(SEAT, pilot_sharing=sharing))
    assert admits(clause, "alice", "r1", OSGPILOT_CLOSED=False)
    assert not admits(clause, "alice", "r1", OSGPILOT_CLOSED=True)


def test_the_startd_runs_the_gate_besides_what_else_it_runs(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    jobs = values["env _CONDOR_STARTD_CRON_JOBLIST"].split()
    assert jobs == ["$(STARTD_CRON_JOBLIST)", "osgpilot"]
    assert values["env _CONDOR_STARTD_CRON_osgpilot_ARGS"] == "/pilot/osgpilot-gate"


@pytest.mark.parametrize("sharing", list(PilotSharing))
def test_no_pilot_sharing_lets_a_name_through_that_would_change_the_expression(tmp_path, sharing):
    with pytest.raises(InputError, match="owner"):
        parameters.start_extra(RunIdentity('a" || true || "', "MyProject", "r1", sharing))


@pytest.mark.parametrize("bad", ['x" || true || "', "a b", "", "-x", "a\nb", "ü", "x" * 129])
def test_a_project_that_would_change_the_start_expression_is_refused(tmp_path, bad):
    with pytest.raises(InputError, match="project"):
        parameters.parameters(site(tmp_path), RunIdentity("alice", bad, "r1"), PILOT, tmp_path)


def test_the_token_itself_is_nowhere_in_a_pilots_folder(tmp_path):
    (tmp_path / "token").write_text("SECRET")
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    files = parameters.pilot_files(site(tmp_path), values)
    assert "SECRET" not in "".join(files.values())


def test_slots_that_keep_an_image_are_not_stopped_for_their_disk(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    policy = classad2.ExprTree(values["env _CONDOR_DISK_EXCEEDED"])

    def exceeded(name, usage_kb):
        ad = classad2.ClassAd({"Name": name, "JobUniverse": 5, "Disk": 1000})
        if usage_kb is not None:
            ad["DiskUsage"] = usage_kb
        return policy.eval(ad)

    assert exceeded("slot1_1@data1.example.org", 1001) is True
    assert exceeded("slot1_1@node", 1000) is False
    assert exceeded("data1_3@node", 1001) is False
    assert exceeded("slot1_1@node", None) is False


def test_only_jobs_that_ask_for_it_get_a_writable_root_file_system(tmp_path):
    values = parameters.parameters(site(tmp_path), SEAT, PILOT, tmp_path)
    given = classad2.ExprTree(values["env _CONDOR_SINGULARITY_EXTRA_ARGUMENTS"])
    as_on_the_ospool = "--home $_CONDOR_SCRATCH_DIR:/srv"
    assert given.eval(classad2.ClassAd()) == as_on_the_ospool
    assert given.eval(classad2.ClassAd({OWN_ROOT: False})) == as_on_the_ospool
    assert given.eval(classad2.ClassAd({OWN_ROOT: True})) == f"{as_on_the_ospool} --writable-tmpfs"
