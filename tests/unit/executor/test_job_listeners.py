"""Listeners pass the steps of rule jobs on to history, journal and queue."""

from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.executor.dag_dependencies import JobDependencies
from snakemake_executor_plugin_osgpilot.executor.job_listeners import (
    EndedJob,
    HandedOverJob,
    HistoryListener,
    IntakeListener,
)
from snakemake_executor_plugin_osgpilot.jobs.state.events import CommandUsage
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

REQUEST = Request(JobClass(Shape(1, 500)))
USED = CommandUsage(*range(len(CommandUsage._fields)))


class SnakemakeJob:
    output = ("out/a",)

    def __init__(self, number):
        self.jobid, self.wildcards_dict = number, {"n": str(number)}
        self.resources = {"mem_mb": 500 * number}

    def is_group(self):
        return False


class Calls:
    """Records each call of any method by its name."""

    def __init__(self, result=None):
        self.made, self._result = [], result

    def __getattr__(self, name):
        return lambda *given: self.made.append((name, *given)) or self._result


@pytest.fixture
def batch():
    jobs = [SnakemakeJob(1), SnakemakeJob(2)]
    return [HandedOverJob(job, Job(f"00{job.jobid}", "map", REQUEST)) for job in jobs]


def history(batch):
    first, second = (each.snakemake_job for each in batch)
    dag = SimpleNamespace(job_dependencies=lambda job: [first] if job is second else [])
    recorder = Calls()
    return HistoryListener(recorder, JobDependencies(dag)), recorder


def test_history_gets_names_and_dependencies_of_jobs(batch):
    listener, recorder = history(batch)
    listener.handed_over(batch)
    ((name, listed, needed),) = recorder.made
    assert name == "handed_over"
    assert listed == [
        (batch[0].job, "n=1", ("1", "out/a"), 500),
        (batch[1].job, "n=2", ("2", "out/a"), 1000),
    ]
    assert needed == [{"kind": "needed", "needs": ["001"], "jobs": ["002"]}]


def test_history_gets_usage_and_failures(batch):
    listener, recorder = history(batch)
    listener.ended([EndedJob("001", USED), EndedJob("002", None, "exit status 1", ("a.log",))])
    assert recorder.made == [
        ("spent", {"001": USED}),
        ("failed", "002", "exit status 1", ("a.log",)),
    ]


def test_a_check_without_jobs_still_settles_the_journal():
    intake = Calls()
    IntakeListener(intake).ended([])
    assert intake.made == [("settle", [])]


def test_only_failed_jobs_are_settled_before_snakemake_knows():
    intake = Calls()
    listener = IntakeListener(intake)
    retried = EndedJob("002", None, "exit status 1", is_final=False)
    listener.ended([EndedJob("001"), retried, EndedJob("003", None, "exit status 1")])
    listener.finished(object(), "001", 5.0)
    listener.finished(object(), "", 0.0)
    settled = [("settle", ["002", "003"]), ("give_up", ["003"])]
    assert intake.made == [*settled, ("done", "001")]


def test_resumed_jobs_are_counted_once_per_batch(batch, logged):
    intake = Calls(result=1)
    IntakeListener(intake).handed_over(batch)
    assert intake.made == [("hand_over", [each.job for each in batch])]
    assert logged.info == ["resumed tracking 1 job of the previous session"]
