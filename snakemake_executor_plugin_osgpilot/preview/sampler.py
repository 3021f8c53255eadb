"""Prepares jobs as the executor does, and stops there."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..common.messages import SILENT
from ..common.snakemake_types import AnyJob, JobFilter, SingleJob, Workflow
from ..executor.assembly import make_preparer
from ..htcondor.factory import AnyAccessPoint
from ..htcondor.submit_description import items
from ..jobs.access_point import Submission
from ..journal.run_folder import RunFolder
from ..model.resources import JobClass, Request
from ..routing.rules import SAMPLE_MAX
from ..runtime_image.conda import Environment, Packed
from ..runtime_image.environment import Python
from ..runtime_image.environment import find as find_environment
from ..staging.container_image import Images
from ..staging.payload import Payload, members
from ..staging.places import place_of, source_of
from ..staging.shared_inputs import InputTotals
from ..staging.software import Software
from .result import PlannedSoftware, Sample


@dataclass(frozen=True)
class Scratch:
    """Stands in for a run while jobs are prepared, with a temporary folder and the policy alone."""

    folder: RunFolder
    workdir: Path
    access_point: AnyAccessPoint
    scaling: SimpleNamespace


class Sampler:
    """Prepares the jobs that `serves` is true of as a run does, with `scratch` in place of one."""

    def __init__(self, workflow: Workflow, serves: JobFilter, scratch: Any) -> None:
        self._workflow, self._run = workflow, scratch
        self._made = make_preparer(workflow, scratch, serves, self)

    def environment_image(self) -> str:
        """Return the image with the Python environment if a run has made it, else none."""
        return str(find_environment(Python.of_this_process()) or "")

    def conda_environments(self, images: Images) -> Software:
        """Return what finds the conda environments that a run has made."""
        builder_image = self._workflow.executor_settings.conda_image or ""
        return Software(SILENT, making=False, builder_image=builder_image)

    def class_of(self, job: AnyJob) -> JobClass | None:
        """Return the request of a job that is not ready yet."""
        return self._made.class_of(job)

    def draft(self, job: AnyJob) -> tuple[Payload, Request]:
        """Return the prepared job. Raises `InputError`."""
        return self._made.sketch(job)

    def classes(self, jobs: Iterable[AnyJob]) -> list[JobClass]:
        """Return the requests of ready jobs of one rule, from a sample of them."""
        listed = list(jobs)
        chosen = heapq.nsmallest(SAMPLE_MAX, listed, key=lambda job: str(job.output))
        asked = [self.draft(job)[1].job_class for job in chosen]
        return [asked[number % len(asked)] for number in range(len(listed))]

    def samples(self, jobs: Iterable[AnyJob], access_point: AnyAccessPoint) -> tuple[Sample, ...]:
        """Return each kind of job once, as it would be submitted through `access_point`."""
        rules: dict[tuple[tuple[str, str], ...], list[str]] = {}
        by_rule: dict[str, list[AnyJob]] = {}
        for job in jobs:
            by_rule.setdefault(_rule(job), []).append(job)
        for rule, theirs in sorted(by_rule.items()):
            payload, request = self.draft(theirs[0])
            # jobs of one kind are submitted together, which can change how an image travels
            keys = tuple(f"JOB{number}" for number in range(1, min(2, len(theirs)) + 1))
            urls = tuple(url for url, _ in payload.urls)
            submission = Submission(keys, request, urls={keys[0]: urls} if urls else {})
            described = access_point.description(submission) | items(submission)[0]
            rules.setdefault(tuple(described.items()), []).append(rule)
        return tuple(Sample(tuple(names), dict(each)) for each, names in rules.items())

    def inputs(self, jobs: Iterable[SingleJob]) -> InputTotals:
        """Return the sizes of the inputs of all jobs, as far as these are there."""
        listed, workdir = list(jobs), self._run.workdir
        self._made.sharing.count(listed)
        travelling = (self._made.traffic.inputs(job.input) for job in listed)
        places = ({place_of(path, workdir) for path in paths} for paths in travelling)
        return self._made.sharing.totals(
            {place: source_of(place, workdir) for place in each} for each in places
        )

    def software(self, jobs: Iterable[SingleJob]) -> tuple[PlannedSoftware, ...]:
        """Return the conda environments of single jobs. Raises `InputError`."""
        rules: dict[tuple[Environment, Packed | None], set[str]] = {}
        for job in jobs:
            if used := self._made.software_of(job):
                rules.setdefault(used, set()).add(str(job.rule))
        return tuple(
            PlannedSoftware(
                environment.name,
                tuple(sorted(names)),
                str(packed.path) if packed else "",
                -(-(packed.path.stat().st_size if packed else environment.size) // _MB),
                bool(environment.size),
                environment.by_job,
            )
            for (environment, packed), names in sorted(rules.items(), key=_name_of_software)
        )


_MB = 1024 * 1024


def _name_of_software(item: tuple[tuple[Environment, Packed | None], set[str]]) -> str:
    return item[0][0].name


def _rule(job: AnyJob) -> str:
    return " + ".join(sorted({str(part.rule) for part in members(job)}))
