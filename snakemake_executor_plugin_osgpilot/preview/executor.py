"""The executor that Snakemake gets when asked for a plan: it reads the DAG, plans, and ends."""

from __future__ import annotations

import os
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

from snakemake_interface_executor_plugins.executors.base import AbstractExecutor

from ..common.log_output import attached
from ..common.names import safe_name
from ..common.redact import Redactor
from ..common.snakemake_types import AnyJob, SnakemakeLogger, Workflow
from ..common.system_clock import SystemClock
from ..config.project import choose
from ..config.run_options import options_of
from ..config.sites import project_of
from ..errors import OsgpilotError
from ..executor.assembly import environment_of
from ..executor.dag_lookahead import Lookahead
from ..executor.dispatcher import router_factory
from ..htcondor.factory import AnyAccessPoint
from ..journal.run_folder import RunFolder
from ..model.intervals import LOOK_SOONEST_S
from ..model.resources import JobClass
from ..model.snapshot import Gate, Snapshot
from ..monitoring.console import SnakemakeHandler
from ..pilots.parameters import script
from ..routing.policy import Where
from ..routing.rules import RuleRouter
from ..run.assembly import PreparedRun, preflight
from ..run.resume import in_use
from ..scaling.planner.bounds import Case
from ..scaling.planner.estimates import Estimates
from ..staging.group_stages import split_groups
from ..staging.payload import members
from .dag_tasks import tasks_of
from .dry_plan import DryRun, charge_ratio, dry_run
from .earlier_run import earlier_leads
from .ended import Ended
from .lead_times import Coming, coming
from .result import Forecaster, Preview, ProjectPreview
from .sampler import Sampler, Scratch
from .sbatch_test import SlurmVerdicts
from .simulated_runs import simulated

RUN = "RUN"
"""Stands for the id that a run would have."""


class Previewer(AbstractExecutor):  # type: ignore[misc]
    """Made by Snakemake where it would make the executor; raises `Ended` in place of running."""

    def __init__(self, workflow: Workflow, logger: SnakemakeLogger) -> None:
        super().__init__(workflow, logger)
        try:
            preview = self._preview()
        except OsgpilotError as error:
            raise Ended(None, error) from error
        raise Ended(preview)

    def _preview(self) -> Preview:
        routes_of = router_factory(self.workflow)
        state_folder = Path(self.workflow.persistence.path)
        options = options_of(self.workflow.executor_settings)
        with ExitStack() as undo:
            redact = Redactor(environment_of(self.workflow).values())
            undo.enter_context(attached(SnakemakeHandler(self.logger, redact)))
            ground = preflight(options, state_folder, undo)
            routes = routes_of(ground.policy, ground.seat)
            routes.decide()
            split_groups(self.workflow.dag, lambda job: _is_for_ospool(routes, job))
            decisions = list(dict.fromkeys(routes.by_rule.values()))
            projects = {d.project for d in decisions if d.route.where is Where.OSPOOL}
            look = _Look(self.workflow, self.logger, ground, routes, undo)
            previews = tuple(look.project(name) for name in sorted(projects))
        jobs = list(self.workflow.dag.needrun_jobs())
        local = Counter(str(job.rule) for job in jobs if job.is_local)
        checkpoints = {str(job.rule) for job in jobs if job.is_checkpoint}
        seen = {str(job.rule) for job in self.workflow.dag.jobs}
        unseen = sorted({str(rule) for rule in self.workflow.rules} - seen) if checkpoints else []
        return Preview(
            tuple(decisions), previews, script(), local, tuple(sorted(checkpoints)), tuple(unseen),
            {name: str(error) for name, error in ground.silent.items()}, in_use(state_folder),
            self.workflow.persistence.locked,
        )  # fmt: skip

    def run_job(self, job: AnyJob) -> NoReturn:
        raise AssertionError("a plan runs nothing")

    handle_job_success = handle_job_error = run_job

    def cancel(self) -> None:
        """Do nothing: there are no jobs."""

    def shutdown(self) -> None:
        """Do nothing: there is no run."""


def _is_for_ospool(routes: RuleRouter, job: AnyJob) -> bool:
    decision = None if job.is_local else routes.of(job)
    return decision is not None and decision.route.where is Where.OSPOOL


@dataclass(frozen=True)
class _Look:
    """Plans a run, one project after the other."""

    workflow: Workflow
    logger: SnakemakeLogger
    ground: PreparedRun
    routes: RuleRouter
    undo: ExitStack
    forecaster: Forecaster = simulated

    def project(self, name: str) -> ProjectPreview:
        """Return the plan for the rules that `name` pays for (empty: the run's own)."""
        ground = self.ground
        own = project_of(ground.sites)
        project = choose(name, os.environ, own) if name else ground.seat.project
        folder = RunFolder(Path(self.workflow.persistence.path).absolute() / "osgpilot" / RUN)
        seat = replace(ground.seat, project=project, run=RUN)
        access_point = ground.access_point(seat, folder)
        self.undo.callback(access_point.close)
        seat = replace(seat, owner=safe_name(access_point.ping(), "user name"))
        sampler = self._sampler(name, access_point)
        ready = self._ready(name)
        waiting = self._waiting(sampler, ready)
        slurm = SlurmVerdicts(ground.clusters, seat, folder)
        estimates = Estimates()
        if ready or self._later(name, ready):
            estimates = estimates.with_hints(slurm.hints(ground.policy))
        snapshot = self._snapshot(sampler, ready, waiting, name)
        policy = ground.policy.with_allocated(slurm.cores())
        run = dry_run(snapshot, estimates, policy, LOOK_SOONEST_S)
        # the planner of a run starts without earlier lead times, but its pilots will take as long
        offers = [offer.name for offer in ground.policy.offers]
        expected = coming(estimates, offers, earlier_leads(Path.cwd(), offers))
        outlook = self.forecaster(self._case(name, sampler, run, expected))
        return ProjectPreview(
            project,
            waiting.total(),
            sum(soon.jobs for soon in snapshot.soon) + snapshot.later,
            tuple(expected.start(planned) for planned in run.starts),
            run.refusals,
            run.first.infeasible,
            outlook.charged(charge_ratio(run.starts, policy)),
            expected,
            slurm.verdicts({(start.offer, start.walltime_s) for start in run.starts}),
            sampler.samples([*ready, *self._later(name, ready)], access_point),
            sampler.software(
                job for job in self.workflow.dag.needrun_jobs() if self._serves(job, name)
            ),
            sampler.inputs(
                job for job in self.workflow.dag.needrun_jobs() if self._serves(job, name)
            ),
        )

    def _sampler(self, name: str, access_point: AnyAccessPoint) -> Sampler:
        folder = self.undo.enter_context(tempfile.TemporaryDirectory(prefix="osgpilot-plan-"))
        scratch = Scratch(
            RunFolder(Path(folder)),
            Path.cwd(),
            access_point,
            SimpleNamespace(policy=self.ground.policy),
        )
        return Sampler(self.workflow, lambda job: self._serves(job, name), scratch)

    def _serves(self, job: AnyJob, name: str) -> bool:
        decision = self.routes.of(job)
        return (
            _is_for_ospool(self.routes, job) and decision is not None and decision.project == name
        )

    def _ready(self, name: str) -> list[AnyJob]:
        return [job for job in self.workflow.dag.ready_jobs if self._serves(job, name)]

    def _later(self, name: str, ready: list[AnyJob]) -> list[AnyJob]:
        """Return single jobs that follow; group jobs are assembled when they become ready."""
        seen = {part for job in ready for part in members(job)}
        jobs = (job for job in self.workflow.dag.needrun_jobs() if job not in seen)
        return [job for job in jobs if job.group is None and self._serves(job, name)]

    def _waiting(self, sampler: Sampler, ready: list[AnyJob]) -> Counter[JobClass]:
        by_rule: defaultdict[str, list[AnyJob]] = defaultdict(list)
        for job in ready:
            by_rule[job.name].append(job)
        return Counter(c for jobs in by_rule.values() for c in sampler.classes(jobs))

    def _snapshot(
        self, sampler: Sampler, ready: list[AnyJob], waiting: Counter[JobClass], name: str
    ) -> Snapshot:
        clock, keep_going = SystemClock(), self.workflow.execution_settings.keep_going
        ahead = Lookahead(
            self.workflow.dag, clock, sampler.class_of, keep_going=keep_going,
            serves=lambda job: self._serves(job, name),
        )  # fmt: skip
        for number, job in enumerate(ready):
            job_class = sampler.class_of(members(job)[0])
            if job_class is not None:
                ahead.add(job, str(number), job_class)
        ahead.walk()
        seen = ahead.ahead
        return Snapshot(
            clock.now_s(), waiting, soon=seen.soon({}), later=seen.later,
            further=seen.further, chain=seen.chain, gates=self._gates(),
        )  # fmt: skip

    def _gates(self) -> dict[str, Gate]:
        """Return that no pilot is started where Slurm does not answer, as in a run."""
        silent = self.ground.silent
        return {
            offer.name: Gate(0, f"{offer.site}: {silent[offer.site]}")
            for offer in self.ground.policy.offers
            if offer.site in silent
        }

    def _case(self, name: str, sampler: Sampler, run: DryRun, expected: Coming) -> Case:
        policy = self.ground.policy
        tasks, parents = tasks_of(
            self.workflow.dag,
            lambda job: self._serves(job, name),
            sampler.class_of,
            self.routes.seen_core_s,
        )
        shapes = {offer.name: offer.shape for offer in policy.offers}
        cores = sum(start.count * shapes[start.offer].cores for start in run.starts)
        largest = max(shape.cores for shape in shapes.values())
        return Case(
            tasks,
            parents,
            cores,
            min(policy.cores_max or policy.pilots_max * largest, policy.pilots_max * largest),
            min((expected.waits_s[start.offer] for start in run.starts), default=0.0),
            expected.boot_s,
            policy,
            expected.match_s,
        )
