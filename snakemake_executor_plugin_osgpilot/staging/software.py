"""The conda environments of a workflow's rules: made by Snakemake's own code, packed once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

from ..common.cache_folder import key_of, locked
from ..common.snakemake_compat import conda_environment, create_conda_environment, has_conda
from ..common.snakemake_types import SingleJob
from ..errors import InputError, OsgpilotError
from ..runtime_image import conda
from ..runtime_image.conda import Environment, Packed

_SAID_LINES = 40
"""Lines of the output of conda that a message shows at most, the last ones."""


@dataclass
class Software:
    """Environments of one workflow, each found or made once.

    Without `making`, as for a plan, nothing is made: what has not been is unknown.
    """

    say: Callable[[str], None]
    making: bool = True
    _known: dict[Any, Environment] = field(default_factory=dict)
    _objects: dict[str, tuple[Any, str]] = field(default_factory=dict)
    _images: dict[tuple[tuple[str, ...], str], Packed] = field(default_factory=dict)

    def of(self, job: SingleJob) -> Environment | None:
        """Return the environment of a single job, None if it has none.

        It is made unless an earlier run did. Raises `InputError` with what conda said.
        """
        if not has_conda(job):
            return None
        known = (job.conda_env_spec, job.container_img_url)
        if known not in self._known:
            self._known[known] = self._environment(conda_environment(job), str(job.rule))
        return self._known[known]

    def image(self, environments: Sequence[Environment], base: str) -> Packed | None:
        """Return the image with `environments` on `base`; None if it is to be made, but not now.

        Raises `MissingPrerequisiteError` if it cannot be made.
        """
        if not self.making:
            return conda.find(environments, base)
        wanted = (tuple(each.key for each in environments), base)
        made = self._images.get(wanted)
        if made is None or not made.path.exists():
            made = self._images[wanted] = conda.make(environments, base, self.say, self._again)
        return made

    def _environment(self, own: Any, rule: str) -> Environment:
        name = name_of(own)
        if own.is_containerized:
            return Environment("", str(own.address), name)
        if own.container_img_url is None and shutil.which("conda") is None:
            raise InputError(
                f"rule {rule} has a `conda:` environment, and there is no conda on this machine to "
                "make it: put it on PATH"
            )
        with _explained(rule, name):
            if own.is_externally_managed:
                prefix = _managed(own)
                return conda.seen(conda.fingerprint(prefix), prefix, name, str(own.name or ""))
            container = own.container_img_url or ""
            key = key_of(str(own.content_hash), container, os.uname().machine)
        self._objects[key] = own, rule
        if there := conda.found(key):
            return there
        if not self.making:
            return Environment(key, str(Path(own.address).absolute()), name)
        return self._made(own, rule, key)

    def _again(self, environment: Environment) -> Environment:
        """Make an environment of which only the note is left."""
        return self._made(*self._objects[environment.key], environment.key)

    def _made(self, own: Any, rule: str, key: str) -> Environment:
        name = name_of(own)
        with _explained(rule, name):
            folder = Path(own.address).parent
            folder.mkdir(parents=True, exist_ok=True)
            waits = f"another process is making an environment in {folder}: waiting for it"
            # Snakemake takes one that another process is making for incomplete, and removes it
            with locked(folder / ".osgpilot-lock", before_waiting=lambda: self.say(waits)):
                return conda.seen(key, Path(create_conda_environment(own)).absolute(), name)


def name_of(own: Any) -> str:
    """Return the name of an environment for messages: its file, relative if it is below here."""
    if own.name or own.dir:
        return str(own.name or own.dir)
    path = str(own.file.get_path_or_uri(secret_free=True))
    here = os.path.relpath(path) if path.startswith("/") else path
    return path if here.startswith("../") else here


def _managed(own: Any) -> Path:
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
