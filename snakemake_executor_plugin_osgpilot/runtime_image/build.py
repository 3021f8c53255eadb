"""`osgpilot runtime build`: build the image with Apptainer; cached by its contents."""

import importlib.metadata
import shutil
import subprocess
from pathlib import Path

from ..common.build_progress import Progress
from ..common.cache_folder import cache, key_of, locked
from ..errors import InputError, MissingPrerequisiteError
from .definition import definition, pins, source

APPTAINERS_OWN = ("INFO:", "WARNING:", "FATAL:")
IN_A_STEP = ("while running engine", "exit status")


def make(base: str, output: Path | None) -> Path:
    """Build the image unless it is cached, copy it to `output` if given; return its path.

    Raises MissingPrerequisiteError if this machine cannot build it or the build fails, InputError
    for invalid arguments.
    """
    place = source(base)
    packages = pins({each.name: each.version for each in importlib.metadata.distributions()})
    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output {output}: no such folder: {output.parent}")
    text = definition(place, packages)
    image = cache() / "runtime" / f"{named(packages, 'snakemake')}-{key_of(text, age(place))}.sif"
    with Progress() as progress:
        waits = "another build is running: waiting for it"
        with locked(image.parent / ".lock", before_waiting=lambda: progress.say(waits)):
            if image.exists():
                progress.watch("runtime", "cached")
            else:
                _build(image, text, progress)
    return image if output is None else _copy(image, output)


def named(packages: list[str], name: str) -> str:
    """Return the package `name` with its version, for a file name."""
    return next(each for each in packages if each.startswith(f"{name}==")).replace("==", "-")


def age(place: tuple[str, str]) -> list[int]:
    """Return a value that changes when a local base image does."""
    if place[0] != "localimage":
        return []
    status = Path(place[1]).stat()
    return [status.st_mtime_ns, status.st_size]


def why(log: str) -> str:
    """Return the line of Apptainer's output that best explains a failed build."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("FATAL:")]
    if fatal and not any(words in fatal[-1] for words in IN_A_STEP):
        return fatal[-1]
    steps = [line for line in lines if not line.startswith(APPTAINERS_OWN)]
    errors = [line for line in steps if line.startswith("ERROR")]
    return (errors or steps[-1:] or fatal or ["no output"])[0]


def _build(image: Path, text: str, progress: Progress) -> None:
    apptainer = shutil.which("apptainer")
    if apptainer is None:
        raise MissingPrerequisiteError(
            "no apptainer here: install it, or build on a machine that has it"
            " and bring the file over (--output FILE)"
        )
    log, recipe, partial = (image.with_suffix(each) for each in (".log", ".def", ".part"))
    recipe.write_text(text)
    progress.say(f"log: {log}")
    progress.watch("runtime", "started")
    try:
        with log.open("wb") as output:
            command = [apptainer, "build", "--force", str(partial), str(recipe)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        if done.returncode != 0:
            progress.watch("runtime", "failed")
            words = why(log.read_text(errors="replace"))
            raise MissingPrerequisiteError(
                f"the image was not built: {words}; all of it is in {log}"
            )
        partial.rename(image)
    finally:
        partial.unlink(missing_ok=True)
    progress.watch("runtime", "finished")


def _copy(image: Path, output: Path) -> Path:
    partial = output.with_name(f"{output.name}.part")
    try:
        shutil.copy(image, partial)
        partial.replace(output)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}: name another file") from error
    finally:
        partial.unlink(missing_ok=True)
    return output
