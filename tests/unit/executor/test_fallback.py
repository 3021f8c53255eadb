"""The fallback, and the options of the Slurm plugin's executor."""

import shutil
import sys
import threading
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm as plugin
from snakemake.settings.types import SharedFSUsage, StorageSettings

from snakemake_executor_plugin_osgpilot.common.snakemake_compat import (
    add_generic_resources,
    replace_resources,
)
from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.errors import InputError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.executor import fallback
from snakemake_executor_plugin_osgpilot.executor.local import LocalExecutor
from snakemake_executor_plugin_osgpilot.routing.policy import Where
from snakemake_executor_plugin_osgpilot.staging.slurm_resources import memory_of_plain_job


@pytest.fixture
def machine(monkeypatch):
    """Say what this machine has."""

    def has(*, plugin, sbatch=True):
        registry = SimpleNamespace(is_installed=lambda name: plugin and name == "slurm")
        monkeypatch.setattr(fallback, "ExecutorPluginRegistry", lambda: registry)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/sbatch" if sbatch else None)

    return has


@pytest.mark.parametrize(
    ("named", "plugin", "sbatch", "place", "takes_any"),
    [
        (None, True, True, Where.SLURM, True),
        (None, True, False, Where.LOCAL, False),
        (None, False, True, Where.LOCAL, False),
        ("slurm", True, True, Where.SLURM, True),
        ("local", True, True, Where.LOCAL, True),
        ("none", True, True, None, False),
    ],
)
def test_fallback_depends_on_setting_plugin_and_sbatch(
    machine, named, plugin, sbatch, place, takes_any
):
    machine(plugin=plugin, sbatch=sbatch)
    assert fallback.choose(named) == (place, takes_any)


def test_a_fallback_that_the_user_names_must_be_available(machine):
    machine(plugin=False)
    with pytest.raises(InputError, match="needs snakemake-executor-plugin-slurm"):
        fallback.choose("slurm")
    with pytest.raises(InputError, match="'cloud' is not slurm, local, none"):
        fallback.choose("cloud")


class Plugin:
    """The plugin's own executor as far as ours calls it."""

    run_uuid, active_jobs = "uuid", ()

    def __init__(self):
        self.logger = SimpleNamespace(warning=[].append)
        self.submitting = self._job_submission_executor = SimpleNamespace(shutdown=self.stop)
        self.order = []

    def stop(self, **how):
        self.order.append(("stop", how))

    def get_account_arg(self, job):
        yield " -A theirs"

    def get_partition_arg(self, job):
        return " -p theirs"

    def shutdown(self):
        self.order.append("shutdown")


class Slurm(fallback._PlainSlurm, Plugin):
    options = SlurmOptions(partition="normal", account="abc 1", qos="high", constraint="avx2")
    accounting = False


def arguments(executor=None, **resources):
    executor = executor or Slurm()
    job = SimpleNamespace(resources=resources)
    return next(executor.get_account_arg(job)) + executor.get_partition_arg(job)


def test_site_options_apply_unless_a_job_overrides_them():
    assert arguments() == " -A 'abc 1' -p normal --qos=high --constraint=avx2"
    assert arguments(slurm_account="x") == " -A theirs -p normal --qos=high --constraint=avx2"
    assert arguments(slurm_partition="x", qos="x") == " -A 'abc 1' -p theirs --constraint=avx2"


class Known(dict):
    """The resources of a job."""

    __getattr__ = dict.__getitem__


REQUESTED = {
    "of the node": ("node", {"mem_mb": 900}, " --mem 900 "),
    "of each core": ("cpu", {"mem_mb": 900}, " --mem-per-cpu 225 "),
    "of each core of several tasks": (
        "cpu", {"mem_mb": 900, "tasks": 4, "nodes": 2, "cpus_per_task": 2}, " --mem-per-cpu 225 ",
    ),
    "of each core, as the rule has it": (
        "cpu", {"mem_mb": 900, "mem_mb_per_cpu": 10}, " --mem-per-cpu 10 "
    ),
    "none": ("none", {"mem_mb": 900}, ""),
    "none, whatever the rule has": ("none", {"mem_mb": 900, "mem_mb_per_cpu": 10}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTED)
def test_memory_of_plain_jobs_is_requested_as_the_site_wants_it(name, monkeypatch):
    how, resources, part = REQUESTED[name]
    monkeypatch.setattr(plugin, "get_submit_command", plugin.get_submit_command)
    replace_resources(
        plugin.Executor, lambda job: memory_of_plain_job(how, job.resources, job.threads)
    )
    job = SimpleNamespace(resources=Known(runtime=5, **resources), threads=4)
    words = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    call = plugin.get_submit_command(job, dict.fromkeys(words, "x"))
    assert (part or " -t 5 ") in call
    assert call.count("--mem") == bool(part)
    assert job.resources.get("mem_mb") == 900


@pytest.mark.parametrize(
    ("resources", "option"),
    [
        ({"gres": "gpu:2"}, " --gres=lscratch:100,gpu:2"),
        ({"gpu": 1}, " --gpus=1"),
        ({}, ""),
    ],
)
def test_generic_resources_of_a_rule_come_beside_those_of_the_site(monkeypatch, resources, option):
    monkeypatch.setattr(plugin, "set_gres_string", plugin.set_gres_string)
    site = SlurmOptions(options=("--licenses=a", "--gres=lscratch:100"))
    for _ in range(2):
        add_generic_resources(plugin.Executor, ",".join(site.gres))
    assert plugin.set_gres_string(SimpleNamespace(resources=Known(resources))) == option
    executor = Slurm()
    executor.options = site
    assert executor.get_partition_arg(SimpleNamespace(resources=resources)).endswith(
        " --licenses=a --gres=lscratch:100"
    )


def test_site_options_do_not_apply_to_another_cluster():
    assert arguments(slurm_cluster="far") == " -A theirs -p theirs"


def test_a_file_of_partitions_for_the_plugin_goes_before_the_sites_partition():
    executor = Slurm()
    executor._partitions = ["of --slurm-partition-config"]
    assert arguments(executor) == " -A 'abc 1' -p theirs --qos=high --constraint=avx2"


def test_without_accounting_no_account_is_guessed():
    executor = Slurm()
    executor.options = SlurmOptions()
    assert arguments(executor) == " -p theirs"
    executor.accounting = True
    assert arguments(executor) == " -A theirs -p theirs"


def test_squeue_of_the_plugin_ignores_the_users_filters():
    environment = {"SQUEUE_PARTITION": "long", "SQUEUE_STATES": "PD", "PATH": "/bin"}
    fallback._see_all_jobs(environment)
    assert environment == {"SQUEUE_ALL": "1", "PATH": "/bin"}


@pytest.fixture
def ran(monkeypatch):
    calls = []

    def run(argv, timeout_s):
        calls.append(argv)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(fallback, "run", run)
    return calls


def test_cancelling_stops_submissions_first_and_selects_by_name(ran):
    executor = Slurm()
    executor.cancel_jobs([])
    assert executor.order == [("stop", {"wait": True, "cancel_futures": True})]
    assert [argv[:2] for argv in ran] == [["scancel", "--jobname=uuid"]]


def test_shutdown_cancels_only_if_jobs_are_left(ran):
    executor = Slurm()
    executor.shutdown()
    assert ran == []
    executor.active_jobs = [object()]
    executor.shutdown()
    assert len(ran) == 1


def test_jobs_that_could_not_be_cancelled_are_reported(monkeypatch, logged):
    def deaf(argv, timeout_s):
        raise OutcomeUnknownError("`scancel` gave no answer")

    monkeypatch.setattr(fallback, "run", deaf)
    Slurm().cancel_jobs([])
    assert "remove them with: scancel --jobname=uuid" in logged.warnings[0]


def test_fallback_jobs_share_the_working_folder_only():
    before = StorageSettings(shared_fs_usage=frozenset())
    after = fallback._on_shared_folders(before).shared_fs_usage
    assert SharedFSUsage.INPUT_OUTPUT in after
    assert SharedFSUsage.STORAGE_LOCAL_COPIES not in after
    assert SharedFSUsage.SOFTWARE_DEPLOYMENT not in after
    assert not before.shared_fs_usage


class Here(LocalExecutor):
    """Runs shell commands in place of Snakemake."""

    def __init__(self, cores, finished, failed):
        scheduler = SimpleNamespace(
            finish_callback=finished.append,
            error_callback=failed.append,
            submit_callback=lambda job: None,
        )
        workflow = SimpleNamespace(
            dag=None, executor_settings=None, main_snakefile="", scheduler=scheduler
        )
        super().__init__(workflow, SimpleNamespace(info=print), cores)

    def format_job_exec(self, job):
        return job.command


class HereJob(SimpleNamespace):
    error, name, attempt, restart_times, wildcards_dict = None, "here", 1, 0, {}

    def is_group(self):
        return False

    def register(self, external_jobid=None):
        pass

    def log_error(self, msg=None, **_):
        self.error = msg

    def __hash__(self):
        return id(self)


def finish(executor):
    executor._pool.shutdown(wait=True)


def test_jobs_here_share_the_cores(tmp_path):
    finished, failed = [], []
    executor = Here(4, finished, failed)
    folder = f"cd {tmp_path}"
    meet = f"{folder}; touch $$.met; while [ $(ls | grep -c met) -lt 2 ]; do sleep 0.02; done"
    alone = f"{folder}; mkdir busy && sleep 0.05 && rmdir busy"
    for threads, command in ((2, meet), (2, meet), (64, alone), (3, alone)):
        executor.run_job(HereJob(threads=threads, command=command))
    finish(executor)
    assert sorted(job.threads for job in finished) == [2, 2, 3, 64]
    assert failed == []


def test_a_job_that_fails_here_is_reported_with_its_exit_status():
    finished, failed = [], []
    executor = Here(1, finished, failed)
    executor.run_job(HereJob(threads=1, command="exit 3"))
    finish(executor)
    assert failed[0].error == "exit status 3 on this machine\n"


def test_cancelling_here_ends_running_jobs_and_starts_no_more(tmp_path):
    finished, failed = [], []
    executor = Here(1, finished, failed)
    begun = tmp_path / "begun"
    sleeper = f'{sys.executable} -c \'import time; open("{begun}", "w"); time.sleep(60)\''
    executor.run_job(HereJob(threads=1, command=sleeper))
    executor.run_job(HereJob(threads=1, command=f"touch {tmp_path}/never"))
    noticed = threading.Event()
    while not begun.exists():
        noticed.wait(0.02)
    executor.cancel()
    assert (finished, failed) == ([], [])
    assert not (tmp_path / "never").exists()
