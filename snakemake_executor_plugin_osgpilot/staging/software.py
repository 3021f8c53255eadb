"""The conda environments of a workflow's rules: made by Snakemake's own code, or by jobs in pilots,
and packed once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

import yaml
from snakemake_interface_common.exceptions import WorkflowError

from ..common.cache_folder import key_of, locked
from ..common.messages import Messages
from ..common.snakemake_compat import (
    conda_environment,
    create_conda_environment,
    has_conda,
    need_no_conda,
)
from ..common.snakemake_types import CondaEnv, SingleJob
from ..errors import InputError, MissingPrerequisiteError, OsgpilotError
from ..runtime_image import conda
from ..runtime_image.conda import Environment, Packed
from .conda_build import CondaBuild

_SAID_LINES = 40
"""Lines of the output of conda that a message shows at most, the last ones."""


Builder = Callable[[Sequence[CondaBuild]], Iterable[tuple[str, Path]]]
"""Makes environments in pilots: yields the key of each, and the archive with its files. Raises
`InputError`."""


def _none(builds: Sequence[CondaBuild]) -> Iterable[tuple[str, Path]]:
    return ()


@dataclass
class Software:
    """Environments of one workflow, each found or made once.

    Without `making`, as for a plan, nothing is made: what has not been is unknown. With
    `builder_image`, a container image with conda, `build` makes them in pilots.
    """

    messages: Messages
    making: bool = True
    builder_image: str = ""
    build: Builder = _none
    _known: dict[object, Environment | InputError] = field(default_factory=dict)
    _objects: dict[str, tuple[CondaEnv, str]] = field(default_factory=dict)
    _images: dict[tuple[tuple[str, ...], str], Packed] = field(default_factory=dict)

    def of(self, job: SingleJob) -> Environment | None:
        """Return the environment of a single job, None if it has none.

        It is made unless an earlier run did. Raises `InputError` with what conda said.
        """
        if not has_conda(job):
            return None
        known = (job.conda_env_spec, job.container_img_url)
        if known not in self._known:
            try:
                self._known[known] = self._environment(conda_environment(job), str(job.rule))
            except InputError as error:
                # not again for each of many jobs
                self._known[known] = error
        found = self._known[known]
        if isinstance(found, InputError):
            raise found
        return found

    def make_in_pilots(self, jobs: Iterable[SingleJob]) -> None:
        """Make the environments of single jobs, all at the same time, if pilots make them.

        Raises `InputError` with what conda said.
        """
        if not (self.builder_image and self.making):
            return
        first = {(job.conda_env_spec, job.container_img_url): job for job in jobs if has_conda(job)}
        missing = {}
        for job in first.values():
            own, rule = conda_environment(job), str(job.rule)
            if self._is_for_pilots(own) and conda.found(key := self._key(own, rule)) is None:
                missing[key] = own, rule
        self._make_by_jobs(missing)

    def image(self, environments: Sequence[Environment], base: str) -> Packed | None:
        """Return the image with `environments` on `base`; None if it is to be made, but not now.

        Raises `InputError` or `MissingPrerequisiteError` if it cannot be made.
        """
        if not self.making:
            return conda.find(environments, base)
        wanted = (tuple(each.key for each in environments), base)
        made = self._images.get(wanted)
        if made is None or not made.path.exists():
            made = self._images[wanted] = self._packed(environments, base)
        return made

    def _packed(self, environments: Sequence[Environment], base: str) -> Packed:
        if not self.builder_image:
            return conda.make(environments, base, self.messages.info, self._again)
        if conda.find(environments, base) is None:
            # not by `conda.make`, which has other processes wait meanwhile
            environments = [
                each if conda.is_there(each.folder) else self._again(each) for each in environments
            ]
        return conda.make(environments, base, self.messages.info, _vanished)

    def _is_for_pilots(self, own: CondaEnv) -> bool:
        return bool(self.builder_image) and not (own.is_containerized or own.is_externally_managed)

    def _environment(self, own: CondaEnv, rule: str) -> Environment:
        name = name_of(own)
        if own.is_containerized:
            return Environment("", str(own.address), name)
        if not self._is_for_pilots(own):
            _check_conda(own, rule)
        if own.is_externally_managed:
            with _explained(rule, name):
                prefix = _managed(own)
                return conda.seen(conda.fingerprint(prefix), prefix, name, str(own.name or ""))
        key = self._key(own, rule)
        self._objects[key] = own, rule
        if there := conda.found(key):
            return there
        if not self.making:
            by_job = self._is_for_pilots(own)
            return Environment(key, str(Path(own.address).absolute()), name, by_job=by_job)
        return self._made(own, rule, key)

    def _key(self, own: CondaEnv, rule: str) -> str:
        """Return the key of an environment with a file."""
        if self._is_for_pilots(own):
            need_no_conda(own)
        with _explained(rule, name_of(own)):
            return key_of(str(own.content_hash), own.container_img_url or "", os.uname().machine)

    def _again(self, environment: Environment) -> Environment:
        """Make an environment of which only the note is left."""
        return self._made(*self._objects[environment.key], environment.key)

    def _made(self, own: CondaEnv, rule: str, key: str) -> Environment:
        if self._is_for_pilots(own):
            return self._make_by_jobs({key: (own, rule)})[key]
        name = name_of(own)
        with _explained(rule, name):
            folder = Path(own.address).parent
            folder.mkdir(parents=True, exist_ok=True)
            waits = f"another process is making an environment in {folder}: waiting for it"
            # Snakemake takes one that another process is making for incomplete, and removes it
            with locked(
                folder / ".osgpilot-lock", before_waiting=lambda: self.messages.info(waits)
            ):
                return conda.seen(key, Path(create_conda_environment(own)).absolute(), name)

    def _make_by_jobs(self, missing: Mapping[str, tuple[CondaEnv, str]]) -> dict[str, Environment]:
        """Have pilots make environments with a file; return them by key."""
        builds = {key: self._to_build(*each, key) for key, each in missing.items()}
        made = {}
        for key, archive in self.build(list(builds.values())) if builds else ():
            with _explained(builds[key].rule, builds[key].name):
                made[key] = conda.received(key, archive, builds[key].name)
        return made

    def _to_build(self, own: CondaEnv, rule: str, key: str) -> CondaBuild:
        name = name_of(own)
        with _explained(rule, name):
            parts = (own.content, own.content_pin or b"", own.content_deploy or b"")
            _check_file(parts[0])
        return CondaBuild(key, name, rule, own.container_img_url or self.builder_image, *parts)


def _vanished(environment: Environment) -> Environment:
    raise MissingPrerequisiteError(
        f"the conda environment {environment.name} vanished while it was packed: start again"
    )


def _check_conda(own: CondaEnv, rule: str) -> None:
    """Raise `InputError` if the environment needs the conda of this machine, which is not there."""
    if own.dir or own.container_img_url is not None or shutil.which("conda") is not None:
        return
    raise InputError(
        f"rule {rule} has a `conda:` environment, and there is no conda on this machine to make "
        "it: put it on PATH, or name a container image that has it, in which a pilot makes "
        "environments with a file (--osgpilot-conda-image)"
    )


def _check_file(content: bytes) -> None:
    """Raise `InputError` if an environment file is none, before a pilot starts for it."""
    try:
        read = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise InputError(f"{where}{problem}") from error
    if not isinstance(read, dict):
        raise InputError("it has no `key: value` lines")


def name_of(own: CondaEnv) -> str:
    """Return the name of an environment for messages: its file, relative if it is below here."""
    if own.name or own.dir:
        return str(own.name or own.dir)
    path = str(own.file.get_path_or_uri(secret_free=True))
    here = os.path.relpath(path) if path.startswith("/") else path
    return path if here.startswith("../") else here


def _managed(own: CondaEnv) -> Path:
    """Return the folder of an environment that the user made: a path, or a name that conda knows.

    Raises `InputError`.
    """
    if own.dir:
        return Path(own.dir).absolute()
    info = own.conda.info
    named = [path for path in info.get("envs", ()) if Path(path).name == own.name]
    folders = info.get("envs_dirs") or [f"{own.conda.prefix_path}/envs"]
    named += [f"{folder}/{own.name}" for folder in folders]
    if own.name == "base":
        named = [str(own.conda.prefix_path)]
    for path in map(Path, named):
        if conda.is_there(path):
            return path
    raise InputError(f"conda has no environment {own.name} (`conda env list` shows those it has)")


@contextmanager
def _explained(rule: str, name: str) -> Iterator[None]:
    """Raise what goes wrong with an environment as `InputError`."""
    what = f"rule {rule}: its conda environment {name} cannot be made"
    try:
        yield
    except CalledProcessError as error:
        said = str(error.output or error.stderr or error)
        raise InputError(f"{what}; conda said:{_block(said)}") from error
    except WorkflowError as error:
        raise InputError(f"{what}; conda said:{_block(_output(str(error)))}") from error
    except (OsgpilotError, OSError) as error:
        raise InputError(f"{what}: {error}") from error


def _output(text: str) -> str:
    """Return the output of the command in a message of Snakemake's, the message if it has none."""
    return text.partition("\nOutput:\n")[2] or text


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-_SAID_LINES:])
