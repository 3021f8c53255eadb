"""From the DAG to decisions: which rules there are, what they say, and that it stays decided."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.common.tbdstring import TBDString

from snakemake_executor_plugin_osgpilot.common.messages import SILENT
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.journal.run_folder import (
    RECORD_VERSION,
    RunFolder,
    core_s_seen,
    record,
    samples_seen,
    write,
)
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import (
    UNBOUNDED_MB,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.runtime_by_size import Sample
from snakemake_executor_plugin_osgpilot.routing.policy import Offload, Ways, Where
from snakemake_executor_plugin_osgpilot.routing.rules import RuleRouter
from snakemake_executor_plugin_osgpilot.staging.resource_request import Requests

HOUR_S = 3600
SITE = Policy((PilotType("compute/4c", Shape(4, 16_000, UNBOUNDED_MB), (24 * HOUR_S,)),))


@dataclass(frozen=True)
class Rule:
    name: str
    resources: None = None

    def __str__(self):
        return self.name


@dataclass(eq=False)
class FakeJob:
    name: str
    number: int = 0
    threads: int = 1
    group: str | None = None
    input: tuple = ()
    is_local: bool = False
    resources: dict = field(default_factory=dict)

    @property
    def rule(self):
        return Rule(self.name)

    @property
    def output(self):
        return [f"{self.name}/{self.number}"]

    def is_group(self):
        return False


class FakeDag:
    def __init__(self, jobs):
        self.jobs = jobs

    def needrun_jobs(self):
        return iter(self.jobs)

    def get_job_group(self, job):
        return None

    def __len__(self):
        return len(self.jobs)


def jobs(name, count=1, group=None, **resources):
    return [FakeJob(name, n, group=group, resources=dict(resources)) for n in range(count)]


def routes(*jobs, seen=None, **ways):
    allowed = Ways(SITE, **{"offload": Offload.AUTO, "fallback": Where.SLURM, **ways})
    quiet = Requests(SITE, SILENT)
    return RuleRouter(FakeDag(list(jobs)), allowed, quiet, "MyProject", seen or {})


def places(found):
    return {name: decision.route.where for name, decision in found.by_rule.items()}


def refused(*jobs, **ways):
    with pytest.raises(InputError) as error:
        routes(*jobs, **ways).decide()
    return str(error.value)


def test_every_rule_gets_a_line_with_numbers():
    found = routes(*jobs("map", 4000, runtime=10), *jobs("plot", runtime=10))
    assert [str(decision) for decision in found.decide()] == [
        "rule map -> OSPool (MyProject): 4,000 jobs, up to 667 core-hours",
        "rule plot -> Slurm: 1 job, up to 0.17 core-hours, taken for 0.083 core-hours; "
        "pilots pay from 100 jobs or 2 core-hours (4 cores that boot)",
    ]


def test_core_hours_are_a_limit_until_a_rule_was_measured():
    two = (*jobs("map", 300, runtime=10), *jobs("plot", 300))
    found = routes(*two, seen={"map": 36.0})
    assert [str(decision) for decision in found.decide()] == [
        "rule map -> OSPool (MyProject): 300 jobs, about 3 core-hours",
        "rule plot -> OSPool (MyProject): 300 jobs without `runtime`",
    ]


def test_local_rules_are_not_routed():
    found = routes(FakeJob("all", is_local=True))
    found.decide()
    assert found.by_rule == {}


def test_measured_times_override_runtime():
    few = jobs("map", 10, runtime=600)
    found, slow = routes(*few, seen={"map": 60.0}), routes(*few)
    found.decide()
    slow.decide()
    assert (places(found)["map"], places(slow)["map"]) == (Where.SLURM, Where.OSPOOL)


def test_what_a_rule_took_before_comes_from_the_record(tmp_path):
    folder = RunFolder.create(tmp_path / ".snakemake", "r1")
    rule = {"jobs": 5, "done": 3, "failed": 1, "core_h": 2.0}
    unfinished = {"jobs": 5, "done": 0, "failed": 0, "core_h": 1.0}
    rules = {"map": rule, "merge": unfinished}
    write(folder, {"version": RECORD_VERSION, "rules": rules})
    assert core_s_seen(tmp_path) == {"map": 1800.0}

    later = RunFolder.create(tmp_path / ".snakemake", "r2")
    write(later, {"version": RECORD_VERSION, "rules": {"merge": rule, "map": unfinished}})
    os.utime(later.path / "record.json", (2_000_000_000,) * 2)
    broken = RunFolder.create(tmp_path / ".snakemake", "r3")
    (broken.path / "record.json").write_text("{")
    assert core_s_seen(tmp_path) == {"map": 1800.0, "merge": 1800.0}
    assert core_s_seen(tmp_path / "elsewhere") == {}


def test_sizes_and_runtimes_of_the_latest_run_with_the_rule_come_from_the_record(tmp_path):
    for number, samples in enumerate(
        [{"map": [[5, 1.5]], "sort": [[7, 2.0]]}, {"map": [[-9, 1], [9, 4]]}]
    ):
        folder = RunFolder.create(tmp_path / ".snakemake", f"r{number}")
        seat = RunIdentity("me", "P", f"r{number}")
        known = {rule: [Sample(*each) for each in listed] for rule, listed in samples.items()}
        write(folder, record(seat, {}, [], 1.0, known))
        os.utime(folder.path / "record.json", (2_000_000_000 + number,) * 2)
    assert samples_seen(tmp_path) == {"map": [Sample(9, 4.0)], "sort": [Sample(7, 2.0)]}


def test_big_inputs_do_not_suit_the_ospool(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("big", "shared"):
        with Path(name).open("wb") as file:
            file.truncate(11 * 1024**3)
    stays = str(tmp_path / "shared")
    found = routes(*(FakeJob("map", n, input=("big", "not there", stays)) for n in range(200)))
    found.decide()
    assert "11264 MB of input (up to 10240)" in found.by_rule["map"].route.reason


@pytest.mark.parametrize(
    "tie", ["container_image", "htcondor_rank", "classad_Why", "osgpilot_pilot_cores"]
)
def test_resources_for_pilots_keep_a_rule_in_the_ospool(tie):
    found = routes(*jobs("plot", **{tie: "4"}))
    found.decide()
    assert places(found) == {"plot": Where.OSPOOL}


def test_a_decision_stays_when_jobs_finish():
    found = routes(*jobs("map", 4000))
    found.decide()
    found.dag.jobs = jobs("map") + jobs("late")
    found.decide()
    assert places(found) == {"map": Where.OSPOOL, "late": Where.SLURM}


def test_new_rules_of_a_checkpoint_are_routed():
    found = routes(*jobs("map"))
    found.decide()
    late = jobs("late", 500)
    assert not found.knows(late[0])
    found.dag.jobs = late
    found.decide()
    assert found.knows(late[0])
    assert found.of(late[0]).route.where is Where.OSPOOL


@settings(max_examples=30)
@given(st.data())
def test_the_order_of_the_dag_does_not_matter(data):
    runtimes = data.draw(st.lists(st.integers(1, 2000), min_size=1, max_size=60))
    listed = [FakeJob("map", n, resources={"runtime": r}) for n, r in enumerate(runtimes)]
    listed += jobs("sort", 3, group="g") + jobs("merge", group="g", ospool="auto") + jobs("x", 2)
    shuffled = data.draw(st.permutations(listed))
    first, second = routes(*listed), routes(*shuffled)
    first.decide()
    second.decide()
    assert first.by_rule == second.by_rule


def test_rules_of_a_group_have_the_same_route():
    found = routes(*jobs("sort", group="g"), *jobs("merge", group="g", ospool=True), *jobs("x"))
    found.decide()
    assert places(found) == {"sort": Where.OSPOOL, "merge": Where.OSPOOL, "x": Where.SLURM}
    assert str(found.by_rule["sort"]).startswith("rules merge and sort (grouped) -> OSPool")


SAME = "rules of a group have the same route"


def test_a_group_with_conflicting_hints_is_rejected():
    for other in (False, "auto"):
        said = refused(*jobs("a", 1, "g", ospool=True), *jobs("b", 1, "g", ospool=other))
        assert said == "rules a and b (grouped) do not agree on the resource ospool: " + SAME
    said = refused(*jobs("a", 1, "g", ospool=True, osg_project="P"),
                   *jobs("b", 1, "g", ospool=True, osg_project="Q"))  # fmt: skip
    assert said == "rules a and b (grouped) do not agree on the resource osg_project: " + SAME


def test_a_rule_that_joins_a_group_later_takes_its_route():
    found = routes(*jobs("a", 900, "g"))
    found.decide()
    found.dag.jobs = jobs("a", 1, "g") + jobs("b", 1, "g")
    found.decide()
    assert places(found) == {"a": Where.OSPOOL, "b": Where.OSPOOL}
    found.dag.jobs = jobs("a", 1, "g") + jobs("c", 1, "g", ospool=False)
    with pytest.raises(InputError, match="ospool=False is too late"):
        found.decide()


@pytest.mark.parametrize("value", ["maybe", 3, 1, 0.5, TBDString()])
def test_an_invalid_hint_is_rejected(value):
    said = refused(*jobs("map", ospool=value))
    assert said.startswith(f"rule map: the resource ospool is {value!r}; it has to be True, False")


@pytest.mark.parametrize("value", ['x" || true', "", "a b", "-x"])
def test_an_invalid_project_is_rejected(value):
    said = refused(*jobs("map", ospool=True, osg_project=value))
    assert said.startswith(f"rule map: the resource osg_project {value!r} cannot be used")


@pytest.mark.parametrize("value", ["all", True, "Owner", 1])
def test_pilot_sharing_has_to_be_one_of_its_values(value):
    said = refused(*jobs("map", ospool=True, osgpilot_pilot_sharing=value))
    assert said.startswith(
        f"rule map: the resource osgpilot_pilot_sharing is {value!r}; it can be workfl"
    )


def test_jobs_of_a_rule_must_agree():
    said = refused(*jobs("map", 2, ospool=True), *jobs("map", 2, ospool=False))
    assert "rule map: the resource ospool has to be the same for all of its jobs" in said


def test_jobs_outside_the_sample_must_agree_too():
    found = routes(*jobs("map", 100))
    found.decide()
    found.check(FakeJob("map"))
    with pytest.raises(InputError, match="has to be the same for all of its jobs"):
        found.check(FakeJob("map", resources={"ospool": False}))


def test_jobs_of_several_processes_run_as_plain_slurm_jobs():
    found = routes(*jobs("mpi", 150, mpi="srun", tasks=64), *jobs("map", 150, tasks=1))
    found.decide()
    assert places(found) == {"mpi": Where.SLURM, "map": Where.OSPOOL}
    assert str(found.by_rule["mpi"]).startswith("rule mpi -> Slurm: for its mpi and tasks; 150")


def test_a_job_of_several_processes_outside_the_sample_does_not_run_on_one_core():
    found = routes(*jobs("map", 100))
    found.decide()
    with pytest.raises(InputError, match=r"rule map: this job has the resource nodes, which is"):
        found.check(FakeJob("map", resources={"nodes": 2}))


def test_a_job_of_several_processes_cannot_join_a_group_on_pilots():
    found = routes(*jobs("a", 900, "g"))
    found.decide()
    found.dag.jobs = jobs("a", 1, "g") + jobs("c", 1, "g", mpi="mpiexec")
    with pytest.raises(InputError, match="mpi is for plain Slurm jobs, but the group runs on pil"):
        found.decide()


def test_an_error_leaves_no_decision():
    found = routes(*jobs("a", 500), *jobs("b", ospool="maybe"))
    with pytest.raises(InputError):
        found.decide()
    assert found.by_rule == {}


def test_a_rule_can_have_its_own_project():
    found = routes(*jobs("map", 900, osg_project="Other"), *jobs("x", 900))
    found.decide()
    assert found.by_rule["map"].project == "Other"
    assert found.by_rule["x"].project == "MyProject"
