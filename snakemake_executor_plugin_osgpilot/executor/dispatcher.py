"""The executor that Snakemake sees: sends each job where its rule was routed."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_common.exceptions import ApiError
from snakemake_interface_executor_plugins.executors.base import AbstractExecutor, SubmittedJobInfo

from ..common.log_output import attached, labelled
from ..common.messages import SILENT
from ..common.redact import Redactor
from ..common.signals import handled
from ..common.snakemake_compat import WorkflowProxy, keep_groups_apart, need_no_conda
from ..common.snakemake_types import AnyJob, Executor, JobFilter, SnakemakeLogger, Workflow
from ..config.project import choose
from ..config.sites import load_all, of_plain_jobs, project_of, site_files
from ..errors import InputError, OsgpilotError
from ..journal.run_folder import core_s_seen
from ..monitoring.console import SnakemakeHandler
from ..routing.policy import Offload, Ways, Where
from ..routing.rules import RuleRouter, whose_text
from ..scaling.shared_limits import SharedQuota
from ..staging.group_stages import split_groups
from ..staging.resource_request import Requests
from . import fallback
from .assembly import environment_of
from .job_reports import Reporting, hidden_errors_shown
from .ospool import OSPoolExecutor

if TYPE_CHECKING:
    from ..model.identity import RunIdentity
    from ..model.resources import Policy
    from ..routing.rules import RouteDecision, RuleRouter
    from .ospool import OSPoolExecutor

logger = logging.getLogger(__name__)

Destination = tuple[str, str, str]
"""The name of a place (`Where`), and if it is the OSPool the project that pays and
whose jobs its pilots take (empty: as the setting says)."""


class Dispatcher(Reporting, AbstractExecutor):  # type: ignore[misc]
    """Passes jobs to executors of its own, and forwards Snakemake's callbacks to them.

    There is one for each project and pilot sharing in the OSPool, each with a run of its own and a
    share of the same allowance, and at most one for what runs elsewhere. They report to
    Snakemake's scheduler by themselves.
    """

    def __init__(self, workflow: Workflow, snakemake_logger: SnakemakeLogger) -> None:
        super().__init__(workflow, snakemake_logger)
        self._executors: dict[Destination, Executor] = {}
        self._labels: dict[Executor, str] = {}
        self._logs = ExitStack()
        self._quota = SharedQuota()
        self._begun = False
        try:
            self.redact = Redactor(environment_of(workflow).values())
            self._logs.enter_context(attached(SnakemakeHandler(snakemake_logger, self.redact)))
            self._logs.enter_context(hidden_errors_shown(workflow, self.redact))
            keep_groups_apart(workflow.dag)
            if workflow.executor_settings.conda_image:
                need_no_conda()
            self._routes = self._find_routes()
            self._decide_routes()
            split_groups(workflow.dag, self._runs_in_ospool)
            self._open_executors()
            if not len(workflow.dag):
                # Snakemake logs that nothing is to be done, and calls no executor method any more
                self.shutdown()
        except OsgpilotError as error:
            self.shutdown()
            # Snakemake shows this kind of error as one line, without a traceback
            raise ApiError(f"osgpilot: {error}") from error
        except BaseException:
            self.shutdown()
            raise

    def _find_routes(self) -> RuleRouter:
        settings = self.workflow.executor_settings
        routes_of = router_factory(self.workflow)
        own = project_of(load_all(site_files(settings.site)))
        main = self._ospool(choose(settings.project, os.environ, own))
        return routes_of(main.run.scaling.policy, main.run.seat)

    def _decide_routes(self) -> None:
        for decision in self._routes.decide():
            logger.info(str(decision))

    def _open_executors(self) -> None:
        for decision in set(self._routes.by_rule.values()):
            self._executor_for(decision)

    def _executor_for(self, decision: RouteDecision) -> Executor:
        """Return the executor for a route; start it when it is first needed."""
        where = decision.route.where
        assert where is not None
        if where is Where.OSPOOL:
            return self._ospool(decision.project, decision.pilot_sharing)
        destination = (where.value, "", "")
        if destination not in self._executors:
            if where is Where.SLURM:
                sites = load_all(site_files(self.workflow.executor_settings.site))
                options = of_plain_jobs(sites).slurm
                made = fallback.plain_slurm(self.workflow, self.logger, options)
            else:
                made = fallback.on_this_machine(self.workflow, self.logger)
            self._executors[destination] = made
        return self._executors[destination]

    def _ospool(self, project: str, sharing: str = "") -> OSPoolExecutor:
        destination = (Where.OSPOOL.value, project, sharing)
        if destination not in self._executors:
            workflow, settings, label = self.workflow, self.workflow.executor_settings, ""
            if self._executors:
                own = replace(
                    settings, project=project, pilot_sharing=sharing or settings.pilot_sharing
                )
                workflow = WorkflowProxy(workflow, executor_settings=own)
                label = whose_text(project, sharing)
            with labelled(label):
                self._executors[destination] = OSPoolExecutor(
                    workflow, self.logger, self._served_by(destination), self._quota.share()
                )
            self._labels[self._executors[destination]] = label
        ospool = self._executors[destination]
        assert isinstance(ospool, OSPoolExecutor)
        return ospool

    def _served_by(self, destination: Destination) -> JobFilter:
        return lambda job: not job.is_local and self._destination_of(job) == destination

    def _runs_in_ospool(self, job: AnyJob) -> bool:
        destination = None if job.is_local else self._destination_of(job)
        return destination is not None and destination[0] == Where.OSPOOL.value

    def _destination_of(self, job: AnyJob) -> Destination | None:
        decision = self._routes.of(job)
        if decision is None or decision.route.where is None:
            return None
        return decision.route.where.value, decision.project, decision.pilot_sharing

    def run_jobs(self, jobs: Iterable[AnyJob]) -> None:
        """Submit each job where its rule is routed, once OSPool jobs are checked."""
        by_executor: defaultdict[int, list[AnyJob]] = defaultdict(list)
        executors: dict[int, Executor] = {}
        for job in jobs:
            try:
                executor = self._executor_of(job)
            except OsgpilotError as error:
                # raised from here it would cancel every job of the workflow
                self.run_job_pre(job)
                self.report_job_error(SubmittedJobInfo(job), msg=f"osgpilot: {error}\n")
                continue
            executors[id(executor)] = executor
            by_executor[id(executor)].append(job)
        self._begin()
        for key, theirs in by_executor.items():
            with self._labelled(executors[key]):
                executors[key].run_jobs(theirs)

    def _executor_of(self, job: AnyJob) -> Executor:
        if not self._routes.knows(job):
            # rules added by a checkpoint
            self._decide_routes()
        self._routes.check(job)
        decision = self._routes.of(job)
        assert decision is not None
        return self._executor_for(decision)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            for decision in self._routes.by_rule.values():
                executor = self._executor_for(decision)
                if executor in self._in_ospool():
                    with self._labelled(executor):
                        executor.begin()

    def run_job(self, job: AnyJob) -> None:
        """Run a single job; Snakemake itself only calls `run_jobs`."""
        self.run_jobs([job])

    def handle_job_success(self, job: AnyJob) -> None:
        """Notify the OSPool executors, which look ahead in the DAG; runs on the main thread."""
        for executor in self._in_ospool():
            with self._labelled(executor):
                executor.handle_job_success(job)

    def handle_job_error(self, job: AnyJob) -> None:
        """Notify the OSPool executors, which look ahead in the DAG; runs on the main thread."""
        for executor in self._in_ospool():
            with self._labelled(executor):
                executor.handle_job_error(job)

    def _labelled(self, executor: Executor) -> AbstractContextManager[None]:
        """Label what `executor` logs, if there are several in the OSPool."""
        return labelled(self._labels.get(executor, ""))

    def _in_ospool(self) -> list[OSPoolExecutor]:
        return [
            executor
            for executor in self._executors.values()
            if isinstance(executor, OSPoolExecutor)
        ]

    def cancel(self) -> None:
        """Cancel all jobs, wherever they run."""
        # Snakemake calls this while it handles what stopped it
        interrupted = isinstance(sys.exception(), KeyboardInterrupt | SystemExit)
        for executor in self._in_ospool():
            executor.interrupted = interrupted
        self._together(lambda executor: executor.cancel())

    def shutdown(self) -> None:
        """Clean up; called at every end of a workflow, also after an internal error."""
        self._together(lambda executor: executor.shutdown())

    def _together(self, end: Callable[[Executor], None]) -> None:
        """End all executors in parallel, each regardless of errors in the others; then the logs."""
        # Snakemake, and the start of a run, end them while they handle what stopped them
        error = _text_of(sys.exception())
        for executor in self._in_ospool():
            executor.error = error

        def end_labelled(executor: Executor) -> None:
            with self._labelled(executor):
                end(executor)

        executors = list(self._executors.values())
        with self._logs:
            if not executors:
                return
            with _uninterrupted():
                with ThreadPoolExecutor(len(executors)) as pool:
                    ended = [pool.submit(end_labelled, executor) for executor in executors]
                for one in ended:
                    one.result()


def _text_of(error: BaseException | None) -> str:
    """Return an error in one line; empty for none, and for Ctrl-C and SIGTERM."""
    if not isinstance(error, Exception):
        return ""
    return " ".join(str(error).removeprefix("osgpilot: ").split()) or type(error).__name__


def _uninterrupted() -> AbstractContextManager[None]:
    """Let Ctrl-C and SIGTERM only log a warning: an interrupted shutdown leaves pilots behind."""
    warnings = iter(
        [
            "still removing what this run has in HTCondor and Slurm; Ctrl-\\ ends "
            "Snakemake at once, and `osgpilot cleanup` removes the rest then"
        ]
    )

    def on_signal(*_: object) -> None:
        for text in warnings:
            logger.warning(text)

    return handled(on_signal, signal.SIGINT, signal.SIGTERM)


def router_factory(workflow: Workflow) -> Callable[[Policy, RunIdentity], RuleRouter]:
    """Return a factory of routers, called with policy and run identity.

    Raises `InputError` on invalid settings, before a run starts.
    """
    settings = workflow.executor_settings
    choices = [each.value for each in Offload]
    if settings.offload not in choices:
        raise InputError(f"--osgpilot-offload {settings.offload!r} is not {', '.join(choices)}")
    offload = Offload(settings.offload)
    where, takes_any = fallback.choose(settings.fallback)
    cores = fallback.local_cores(workflow)
    plain = of_plain_jobs(load_all(site_files(settings.site)))
    constraints = {each.constraint for each in plain.partitions}
    seen_core_s = core_s_seen(Path.cwd())

    def routes_of(policy: Policy, seat: RunIdentity) -> RuleRouter:
        constraint = next(iter(constraints)) if len(constraints) == 1 else ""
        ways = Ways(policy, offload, where, takes_any, cores, constraint)
        # the executor of a job reports its defaults
        requests = Requests(policy, SILENT)
        return RuleRouter(
            workflow.dag, ways, requests, seat.project, seen_core_s, seat.pilot_sharing
        )

    return routes_of
