"""Choose how and in which image each job runs, and prepare it for submission."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

from ..common.messages import SILENT, Messages
from ..common.snakemake_compat import has_conda, shell_settings
from ..common.snakemake_types import AnyJob, SingleJob, Workflow
from ..errors import InputError, MissingPrerequisiteError, NoApptainerError
from ..model.resources import OWN_ROOT, JobClass, Request
from ..runtime_image import conda
from ..runtime_image.conda import WITH_PYTHON, Environment, Packed
from ..runtime_image.environment import PATH
from ..runtime_image.probe import lacks, lacks_module
from . import direct
from .apptainer_args import environment_of
from .bundle_target import target_s
from .container_image import NO_IMAGE, Image, Images, base_of
from .cwl import is_cwl
from .early_values import resources_of
from .job_archive import JobArchive, pack
from .module_sources import module_files, own_folders
from .output_cache import why_not_cached
from .outside_folders import OutsideFolders
from .path_rewriting import Disk, rewriter_of
from .payload import Payload, check_places, label, members, needed_from_outside, tops
from .places import source_of
from .plain_jobs import REMEMBERED_MAX, PlainJobs, plain
from .python_commands import calls_python
from .resource_request import Requests
from .rule_resources import IMAGE, RUNTIME_IMAGE
from .run_body import Bodies, has_body
from .s3_keys import KeyFiles, Lines
from .scripts import interpreters, is_in_python, lacking, needs_interpreter
from .shared_inputs import SharedInput, Sharing
from .snakemake_modules import write_modules
from .software import Software
from .storage import needs_plugin, storage_script, store_benchmarks
from .transfer_policy import TransferPolicy
from .workflow_sources import (
    WITH_SNAKEFILES,
    WITHOUT_SNAKEFILES,
    bundle_sources,
    large,
    list_sources,
)


class _NoInterpreterError(InputError):
    """A job's image has no program that can run its script."""


@dataclass(frozen=True)
class Prepared:
    """A prepared job: its payload, the archive that travels, and its resource request."""

    payload: Payload
    request: Request
    archive: JobArchive

    @cached_property
    def kept(self) -> Payload:
        """The part of the payload that is needed after submission."""
        return self.payload.after_submission()


@dataclass(frozen=True)
class Preparer:
    """Prepares jobs of one workflow.

    Variables of the `environment` in `of_storage` are for Snakemake's storage plugins only.
    """

    workflow: Workflow
    runtime_image: str
    run_folder: Path
    workdir: Path
    environment: Mapping[str, str]
    traffic: TransferPolicy
    images: Images
    requests: Requests
    keys: KeyFiles
    messages: Messages = SILENT
    of_storage: Collection[str] = ()
    environment_image: Callable[[], str] = str
    """Returns an image with the Python environment of this process; makes it if need be."""
    software: Software = field(default_factory=lambda: Software(SILENT, making=False))
    sharing: Sharing = field(default_factory=Sharing)
    disk: Disk = field(default_factory=Disk)
    """Have it forget what it saw before the next jobs are drafted: others have ended meanwhile."""
    _warned: set[str] = field(default_factory=set)
    _classes: dict[str, JobClass] = field(default_factory=dict)
    _plain: dict[Hashable, PlainJobs] = field(default_factory=dict)

    def begin(self, jobs: Iterable[SingleJob]) -> None:
        """Check the rules of all jobs and pack the sources. Raises `InputError`."""
        self._of_image  # noqa: B018 - refuse what cannot be passed on before anything runs
        self._outside.learn(self.workflow)
        jobs = list(jobs)
        first_of_rule = {str(job.rule): job for job in jobs}
        for name in sorted(first_of_rule):
            self._check_files(first_of_rule[name])
        with self.requests.gathering():
            self._check_all(jobs)
        for name in sorted(first_of_rule):
            self._warn_of_losses(first_of_rule[name])
        sources, of_snakefiles = list_sources(self.workflow)
        bundle_sources(self.run_folder / WITHOUT_SNAKEFILES, sources - of_snakefiles, self.workdir)
        modules = module_files(own_folders(self.workflow), self.workdir)
        bundle_sources(self.run_folder / WITH_SNAKEFILES, sources, self.workdir, modules)
        if warning := large(self.run_folder / WITH_SNAKEFILES):
            self.messages.warning(warning)

    def _check_all(self, jobs: Iterable[SingleJob]) -> None:
        """Make what jobs need, and raise `InputError` if something is missing."""
        jobs = list(jobs)
        self.software.make_in_pilots(jobs)
        # all environments are made before the first is packed: a mistake in one is seen soon
        used = {(str(job.rule), self._environment(job)): job for job in jobs}
        missing: dict[str, None] = {}
        for job in sorted(used.values(), key=_rule_and_output):
            try:
                self._check(job)
            except _NoInterpreterError as error:
                missing[str(error)] = None
        if missing:
            raise InputError("\nosgpilot: ".join(missing))

    def class_of(self, job: AnyJob) -> JobClass | None:
        """Return the class of the latest job of the same rule, None if there was none."""
        return self._classes.get(str(members(job)[0].rule))

    def _check(self, job: SingleJob) -> None:
        """Raise `InputError` if something that all jobs of this rule need is missing."""
        direct.check_values(job, self.traffic)
        target_s(job, 0.0)
        if has_body(job.rule):
            self._bodies.check(job.rule, rewriter_of(job, self.traffic))
        if job.group is not None and self._environment(job):
            # an image has the environments of all members of a group, and is made for that
            self._classes[str(job.rule)] = self.requests.of(job, NO_IMAGE).job_class
            return
        image, _ = self._image_and_software(job)
        self._classes[str(job.rule)] = self.requests.of(job, image).job_class
        if missing := self._lacks_interpreter(job, image):
            raise _NoInterpreterError(missing)

    def _lacks_interpreter(self, job: SingleJob, image: Image) -> str:
        """Return a message if a job's image certainly has no program that can run its script."""
        environment = self._environment(job)
        has = environment.programs if environment else ()
        programs = interpreters(job)
        brought = shell_settings()[1] or self._has_modules(job) or set(programs) & set(has)
        if not programs or brought or not all(lacks(image.name, each) for each in programs):
            return ""
        where = f"{image.name} (with {environment.name})" if environment else image.name
        return lacking(str(job.rule), programs, where)

    def _check_files(self, job: SingleJob) -> None:
        """Raise `InputError` if a file of a job cannot or must not be where the job runs."""
        files = self._travelling(job)
        check_places(job, files)
        self._outside.check(job, files)
        if query := self.traffic.unreachable(job.input, (*job.output, *job.log)):
            raise InputError(
                f"rule {job.rule}: {query} is in a folder of this machine (storage plugin fs), "
                "which the pilots' nodes do not see: name the path without the plugin, so that it "
                "travels, or name its folder in --osgpilot-shared-prefixes"
            )

    def _travelling(self, job: SingleJob) -> tuple[str, ...]:
        """Return the paths of a single job's files that travel."""
        made = (*job.output, *job.log, *filter(None, [job.benchmark]))
        back = self.traffic.outputs(made)
        return (*self.traffic.inputs(job.input), *back)

    @cached_property
    def _outside(self) -> OutsideFolders:
        return OutsideFolders(self.workdir)

    def _warn_of_losses(self, job: SingleJob) -> None:
        """Warn of effects that jobs of this rule have only on this machine."""
        if not job.output:
            self.messages.warning(
                f"rule {job.rule} has no output: it runs on another machine and changes no "
                "file on this one; make it a local rule if it should"
            )
        if reason := why_not_cached(job, self.workflow):
            self.messages.warning(
                f"rule {job.rule} runs without the cache between workflows (--cache), as {reason}"
            )

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(self.workflow, self.run_folder)

    def shared(self, payload: Payload) -> tuple[SharedInput, ...]:
        """Return the inputs of a draft that are sent once to each pilot. Raises `InputError`."""
        if not payload.inputs:
            return ()
        return self.sharing.of(
            {path: source_of(path, self.workdir) for path in tops(payload.inputs)}
        )

    def pack(
        self, payload: Payload, request: Request, shared: tuple[SharedInput, ...] = ()
    ) -> Prepared:
        """Return the prepared job of a draft, in any thread. Raises `InputError` naming what is
        wrong with it.
        """
        if payload.modules is not None:
            write_modules(self.run_folder, payload.modules)
        archive = pack(payload, self.run_folder, self.workdir, shared)
        return Prepared(payload, request, archive)

    def store_benchmarks(self, job: AnyJob) -> None:
        """Store the benchmarks of a job that belong into storage, once they are in place here."""
        store_benchmarks(job, self.traffic)

    def sketch(self, job: AnyJob) -> tuple[Payload, Request]:
        """Return payload and request of a job whose inputs need not exist yet.

        If a function of its rule fails without them, the payload has no commands. Raises
        `InputError` naming what is wrong with it.
        """
        try:
            return self.draft(job)
        except WorkflowError:
            image, _ = self._image_and_software(job)
            return Payload((), "bash", (), (), ()), self.requests.of(job, image)

    def draft(self, job: AnyJob) -> tuple[Payload, Request]:
        """Return payload and request of a ready job without packing it.

        Raises `InputError` naming what is wrong with it.
        """
        single = plain(job)
        draft = self._draft(job) if single is None else self._in_common(single).draft(single)
        self._classes[str(members(job)[0].rule)] = draft[1].job_class
        return draft

    def _in_common(self, job: SingleJob) -> PlainJobs:
        """Return what drafts the plain jobs of the rule of `job` that run in the same image."""
        asked = resources_of(job)
        directive = job.container_img_url if "apptainer" in self._deployment else None
        images = (str(asked.get(IMAGE, "")), str(asked.get(RUNTIME_IMAGE, "")), directive)
        key = (str(job.rule), images, vars(self).get("_packed"))
        if key not in self._plain:
            direct.check_values(job, self.traffic)
            image, _ = self._image_and_software(job)
            variables = self._variables(image, in_python=self._is_packed(image))
            if len(self._plain) >= REMEMBERED_MAX:
                self._plain.clear()
            paths = rewriter_of(job, self.traffic, self.disk)
            self._plain[key] = PlainJobs(image, variables, self.traffic, self.requests, paths)
        return self._plain[key]

    def _is_packed(self, image: Image) -> bool:
        """Return True for the image with the packed Python environment."""
        return bool(image.name) and image.name == vars(self).get("_packed")

    def _variables(self, image: Image, *, in_python: bool) -> dict[str, str]:
        """Return the variables of commands in `image`; it has Snakemake's own if `in_python`."""
        variables = {**self._for_commands, **(self._of_image if image.name else {})}
        return {"PATH": PATH, **variables} if in_python else variables

    def _draft(self, job: AnyJob) -> tuple[Payload, Request]:
        """Return `draft` of a job of any kind."""
        for member in members(job):
            self._check_files(member)
            direct.check_values(member, self.traffic)
        image, packed = self._image_and_software(job)
        traffic = direct.without_clashes(job, self.traffic)
        in_python = self._is_packed(image) or (packed is not None and packed.base == WITH_PYTHON)
        bodies = partial(self._bodies.lines, packed=in_python)
        variables = self._variables(image, in_python=in_python)
        given = {**self.environment, **(self._of_image if image.name else {})}
        storage = storage_script(job, given, traffic, packed=in_python)
        activation = partial(self._activation, packed)
        payload = direct.build(job, variables, traffic, bodies, image.name, storage, activation)
        lines: Lines = self.keys.lines(traffic.keys(needed_from_outside(job)))
        if image.name and payload.is_named:
            lines += ((f"My.{OWN_ROOT}", "true"),)
        return payload, self.requests.of(job, image, lines)

    @cached_property
    def _for_commands(self) -> dict[str, str]:
        """The variables of commands that run without Snakemake: no secrets of storage plugins."""
        return {n: value for n, value in self.environment.items() if n not in self.of_storage}

    @cached_property
    def _of_image(self) -> dict[str, str]:
        """The variables that the user sets in containers. Raises `InputError`."""
        if "apptainer" not in self._deployment:
            return {}
        args = self.workflow.deployment_settings.apptainer_args or ""
        return environment_of(args, self.traffic.shared_prefixes)

    @cached_property
    def _deployment(self) -> set[str]:
        return {str(method) for method in self.workflow.deployment_settings.deployment_method}

    def _environment(self, job: SingleJob) -> Environment | None:
        """Return the conda environment of a single job, None if it has none."""
        return self.software.of(job)

    def software_of(self, job: SingleJob) -> tuple[Environment, Packed | None] | None:
        """Return the conda environment of a single job and, if it has been made, its image.

        Raises `InputError`.
        """
        environment = self._environment(job)
        if environment is None or not environment.key:
            return None
        return environment, self._image_and_software(job)[1]

    def _activation(self, packed: Packed | None, job: SingleJob) -> str:
        """Return shell lines that activate the conda environment of a single job."""
        environment = self._environment(job)
        if environment is None:
            return ""
        if packed is not None and environment.key:
            environment = packed.environment(environment.key)
        unblock = self.workflow.deployment_settings.conda_not_block_search_path_envvars
        return conda.activation(environment, str(job.rule), unblock=unblock)

    def _image_and_software(self, job: AnyJob) -> tuple[Image, Packed | None]:
        """Return the image of a job or group job, and the environments in it if it is made for
        these. Raises `InputError` naming the rule.
        """
        parts = members(job)
        all_of_it = [each for each in map(self._environment, parts) if each and each.key]
        if not all_of_it:
            return self._image(job), None
        environments = sorted({each.key: each for each in all_of_it}.values(), key=lambda e: e.key)
        try:
            base = self._base(job, parts)
            packed = self.software.image(environments, base)
            return (self.images.find(str(packed.path)) if packed else NO_IMAGE), packed
        except (InputError, MissingPrerequisiteError) as error:
            raise InputError(f"{label(job)}: {error}") from error

    def _base(self, job: AnyJob, parts: Sequence[SingleJob]) -> str:
        """Return the base of the image of a job with conda environments (`conda.image`)."""
        name = self._name_of_image(job)
        if name:
            return WITH_PYTHON if name == vars(self).get("_packed") else base_of(name, self.workdir)
        # like Snakemake, which starts its own Python where an environment has none
        return WITH_PYTHON if any(map(self._lacks_python, parts)) else ""

    def _lacks_python(self, part: SingleJob) -> bool:
        environment = self._environment(part)
        return _starts_python(part) and not (environment and "python" in environment.programs)

    def _image(self, job: AnyJob) -> Image:
        """Return the image of a job or group job. Raises `InputError` naming the rule."""
        name = self._name_of_image(job)
        try:
            if not name and self._wants_environment(members(job)):
                name = self._packed_or_none
            return self.images.find(name)
        except (InputError, MissingPrerequisiteError) as error:
            raise InputError(f"{label(job)}: {error}") from error

    def _name_of_image(self, job: AnyJob) -> str:
        traffic = direct.without_clashes(job, self.traffic)
        names = {
            self._image_name(part, with_plugin=needs_plugin(part, traffic)) for part in members(job)
        }
        names.discard("")
        if len(names) > 1:
            if bodies := [part.rule.name for part in members(job) if has_body(part.rule)]:
                raise InputError(
                    f"{label(job)}: the `run:` of rule {bodies[0]} needs an image with Snakemake, "
                    f"and others name their own ({', '.join(sorted(names))}), but a group is one "
                    "job in one image: take it out of the group, or name one that has all"
                )
            raise InputError(
                f"{label(job)}: its members name different images ({', '.join(sorted(names))}), "
                "but run in one; name one for all with the resource container_image"
            )
        return "".join(names)

    def _image_name(self, job: SingleJob, *, with_plugin: bool) -> str:
        directive = str(job.container_img_url or "") if "apptainer" in self._deployment else ""
        asked = resources_of(job)
        own = str(asked.get(IMAGE, "")) or directive
        runtime = str(asked.get(RUNTIME_IMAGE, "")) or self.runtime_image
        if not with_plugin and not has_body(job.rule):
            # nodes need not have R, Python or modules, just as they need not have Snakemake
            needs = _starts_python(job) or needs_interpreter(job.rule)
            needed = (needs and not has_conda(job)) or self._has_modules(job)
            return own or (runtime if needed else "")
        if runtime and directive and runtime != own:
            self._warn_of_runtime(str(job.rule), own, runtime)
        if runtime or not own or not has_body(job.rule) or not lacks_module(own, "snakemake"):
            return runtime or own or self._packed_for(job)
        self._warn_of_packed(str(job.rule), own)
        return self._packed_for(job)

    def _has_modules(self, job: SingleJob) -> bool:
        """Return True if the rule has environment modules that are enabled."""
        return "env-modules" in self._deployment and bool(job.rule.env_modules)

    def _wants_environment(self, parts: Sequence[SingleJob]) -> bool:
        """Return True if a script or command in Python, or cwltool, would be that of the node.

        Environment modules are on the node only.
        """
        if any(map(self._has_modules, parts)):
            return False
        return any(map(_starts_python, parts))

    def _packed_for(self, job: SingleJob) -> str:
        try:
            return self._packed
        except MissingPrerequisiteError as error:
            raise InputError(
                f"rule {job.rule} needs the Python environment of Snakemake where it runs: {error}"
            ) from error

    @cached_property
    def _packed_or_none(self) -> str:
        """The packed environment, none where it can be neither found nor made."""
        try:
            return self._packed
        except NoApptainerError:
            self.messages.warning(
                "scripts and commands in Python that name no image run with the Python of the "
                "nodes, as there is no Apptainer on this machine to pack that of Snakemake"
            )
            return ""

    @cached_property
    def _packed(self) -> str:
        return self.environment_image()

    def _warn_of_packed(self, rule: str, own: str) -> None:
        if rule not in self._warned:
            self._warned.add(rule)
            self.messages.warning(
                f"the `run:` of rule {rule} is called in the Python environment of Snakemake, as "
                f"its image {own} has no Snakemake: programs of that image are not there"
            )

    def _warn_of_runtime(self, rule: str, own: str, runtime: str) -> None:
        if rule not in self._warned:
            self._warned.add(rule)
            self.messages.warning(
                f"rule {rule} needs Snakemake on the execution point and runs in the runtime image "
                f"{runtime}, without what is in its container {own}; if that has Snakemake, set "
                f"osgpilot_runtime_image={own}"
            )


def _starts_python(job: SingleJob) -> bool:
    """Return True for a script or a command in Python, and for cwltool."""
    return is_in_python(job) or is_cwl(job.rule) or calls_python(job)


def _rule_and_output(job: SingleJob) -> tuple[str, list[str]]:
    return str(job.rule), sorted(map(str, job.output))
