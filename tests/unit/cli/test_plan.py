"""The unknowns and silent sites that `osgpilot plan` names, and its exit status."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.preview.dry_plan import Start
from snakemake_executor_plugin_osgpilot.preview.lead_times import Coming
from snakemake_executor_plugin_osgpilot.preview.result import Preview, ProjectPreview, Verdict
from snakemake_executor_plugin_osgpilot.scaling.planner.bounds import Expected
from snakemake_executor_plugin_osgpilot.staging.shared_inputs import InputTotals


def project(accepted=True, unknown=()):
    shape, said = Shape(4, 3800), "sbatch: said"
    verdict = Verdict("compute/4c", shape, accepted, said, 1.0, 4, ("sbatch",), {})
    return ProjectPreview(
        "Mine", 1, 14, (Start(0.0, 2, "compute/4c", 3600, 1.0, 180.0, "no pilot yet"),), (), (),
        Expected((900.0, 6000.0), (0.2, 4.0), "9 simulated runs", unknown),
        Coming({}, 60.0, None), (verdict,), (),
    )  # fmt: skip


@pytest.fixture
def planned(monkeypatch):
    def run(found, *options):
        monkeypatch.setattr(
            "snakemake_executor_plugin_osgpilot.preview.snakemake_cli.preview", lambda _: found
        )
        return CliRunner().invoke(main, ["plan", *options])

    return run


def test_the_exit_status_is_1_if_slurm_would_refuse_a_pilot(planned):
    for options in ([], ["--json"]):
        assert planned(Preview((), (project(),), ""), *options).exit_code == 0
        refused = planned(Preview((), (project(accepted=False),), ""), *options)
        assert refused.exit_code == 1
    assert (
        "Slurm would refuse compute/4c: said"
        in planned(Preview((), (project(accepted=False),), "")).output
    )


def test_a_folder_that_a_live_run_holds_is_named_and_no_run_can_begin(planned):
    found = Preview((), (project(),), "", in_use="another Snakemake is running in this folder")
    said = planned(found)
    assert said.exit_code == 1
    line = "a start would be refused now: another Snakemake is running in this folder"
    assert line in said.output.splitlines()
    as_data = planned(found, "--json")
    assert as_data.exit_code == 1
    assert json.loads(as_data.output)["in_use"] == found.in_use


@pytest.mark.parametrize(("why", "shown"), [("", True), ("another Snakemake is running", False)])
def test_a_lock_of_snakemake_is_shown_unless_the_run_that_holds_it_is_known(planned, why, shown):
    answer = planned(Preview((), (project(),), "", in_use=why, is_locked=True))
    assert ("run `snakemake --unlock` before you start" in " ".join(answer.output.split())) == shown
    assert answer.exit_code == (0 if shown else 1)


def test_an_argument_that_snakemake_does_not_know_is_named_without_the_usage():
    refused = CliRunner().invoke(main, ["plan", "--executor", "osgpilot", "--osgpilot-max-pilts=1"])
    assert refused.exit_code == 2
    assert refused.stderr == "Error: unrecognized arguments: --osgpilot-max-pilts=1\n"


def test_a_site_that_does_not_answer_is_named_and_the_run_can_begin(planned):
    found = Preview((), (project(),), "", silent={"Far": "ssh far: Connection refused"})
    said = planned(found)
    assert said.exit_code == 0
    line = "site Far does not answer; a run starts without it and polls it again: ssh far: "
    assert line in " ".join(said.output.split())
    assert json.loads(planned(found, "--json").output)["silent"] == found.silent


def test_local_rules_and_what_follows_a_checkpoint_are_named(planned):
    found = Preview((), (project(),), "", {"all": 1, "plot": 3}, ("split",), ("map", "merge"))
    lines = planned(found).output.splitlines()
    assert "rule all -> Snakemake itself, as a local rule: 1 job" in lines
    assert "rule plot -> Snakemake itself, as a local rule: 3 jobs" in lines
    assert (
        "more may come: jobs that follow the checkpoint split are not known yet, perhaps of map, "
        "merge" in lines
    )
    assert "project Mine: 1 job ready, 14 to follow" in lines
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines if "  " in line)
    data = json.loads(planned(found, "--json").output)
    assert (data["local"], data["checkpoints"]) == ({"all": 1, "plot": 3}, ["split"])


def test_a_time_is_expected_only_of_rules_that_have_run(planned):
    known = planned(Preview((), (project(),), "")).output
    assert "expected: 15 min to 1 h 40 min, 0.2 to 4 core-hours of pilots" in known
    assert "limits:" not in known
    unknown = planned(Preview((), (project(unknown=("map",)),), "")).output
    assert "expected: unknown until a job of each rule has ended (not yet: map)\n" in unknown
    assert "limits: 15 min to 1 h 40 min, 0.2 to 4 core-hours of pilots" in unknown


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        (
            InputTotals(600 << 20, 0, 2, 10 << 20),
            "inputs that are here: 20 MB from the access point, of which 2 inputs that jobs share "
            "(10 MB) once to each of 2 pilots; without sharing, 600 MB from the access point",
        ),
        (
            InputTotals(600 << 20, 600 << 20),
            "inputs that are here: 600 MB from the access point, all of them with each job",
        ),
        (InputTotals(), ""),
    ],
)
def test_a_plan_has_what_leaves_the_access_point(planned, inputs, line):
    said = planned(Preview((), (replace(project(), inputs=inputs),), "")).output
    found = " ".join(said.split())
    assert line in found if line else "inputs that are here" not in found
