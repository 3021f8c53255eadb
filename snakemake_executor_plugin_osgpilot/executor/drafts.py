"""Draft the jobs of the run from those that Snakemake hands over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from ..common.redact import Redactor
from ..common.snakemake_types import AnyJob, JobFilter, Workflow
from ..config.run_options import options_of
from ..jobs.state.job import Job
from ..model.job_order import Outlook
from ..model.resources import JobClass
from ..runtime_image.environment import make as make_environment
from ..scaling.planner.critical_path import prior_s
from ..staging.bundle_target import may_be_bundled, target_s
from ..staging.container_image import Images
from ..staging.input_size import input_bytes
from ..staging.job_identity import digest, identity
from ..staging.payload import Payload, needed_from_outside
from ..staging.preparer import Prepared, Preparer
from ..staging.shared_inputs import LIST, files, read_list
from ..staging.software import Software
from .assembly import make_preparer
from .conda_builds import CondaBuilds

if TYPE_CHECKING:
    from ..run.assembly import Run

logger = logging.getLogger(__name__)


class JobDrafter:
    """Drafts jobs of a workflow for `run`; used by Snakemake's main thread.

    `serves` is true of the jobs of the DAG that run here. `payloads` has what is needed of each job
    until its end, by key; `builds` makes conda environments in pilots, once there is a preparer.
    """

    def __init__(self, workflow: Workflow, run: Run, serves: JobFilter, redact: Redactor) -> None:
        self._workflow, self._run, self._serves, self._redact = workflow, run, serves, redact
        self._preparer: Preparer | None = None
        self._counted = 0
        self.payloads: dict[str, Payload] = {}
        self.builds: CondaBuilds | None = None

    def begin(self) -> Preparer:
        """Reject rules that cannot run at all; return the preparer."""
        self._preparer = self._preparer or make_preparer(
            self._workflow, self._run, self._serves, self
        )
        return self._preparer

    def environment_image(self) -> str:
        """Return an image with the Python environment of this process; make it if need be."""
        return str(make_environment(logger.info))

    def conda_environments(self, images: Images) -> Software:
        """Return what makes the conda environments of rules; `images` finds container images."""
        self.builds = CondaBuilds(self._run, self._redact, images.find)
        builder_image = self._workflow.executor_settings.conda_image or ""
        return Software(logger, True, builder_image, self.builds.make)

    def look_again(self) -> None:
        """Have drafts see what is on the disk now: call it before each batch."""
        if self._preparer:
            self._preparer.disk.forget()

    def count_users(self) -> None:
        """Count the jobs that have each input, if there are other jobs than at the last time."""
        dag = self._workflow.dag
        if self._preparer and len(dag) != self._counted:
            self._counted = len(dag)
            self._preparer.sharing.count(filter(self._serves, dag.needrun_jobs()))

    def class_of(self, job: AnyJob) -> JobClass | None:
        """Return the class of a future job, None if its rule is unknown so far."""
        return self._preparer.class_of(job) if self._preparer else None

    def draft(self, job: AnyJob, after_s: Callable[[AnyJob], float]) -> Job:
        """Return the job to submit for `job`; `after_s` returns the time of the jobs after it.

        Raises `ApiError` if a rule cannot run at all, another error if this job cannot.
        """
        preparer, run = self.begin(), self._run
        payload, request = preparer.draft(job)
        shared = preparer.shared(payload)
        pack = partial(preparer.pack, payload, request, shared)
        own_identity = identity(job)
        key, is_known = run.intake.key_for(own_identity, lambda: digest(pack()))
        urls = tuple(url for url, _ in payload.urls)
        # the folder of a known job is as an earlier session wrote it
        own_files = read_list(run.folder.job(key) / LIST) if is_known else files(shared)
        bundled = may_be_bundled(payload, request, own_files, run.workdir)
        bundle_s = self._bundle_s(job) if bundled else 0.0
        outlook = Outlook(
            prior_s(request.job_class),
            after_s(job),
            input_bytes(map(str, needed_from_outside(job))),
            job.priority,
        )
        own = Job(
            key, job.name, request, urls,
            identity=own_identity, bundle_s=bundle_s, shared=own_files, outlook=outlook,
        )  # fmt: skip
        if is_known:
            self.payloads[key] = payload.after_submission()
        else:
            self.payloads[key] = payload
            run.unwritten.add(own, partial(self._packed, key, pack))
        return own

    def _packed(self, key: str, pack: Callable[[], Prepared]) -> Prepared:
        """Return the prepared job, and keep of its payload what is needed from now on."""
        prepared = pack()
        self.payloads[key] = prepared.kept
        return prepared

    def _bundle_s(self, job: AnyJob) -> float:
        """Return the time that a bundle with `job` should take, 0 for none."""
        if not self._run.access_point.can_bundle:
            return 0.0
        return target_s(job, self._bundle_target_s)

    @cached_property
    def _bundle_target_s(self) -> float:
        return options_of(self._workflow.executor_settings).bundle_s

    def store_benchmarks(self, job: AnyJob) -> None:
        """Store the benchmarks of a job that belong into storage, once they are in place here."""
        if self._preparer:
            self._preparer.store_benchmarks(job)
