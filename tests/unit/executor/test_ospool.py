"""Traps of Snakemake's executor interface, each with a naive executor that falls into it.

The base class starts its status thread before the subclass is set up, empties its list of active
jobs during a check, treats an exception in the check as the end, and joins a sleeping thread.
"""

import asyncio
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from doubles import HandClock
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from snakemake_executor_plugin_osgpilot.common.log_output import current_label, labelled
from snakemake_executor_plugin_osgpilot.executor import ospool as executor_module
from snakemake_executor_plugin_osgpilot.executor.job_listeners import JobListener
from snakemake_executor_plugin_osgpilot.executor.ospool import OSPoolExecutor
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.scaling.shared_limits import SharedQuota
from snakemake_executor_plugin_osgpilot.staging.payload import Payload

PATIENCE_S = 60


class Scheduler:
    """Takes Snakemake's callbacks."""

    def __init__(self):
        self.finished, self.failed, self.crashed = [], [], []

    def finish_callback(self, job):
        self.finished.append(job)

    def error_callback(self, job):
        self.failed.append(job)

    def executor_error_callback(self, error):
        self.crashed.append(error)

    def submit_callback(self, job):
        pass


class SnakemakeJob:
    """A job as far as the status side of an executor looks at it."""

    is_local = False
    name = "r"
    input = output = log = ()
    attempt = restart_times = 0

    def is_group(self):
        return False

    def __init__(self):
        self.errors = []
        self.wildcards_dict = {}

    def register(self, external_jobid=None):
        pass

    def log_error(self, msg=None, **_):
        self.errors.append(msg)


class Run:
    """Stands for queue, fleet and controller of a run."""

    def __init__(self, folder):
        self.folder = SimpleNamespace(path=folder, job=lambda key: folder / "jobs" / key)
        self.workdir = folder
        self.controller = SimpleNamespace(news=threading.Event(), wake=lambda: None)
        self.queue = self
        self.clock = HandClock()
        self.scaling = SimpleNamespace(ahead=None)
        self.ended, self.closed, self.settled = {}, 0, []
        self.intake = SimpleNamespace(settle=lambda failed=(): self.settled.extend(failed))
        self.recorder = SimpleNamespace(
            failed=lambda key, text, logs: None, spent=lambda jobs: None
        )
        self.certain = True
        self.tenure = SimpleNamespace(is_certain=lambda: self.certain)

    def over(self):
        ended, self.ended = self.ended, {}
        return ended

    def mark_incomplete(self, key):
        pass

    def close(self, *, interrupted, error=""):
        self.closed += 1


def workflow(interval_s=0.05):
    remote = SimpleNamespace(
        max_status_checks_per_second=100,
        jobname="j.{jobid}",
        jobscript=None,
        seconds_between_status_checks=interval_s,
        immediate_submit=False,
    )
    common = SimpleNamespace(init_seconds_before_status_checks=0)
    return SimpleNamespace(
        dag=None,
        executor_settings=None,
        main_snakefile="Snakefile",
        remote_execution_settings=remote,
        execution_settings=SimpleNamespace(keep_going=False, latency_wait=5),
        storage_settings=SimpleNamespace(shared_fs_usage=SharedFSUsage.all()),
        executor_plugin=SimpleNamespace(common_settings=common),
        output_settings=SimpleNamespace(benchmark_extended=False),
        scheduler=None,
        persistence=None,
        spawned_job_args_factory=SimpleNamespace(envvars=dict),
    )


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start an executor class on a stand-in workflow; all are shut down at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    started = []

    def make(executor_class, flow):
        run = Run(tmp_path)
        monkeypatch.setattr(executor_module, "open_run", lambda *_: run)
        ours = (lambda job: True, SharedQuota().share()) if executor_class is OSPoolExecutor else ()
        logger = SimpleNamespace(info=print, warning=print, error=print)
        executor = executor_class(flow, logger, *ours)
        started.append(executor)
        flow.scheduler = Scheduler()
        return executor, run

    yield make
    for executor in started:
        executor.wait = False
        executor.wait_thread.join(PATIENCE_S)


def add_job(executor, key="000001"):
    job = SnakemakeJob()
    info = SubmittedJobInfo(job, external_jobid=key, aux={"key": key})
    executor._active = {**getattr(executor, "_active", {}), key: info}
    executor.report_job_submission(info)
    return job


def ended(key="000001", **more):
    return {
        key: Job(key, "r", Request(JobClass(Shape(1, 1))), state=JobState.REMOVED, text="x", **more)
    }


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class SetUpLate(RemoteExecutor):
    """Makes its state in `__post_init__`, as the interface suggests."""

    def __post_init__(self):
        time.sleep(0.2)
        self.known = {}

    async def check_active_jobs(self, active_jobs):
        self.known.clear()
        return
        yield

    def cancel_jobs(self, active_jobs): ...

    def run_job(self, job): ...


class Careless(RemoteExecutor):
    """Cancels the jobs it gets, lets exceptions escape, sleeps for the whole interval."""

    checking, go_on, cancelled = None, None, None

    def __init__(self, *args):
        self.checking, self.go_on = threading.Event(), threading.Event()
        super().__init__(*args)

    async def check_active_jobs(self, active_jobs):
        if active_jobs:
            self.checking.set()
            await asyncio.to_thread(self.go_on.wait, PATIENCE_S)
            raise RuntimeError("squeue printed nonsense")
        for info in active_jobs:
            yield info

    def cancel_jobs(self, active_jobs):
        self.cancelled = list(active_jobs)

    def run_job(self, job): ...


def test_the_status_thread_logs_with_the_label_of_its_run(start):
    labels = []
    with labelled("Theirs"):
        ours, run = start(OSPoolExecutor, workflow())
    run.tenure.is_certain = lambda: labels.append((threading.current_thread(), current_label()))
    add_job(ours)
    # its first look may be over already
    run.controller.news.set()
    until(lambda: labels)
    assert labels[0] == (ours.wait_thread, "Theirs")


def test_the_status_thread_starts_before_the_executor_is_ready(start, capsys):
    naive, _ = start(SetUpLate, workflow())
    until(lambda: not naive.wait_thread.is_alive())
    assert "known" in capsys.readouterr().out

    ours, _ = start(OSPoolExecutor, workflow())
    time.sleep(0.3)
    assert ours.wait_thread.is_alive()


def test_cancelling_during_a_check_reaches_every_job(start):
    naive, _ = start(Careless, workflow())
    add_job(naive)
    assert naive.checking.wait(PATIENCE_S)
    with naive.lock:
        seen_by_cancel = list(naive.active_jobs)
    naive.cancel_jobs(seen_by_cancel)
    naive.go_on.set()
    assert naive.cancelled == []

    ours, run = start(OSPoolExecutor, workflow())
    add_job(ours)
    ours.cancel_jobs([])
    assert run.closed == 1


@pytest.mark.parametrize("status", [None, 0, 1])
def test_an_error_in_a_check_does_not_end_the_workflow(start, status):
    flow = workflow()
    naive, _ = start(Careless, flow)
    add_job(naive)
    naive.go_on.set()
    until(lambda: flow.scheduler.crashed)

    flow = workflow()
    ours, run = start(OSPoolExecutor, flow)
    first, second = add_job(ours), add_job(ours, "000002")
    ours._payloads = {}  # an inconsistency of our own: nothing is known of the job's files
    run.ended = ended(exit_status=status)
    run.controller.news.set()
    until(lambda: flow.scheduler.failed == [first])
    run.ended = ended("000002", exit_status=status)
    run.controller.news.set()
    until(lambda: flow.scheduler.failed == [first, second])
    assert run.settled == ["000001", "000002"]
    assert flow.scheduler.crashed == []
    assert ours.wait_thread.is_alive()


def test_listeners_record_a_failure_before_snakemake_is_notified(start):
    flow = workflow()
    ours, run = start(OSPoolExecutor, flow)
    job = add_job(ours)
    ours._payloads = {}
    heard = []

    class Probe(JobListener):
        def ended(self, jobs):
            heard.extend((each.key, bool(each.failure), [*flow.scheduler.failed]) for each in jobs)

    ours._listeners = (*ours._listeners, Probe())
    run.ended = ended(exit_status=1)
    run.controller.news.set()
    until(lambda: flow.scheduler.failed == [job])
    assert heard == [("000001", True, [])]


def test_what_is_handed_over_after_a_failure_is_a_retry(start):
    flow = workflow()
    ours, run = start(OSPoolExecutor, flow)
    job = add_job(ours)
    ours._payloads = {}
    ours._in_flight.begins(["out"], "000001", job)
    retries = []

    def hand_over_again(failed):
        retries.append(ours._in_flight.is_again(["out"], SubmittedJobInfo(failed)))
        flow.scheduler.failed.append(failed)

    flow.scheduler.error_callback = hand_over_again
    run.ended = ended(exit_status=1)
    run.controller.news.set()
    until(lambda: flow.scheduler.failed == [job])
    assert retries == [False]


def test_returned_files_are_removed_before_a_job_runs_again(start, tmp_path):
    """HTCondor would write into files that have a second name in the working folder by now."""
    ours, run = start(OSPoolExecutor, workflow())
    add_job(ours)
    back = tmp_path / "jobs" / "000001" / "osgpilot-out"
    back.mkdir(parents=True)
    (back / "log").write_text("of the first attempt")
    ours._payloads = {"000001": Payload((), "bash", (), ("out",), ("log",))}
    retried = []
    run.run_again = lambda key, why: retried.append((key, why, back.exists())) or True
    (job,) = ended().values()
    run.ended = {job.key: replace(job, state=JobState.ENDED, exit_status=0)}
    run.controller.news.set()
    until(lambda: retried)
    assert [(key, there) for key, _, there in retried] == [("000001", False)]
    assert "000001" in ours._active
    (back.parent / "osgpilot-out").mkdir()
    (back / "log").write_text("of the second")
    assert (tmp_path / "log").read_text() == "of the first attempt"


def test_nothing_is_reported_or_lost_while_ownership_is_uncertain(start):
    flow = workflow()
    ours, run = start(OSPoolExecutor, flow)
    job = add_job(ours)
    ours._payloads = {}
    run.certain = False
    run.ended = ended()
    asked = []
    run.tenure.is_certain = lambda: asked.append(run.certain) or run.certain
    run.controller.news.set()
    until(lambda: len(asked) > 2)
    assert (flow.scheduler.failed, run.settled) == ([], [])
    # and when the doubt comes between two jobs
    answers = iter([True, False, False])
    run.tenure.is_certain = lambda: next(answers, True)
    until(lambda: flow.scheduler.failed == [job])
    assert run.settled == ["000001"]


def test_shutdown_does_not_wait_for_the_next_check(start):
    naive, _ = start(Careless, workflow(interval_s=2))
    time.sleep(0.2)
    begun = time.monotonic()
    naive.shutdown()
    naive_s = time.monotonic() - begun

    ours, run = start(OSPoolExecutor, workflow(interval_s=600))
    time.sleep(0.2)
    begun = time.monotonic()
    ours.shutdown()
    assert time.monotonic() - begun < naive_s
    assert run.closed == 1


def test_shutting_down_twice_closes_the_run_once(start):
    ours, run = start(OSPoolExecutor, workflow())
    ours.cancel()
    ours.shutdown()
    assert run.closed == 1
