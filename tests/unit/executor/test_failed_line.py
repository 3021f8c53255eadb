"""The line that reports a failed job, whatever `--quiet` hides."""

import logging
from inspect import signature
from types import SimpleNamespace

import pytest
from snakemake.logging import DefaultFilter, logger
from snakemake.settings.enums import Quietness

from snakemake_executor_plugin_osgpilot.common.failure_text import failure_text, summary
from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.executor.job_reports import (
    Reporting,
    failed_line,
    hidden_errors_shown,
)


class RuleJob(SimpleNamespace):
    name, attempt, restart_times, log = "align", 1, 0, ()

    def is_group(self):
        return False

    def log_error(self, msg, **_):
        from snakemake_interface_logger_plugins.common import LogEvent

        logger.error(msg, extra={"event": LogEvent.JOB_ERROR})


TEXT = failure_text(
    "exit status 127", "in Slurm job 12 on c1, HTCondor job 4.0", "",
    "loading modules\n/bin/sh: gatk: command not found\n\n",
)  # fmt: skip


def job(**more):
    return RuleJob(**{"wildcards_dict": {"sample": "a"}, **more})


def test_it_has_rule_wildcards_cause_last_output_and_log(tmp_path):
    (tmp_path / "output").write_text("loading modules\n")
    line = failed_line(job(), TEXT, [f"{tmp_path}/none", f"{tmp_path}/output"])
    assert line == (
        'rule align (sample=a): exit status 127, "/bin/sh: gatk: command not found" '
        f"(log: {tmp_path}/output)"
    )


def test_a_log_of_the_rule_comes_first_and_attempts_are_counted(tmp_path):
    for name in ("own", "output"):
        (tmp_path / name).write_text("text")
    own, output = f"{tmp_path}/own", f"{tmp_path}/output"
    line = failed_line(job(log=[own], restart_times=2, attempt=2), TEXT, [output])
    assert line.endswith(f"(log: {own}) (attempt 2 of 3)")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (
            "osgpilot: the outputs a, b are missing (in Slurm job 1)\n",
            "the outputs a, b are missing",
        ),
        (
            "osgpilot: exit status 3 (on c1)\nWhat happened: a pilot ended (on c2)\n",
            "exit status 3",
        ),
        (failure_text("exit status 1", "", "", "error: x\n----\n"), 'exit status 1, "error: x"'),
        ("could not start: no shell\n", "could not start: no shell"),
        (
            failure_text(
                "the command failed with exit status 127",
                "",
                "",
                "osgpilot-script: line 11: gatk: command not found",
            ),
            'exit status 127, "gatk: command not found"',
        ),
        (
            failure_text(
                "exit status 1",
                "",
                "",
                'RuleException:\nbad value\n  File "/w/Snakefile", line 3, in __rule_a\n',
            ),
            'exit status 1, "bad value"',
        ),
    ],
)
def test_a_failure_is_summed_up_in_one_line(text, short):
    assert summary(text) == short


def test_snakemake_is_not_given_the_output_which_may_have_secrets(tmp_path):
    (tmp_path / "output").write_text("password=opensesame\n")
    got = []
    base = type("Base", (), {"print_job_error": lambda _, info, **more: got.append(more)})
    executor = type("Executor", (Reporting, base), {})()
    info = SimpleNamespace(job=job(), external_jobid="1")
    executor.print_job_error(info, TEXT, output=f"{tmp_path}/output")
    assert got == [{"msg": TEXT, "aux_logs": []}]


@pytest.mark.parametrize("quiet", [set(), *({each} for each in Quietness)])
def test_no_quietness_hides_it(quiet, capsys):
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    taken = signature(DefaultFilter).parameters
    handler.addFilter(DefaultFilter(quiet, **dict.fromkeys(taken.keys() - {"quiet"}, False)))
    logger.addHandler(handler)
    try:
        base = type("Base", (), {"print_job_error": lambda self, info, msg, **_: None})
        executor = type("Executor", (Reporting, base), {})()
        executor.workflow = SimpleNamespace(output_settings=SimpleNamespace(quiet=quiet))
        executor.print_job_error(SimpleNamespace(job=job(), external_jobid="1"), TEXT)
    finally:
        logger.removeHandler(handler)
    shown = [*seen, *capsys.readouterr().err.splitlines()]
    assert [line for line in shown if line.startswith("FAILED")] == [
        'FAILED rule align (sample=a): exit status 127, "/bin/sh: gatk: command not found"'
    ]


@pytest.mark.parametrize(("quiet", "shown"), [(set(), 0), ({Quietness.RULES}, 1)])
def test_a_failed_local_rule_is_reported_where_snakemake_hides_it(quiet, shown):
    from snakemake_interface_logger_plugins.common import LogEvent

    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)
    workflow = SimpleNamespace(output_settings=SimpleNamespace(quiet=quiet))
    error = {"event": LogEvent.JOB_ERROR, "rule_name": "plot", "jobid": 7, "rule_msg": None}
    try:
        with hidden_errors_shown(workflow, Redactor()):
            logger.error("Error in rule plot", extra=error)
            base = type(
                "Base", (), {"print_job_error": lambda _, info, msg, **__: info.job.log_error(msg)}
            )
            executor = type("Executor", (Reporting, base), {"workflow": workflow})()
            executor.print_job_error(SimpleNamespace(job=job(), external_jobid="1"), TEXT)
        logger.error("Error in rule plot", extra=error)
    finally:
        logger.removeHandler(handler)
    failed = [line for line in seen if line.startswith("FAILED")]
    assert failed[:shown] == ["FAILED rule plot (Snakemake job 7): it failed"][:shown]
    assert [line for line in failed[shown:] if not line.startswith("FAILED rule align")] == []
    assert len(failed) == shown + 1
