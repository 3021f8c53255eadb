"""The inputs of the stages: packages, suites, files of the kit."""

import importlib.metadata
import tomllib
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement

from ..common.cache_folder import key_of
from .idmap import id_maps
from .paths import KIT, PACKAGE
from .stages import Stage

PROJECT = "snakemake-executor-plugin-osgpilot"
SUITE = "trixie"
# current HTCondor (as on the OSPool, and as the bindings on PyPI) and Apptainer come from here,
# with the one library that they need newer than in SUITE
NEWER_SUITE = "sid"
NEWER_PACKAGES = ("apptainer", "condor", "libpcre2-8-0")
HOST_PACKAGES = (
    *("condor", "apptainer", "squashfuse", "fuse3", "fuse-overlayfs", "fuse2fs", "uidmap"),
    *("slurmctld", "slurmd", "slurm-client", "munge", "openssh-server", "openssh-client"),
    # its accounting, see kit/hosts/accounting.sh
    *("slurmdbd", "mariadb-server"),
    *("python3", "python3-venv", "procps", "iproute2", "tini", "ca-certificates"),
    # rsync is what snakemake-storage-plugin-fs copies with
    *("bowtie2-examples", "less", "nano-tiny", "rsync"),
    # for jobs: modules to load, a registry to fetch images from
    *("environment-modules", "docker-registry"),
    # for the pilot image, as in the OSG pilot container: to fetch images, and to run daemons
    *("curl", "supervisor"),
)
JOB_PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "findutils", "grep", "sed", "gawk", "hostname"),
    *("tar", "gzip", "libc-bin", "python3-minimal"),
    *("bowtie2", "samtools", "bcftools", "python3-matplotlib"),
    # debianutils has `which`, without which R does not start
    *("r-base-core", "debianutils", "r-cran-rmarkdown"),
    # for notebooks in R
    *("jupyter-nbconvert", "r-cran-irkernel"),
)


@dataclass(frozen=True)
class Recipe:
    """The stages of one build.

    host: Debian tree of both hosts; jobtree: Debian tree of the job image;
    conf, venv: layers above the host tree; pilot, job, runtime: folders with one SIF each
    """

    host: Stage
    jobtree: Stage
    conf: Stage
    venv: Stage
    pilot: Stage
    job: Stage
    runtime: Stage

    def used(self) -> dict[str, Stage]:
        """Return the stages a running pool needs, by role."""
        roles = ("host", "conf", "venv", "pilot", "job", "runtime")
        return {role: getattr(self, role) for role in roles}


def requirements() -> list[str]:
    """Return the project's requirements, its `test` extra included, for pip."""
    source = _pyproject()
    if source is not None:
        lines = [*source["dependencies"], *source["optional-dependencies"]["test"]]
    else:
        lines = importlib.metadata.requires(PROJECT) or []
    parsed = [Requirement(line) for line in lines]
    with_tests = {"extra": "test"}
    wanted = [need for need in parsed if need.marker is None or need.marker.evaluate(with_tests)]
    return sorted({f"{need.name.lower()}{need.specifier}" for need in wanted})


def version() -> str:
    """Return the version of the project."""
    source = _pyproject()
    return str(source["version"]) if source is not None else importlib.metadata.version(PROJECT)


def _pyproject() -> dict[str, Any] | None:
    file = PACKAGE.parent / "pyproject.toml"
    if not file.is_file():
        return None
    project = tomllib.loads(file.read_text()).get("project", {})
    return project if project.get("name") == PROJECT else None


def recipe() -> Recipe:
    """Return the stages for the current code, kit and project metadata."""
    maps = id_maps()
    common = [maps, KIT / "lib.sh", KIT / "inside.sh"]
    host = Stage(
        "host",
        key_of(maps, HOST_PACKAGES, SUITE, NEWER_SUITE, NEWER_PACKAGES, KIT / "chroot-devices.sh"),
    )
    jobtree = Stage("jobtree", key_of(maps, JOB_PACKAGES, SUITE, KIT / "job-tree.sh"))
    venv = Stage(
        "venv", key_of(*common, host.key, requirements(), version(), KIT / "layer-venv.sh")
    )
    runtime_steps = tuple(
        KIT / name
        for name in ("layer-runtime.sh", "runtime-packages.py", "conda", "conda-activate")
    )
    return Recipe(
        host=host,
        jobtree=jobtree,
        conf=Stage(
            "conf",
            key_of(*common, host.key, KIT / "layer-conf.sh", KIT / "hosts", KIT / "pool-svc"),
        ),
        venv=venv,
        pilot=Stage("pilot", key_of(*common, host.key, KIT / "layer-pilot.sh", KIT / "pilot")),
        job=Stage("job", key_of(*common, jobtree.key, host.key, KIT / "layer-job.sh")),
        runtime=Stage("runtime", key_of(*common, venv.key, *runtime_steps)),
    )
