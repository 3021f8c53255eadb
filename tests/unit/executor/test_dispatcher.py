"""Each job to where its rule goes; callbacks and ends to everybody."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
from snakemake_interface_common.exceptions import ApiError

from snakemake_executor_plugin_osgpilot.common.log_output import PACKAGE
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings
from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.executor import dispatcher as dispatch
from snakemake_executor_plugin_osgpilot.executor import fallback, plugin
from snakemake_executor_plugin_osgpilot.routing.policy import Where
from unit.routing.test_rules import SITE, FakeDag, FakeJob, jobs

MADE = []
"""Dispatchers to shut down after a test."""

OURS = logging.getLogger("snakemake_executor_plugin_osgpilot.any")


class Inner:
    """An executor inside of ours that records its calls."""

    def __init__(self, workflow=None, logger=None, serves=None, share=None):
        self.workflow, self.logger, self.serves = workflow, logger, serves
        self.share = share
        settings = getattr(workflow, "executor_settings", None)
        project = getattr(settings, "project", None) or "Mine"
        seat = SimpleNamespace(project=project, pilot_sharing="workflow")
        self.run = SimpleNamespace(scaling=SimpleNamespace(policy=SITE), seat=seat)
        self.ran, self.succeeded, self.failed = [], [], []
        self.begun = self.ended = self.cancelled = 0
        self.trouble = None

    def begin(self):
        self.begun += 1

    def run_jobs(self, given):
        OURS.info(f"{len(given)} job(s)")
        self.ran += [job.name for job in given]

    def handle_job_success(self, job):
        self.succeeded.append(job.name)

    def handle_job_error(self, job):
        self.failed.append(job.name)

    def shutdown(self):
        OURS.info("ended")
        self.ended += 1
        if self.trouble:
            raise self.trouble

    def cancel(self):
        OURS.info("ended")
        self.cancelled += 1


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """The executors that were made, in this order; plain Slurm jobs are possible."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(*args):
        made.append(Inner(*args))
        return made[-1]

    class Ospool(Inner):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(dispatch, "OSPoolExecutor", Ospool)
    monkeypatch.setattr(fallback, "choose", lambda named: (Where.SLURM, True))
    monkeypatch.setattr(fallback, "plain_slurm", lambda *args: make(*args[:2]))
    monkeypatch.setattr(
        dispatch,
        "load_all",
        lambda files: (SimpleNamespace(slurm=SlurmOptions(), project="", partitions=()),),
    )
    yield made
    for inner in made:
        inner.trouble = None
    while MADE:
        MADE.pop().shutdown()


class FailingJob(FakeJob):
    attempt, restart_times, wildcards_dict = 1, 0, {}

    def log_info(self):
        pass

    def log_error(self, msg=None, **_):
        self.error = msg


def dispatcher(*given, said=None, **settings):
    say = (said if said is not None else []).append
    failed = []
    workflow = SimpleNamespace(
        dag=FakeDag(list(given)),
        executor_settings=ExecutorSettings(
            **{"project": "Mine", "site": "site.yaml", "offload": "always", **settings}
        ),
        resource_settings=SimpleNamespace(local_cores=1),
        scheduler=SimpleNamespace(error_callback=failed.append),
        failed=failed,
        spawned_job_args_factory=SimpleNamespace(envvars=dict),
    )
    MADE.append(dispatch.Dispatcher(workflow, SimpleNamespace(info=say, warning=say)))
    return MADE[-1]


def test_each_job_goes_where_its_rule_is_routed(opened):
    both = [*jobs("map", 2), *jobs("merge", ospool=False)]
    dispatcher(*both).run_jobs(both)
    assert [one.ran for one in opened] == [["map", "map"], ["merge"]]


def test_a_workflow_without_jobs_ends_at_once(opened):
    dispatcher()
    assert [one.ended for one in opened] == [1]


def test_ospool_jobs_are_checked_before_any_job_is_submitted(opened):
    both = [*jobs("map"), *jobs("merge", ospool=False)]
    ours = dispatcher(*both)
    ours.run_jobs(both[1:])
    assert opened[0].begun == 1
    ours.run_jobs(both[:1])
    assert opened[0].begun == 1


def test_each_project_has_its_own_executor(opened):
    said = []
    both = [*jobs("map"), *jobs("other", osg_project="Theirs")]
    dispatcher(*both, said=said).run_jobs(both)
    mine, theirs = opened
    assert (mine.ran, theirs.ran) == (["map"], ["other"])
    assert theirs.workflow.executor_settings.project == "Theirs"
    assert (mine.serves(both[0]), mine.serves(both[1])) == (True, False)
    assert theirs.serves(both[1])
    assert said[-2:] == ["osgpilot: 1 job(s)", "osgpilot: Theirs: 1 job(s)"]


def test_another_pilot_sharing_has_an_executor_of_its_own_with_a_share_of_the_same_quota(
    opened,
):
    said = []
    both = [*jobs("map"), *jobs("other", osgpilot_pilot_sharing="owner")]
    dispatcher(*both, *jobs("same", osgpilot_pilot_sharing="workflow"), said=said).run_jobs(both)
    mine, shared = opened
    assert (mine.ran, shared.ran) == (["map"], ["other"])
    settings = shared.workflow.executor_settings
    assert (settings.project, settings.pilot_sharing) == ("Mine", "owner")
    assert "rule other -> OSPool (Mine, pilot-sharing owner): 1 job" in "".join(said)
    assert said[-1] == "osgpilot: Mine, pilot-sharing owner: 1 job(s)"
    assert mine.share.quota is shared.share.quota
    assert mine.share is not shared.share


def is_attached():
    return [type(each) for each in PACKAGE.handlers] != [logging.NullHandler]


@pytest.mark.parametrize("end", ["cancel", "shutdown"])
@pytest.mark.parametrize("trouble", [None, OSError("no disk")])
def test_records_are_shown_until_the_end_and_nothing_stays_attached(opened, end, trouble):
    said = []
    ours = dispatcher(*jobs("map"), *jobs("other", osg_project="Theirs"), said=said)
    assert is_attached()
    for inner in opened:
        inner.trouble = trouble
    with suppress(OSError):
        getattr(ours, end)()
    assert sorted(said[-2:]) == ["osgpilot: Theirs: ended", "osgpilot: ended"]
    assert not is_attached()
    OURS.warning("later")
    assert "later" not in "".join(said)


def test_a_start_that_fails_leaves_nothing_attached(opened):
    with pytest.raises(ApiError):
        dispatcher(*jobs("map", ospool=3))
    assert not is_attached()


def test_two_workflows_in_one_process_show_each_record_once(opened):
    first, second = [], []
    both = dispatcher(*jobs("map", 300), said=first), dispatcher(*jobs("map", 300), said=second)
    lines = len(first) + len(second)
    OURS.info("once")
    assert len(first) + len(second) == lines + 1
    for each in both:
        each.shutdown()
    assert not is_attached()


def test_secrets_are_masked_in_what_is_logged(opened, monkeypatch):
    monkeypatch.setattr(dispatch, "environment_of", lambda workflow: {"KEY": "hunter2-hunter2"})
    said = []
    dispatcher(*jobs("map", 300), said=said)
    OURS.warning("sbatch: hunter2-hunter2 is no partition\x1b[2J")
    assert "hunter2" not in said[-1]
    assert "\x1b" not in said[-1]
    assert "is no partition" in said[-1]


def test_a_project_from_the_environment_is_the_main_project(opened, monkeypatch):
    monkeypatch.setenv("OSG_PROJECT_NAME", "Mine")
    dispatcher(*jobs("map"), *jobs("other", osg_project="Mine"), project=None)
    assert len(opened) == 1


def test_all_ospool_executors_are_notified_when_jobs_end(opened):
    given = [*jobs("map"), *jobs("other", osg_project="Theirs"), *jobs("merge", ospool=False)]
    ours = dispatcher(*given)
    ours.handle_job_success(given[2])
    ours.handle_job_error(given[0])
    assert [one.succeeded for one in opened if one.serves] == [["merge"], ["merge"]]
    assert [one.failed for one in opened if one.serves] == [["map"], ["map"]]


def test_an_error_in_rules_of_a_checkpoint_fails_only_their_jobs(opened):
    first = jobs("map")
    ours = dispatcher(*first)
    late = FailingJob("late", resources={"ospool": "maybe"})
    ours.dag.jobs = [late]
    ours.run_jobs([late, *first])
    assert ours.workflow.failed == [late]
    assert "rule late: the resource ospool is 'maybe'" in late.error
    assert opened[0].ran == ["map"]


def test_an_error_at_the_start_is_one_line_and_leaves_nothing(opened):
    with pytest.raises(ApiError, match=r"^osgpilot: rule map: the resource ospool is 3"):
        dispatcher(*jobs("map", ospool=3))
    assert [one.ended for one in opened] == [1]
    assert opened[0].error.startswith("rule map: the resource ospool is 3")


@pytest.mark.parametrize(
    ("stopped", "error"),
    [
        (ApiError("osgpilot: rule map: no such\nimage"), "rule map: no such image"),
        (AssertionError(), "AssertionError"),
        (KeyboardInterrupt(), ""),
        (SystemExit(1), ""),
    ],
)
def test_the_error_that_stops_snakemake_is_recorded_in_each_run(opened, stopped, error):
    made = dispatcher(*jobs("map"), *jobs("other", osg_project="Theirs"))
    try:
        raise stopped
    except type(stopped):
        made.cancel()
    assert [one.error for one in opened] == [error, error]


@pytest.mark.parametrize("setting", [{"offload": "maybe"}])
def test_an_invalid_setting_is_reported_before_a_run_starts(opened, setting):
    with pytest.raises(ApiError, match="--osgpilot-offload 'maybe' is not auto, always, never"):
        dispatcher(*jobs("map"), **setting)
    assert opened == []


def test_all_executors_are_ended_even_if_one_fails(opened):
    ours = dispatcher(*jobs("map"), *jobs("merge", ospool=False))
    opened[0].trouble = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        ours.shutdown()
    ours.cancel()
    assert [(one.ended, one.cancelled) for one in opened] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("end", ["cancel", "shutdown"])
def test_a_second_interrupt_does_not_abort_the_shutdown(opened, monkeypatch, end, number):
    said, whole = [], []
    made = dispatcher(*jobs("map", 300), said=said)
    (inner,) = opened

    def interrupted():
        for _ in range(2):
            os.kill(os.getpid(), number)
        whole.append(end)

    monkeypatch.setattr(inner, end, interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        getattr(made, end)()
        assert whole == [end]
        (line,) = (line for line in said if "Ctrl-\\" in line)
        assert "still removing" in line
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_snakemake_with_another_executor_does_not_wait_for_ours_to_load():
    told = "import sys, snakemake.cli; print([m for m in sys.modules if 'osgpilot' in m])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert "osgpilot.executor.plugin" in done.stdout
    assert "osgpilot.executor.dispatcher" not in done.stdout


def test_the_class_that_snakemake_looks_for_makes_a_dispatcher(monkeypatch):
    monkeypatch.setattr(dispatch, "Dispatcher", lambda *given: ("dispatcher", *given))
    assert plugin.Executor("workflow", "logger") == ("dispatcher", "workflow", "logger")
