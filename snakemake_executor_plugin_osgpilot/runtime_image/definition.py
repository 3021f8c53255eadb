"""The contents of the image, as an Apptainer definition file."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError, MissingPrerequisiteError

NEEDED = re.compile(r"snakemake|snakemake-interface-[a-z-]+|snakemake-storage-plugin-[a-z0-9-]+")
RELEASE = re.compile(r"[0-9A-Za-z.!]+")
REGISTRY = re.compile(r"(docker|oras|library)://([\w./:@-]+)")
# Apptainer would read these as a comment, a variable or another line
NOT_IN_PATHS = re.compile(r"[#{}\n]")


def default_base() -> str:
    """Return a small image with the Python version that runs here."""
    return f"docker://python:{sys.version_info.major}.{sys.version_info.minor}-slim"


def pins(installed: Mapping[str, str]) -> list[str]:
    """Return those of the `installed` packages (name: version) that a job's Snakemake needs, as pip
    requirements.

    Other packages follow from these. Raises MissingPrerequisiteError if one is not a release.
    """
    versions = {re.sub(r"[-_.]+", "-", name).lower(): installed[name] for name in installed}
    needed = {name: versions[name] for name in sorted(versions) if NEEDED.fullmatch(name)}
    if "snakemake" not in needed:
        raise MissingPrerequisiteError(
            "Snakemake is not installed beside osgpilot: pip install snakemake"
        )
    for name, version in needed.items():
        if not RELEASE.fullmatch(version):
            raise MissingPrerequisiteError(
                f"{name} {version} is not a release: install one that pip can get"
            )
    return [f"{name}=={version}" for name, version in needed.items()]


def source(base: str) -> tuple[str, str]:
    """Return Apptainer's bootstrap agent for the image `base`, and the location.

    Raises InputError if it is neither in a registry nor a file or folder here.
    """
    if found := REGISTRY.fullmatch(base):
        return found[1], found[2]
    path = Path(base)
    if not path.exists():
        raise InputError(
            f"--base {base}: no such file; an image of a registry begins with docker://"
        )
    if NOT_IN_PATHS.search(str(path.resolve())):
        raise InputError(f"--base {base}: a path with # {{ }} does not work here: rename it")
    return "localimage", str(path.resolve())


def definition(base: tuple[str, str], packages: list[str]) -> str:
    """Return the definition file: `packages` on top of `base`."""
    return "\n".join(
        [
            f"Bootstrap: {base[0]}",
            f"From: {base[1]}",
            "%post",
            # nothing else manages the image's Python
            "    export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore",
            f"    python -m pip install --no-cache-dir {' '.join(packages)}",
            "%environment",
            "    export LC_ALL=C.UTF-8",
            "%test",
            "    exec python -m snakemake --version",
            "",
        ]
    )
