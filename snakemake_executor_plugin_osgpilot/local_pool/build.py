"""`osgpilot pool build`: Debian packages into the trees, layers and images of the pool."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingPrerequisiteError
from . import namespace as space
from .paths import KIT, images
from .piphost import pip_host
from .recipe import (
    HOST_PACKAGES,
    JOB_PACKAGES,
    NEWER_PACKAGES,
    NEWER_SUITE,
    SUITE,
    Recipe,
    requirements,
    version,
)
from .stages import Stage, Store

Work = Callable[[Path], None]
QueuePoller = Callable[[str, str], None]  # stage name; "started", "finished", "cached" or "failed"
TELLING = ("E:", "ERROR", "FATAL", "osgpilot pool:")
NOT_WANTED = ("doc", "man", "locale", "info")


@dataclass(frozen=True)
class Builder:
    """Makes the stages of `recipe` in `store`; packages come from `uri` with apt's `options`."""

    recipe: Recipe
    store: Store
    uri: str
    options: tuple[str, ...]
    watch: QueuePoller

    def build(self) -> None:
        """Make missing stages, independent ones concurrently.

        Raises MissingPrerequisiteError with the name of the log if a stage fails.
        """
        recipe = self.recipe
        with ThreadPoolExecutor(max_workers=3) as pool:

            def later(stage: Stage, work: Work, *after: Future[None]) -> Future[None]:
                return pool.submit(self._make, stage, work, after)

            host = later(recipe.host, self._host_tree)
            jobtree = None
            if not self.store.has(recipe.job):
                jobtree = later(recipe.jobtree, self._job_tree)
            venv = later(recipe.venv, self._venv, host)
            rest = [
                venv,
                later(recipe.conf, self._conf, host),
                later(recipe.pilot, self._pilot, host),
                later(recipe.job, self._job, host, *([jobtree] if jobtree else [])),
                later(recipe.runtime, self._runtime, venv),
            ]
            for future in [host, *rest]:
                future.result()
        self.store.publish(recipe.used())

    def _make(self, stage: Stage, work: Work, after: tuple[Future[None], ...]) -> None:
        for earlier in after:
            earlier.result()
        if self.store.has(stage):
            self.watch(stage.name, "cached")
            return
        self.watch(stage.name, "started")
        try:
            self.store.make(stage, work)
        except BaseException:
            self.watch(stage.name, "failed")
            raise
        self.watch(stage.name, "finished")

    def _host_tree(self, folder: Path) -> None:
        pins = folder / "pins"
        pins.write_text(
            f"Package: *\nPin: release n={NEWER_SUITE}\nPin-Priority: 50\n\n"
            f"Package: {' '.join(NEWER_PACKAGES)}\nPin: release n={NEWER_SUITE}\n"
            "Pin-Priority: 990\n"
        )
        hooks = [
            'mkdir -p "$1/etc/apt/preferences.d"',
            f'cp "{pins}" "$1/etc/apt/preferences.d/pool.pref"',
        ]
        self._debian(
            self.recipe.host,
            folder,
            [
                "--variant=minbase",
                f"--include={','.join(HOST_PACKAGES)}",
                *(f"--setup-hook={hook}" for hook in hooks),
                "--dpkgopt=path-include=/usr/share/doc/bowtie2*",
            ],
            [SUITE, NEWER_SUITE],
        )

    def _job_tree(self, folder: Path) -> None:
        self._debian(
            self.recipe.jobtree,
            folder,
            [
                "--variant=extract",
                f"--include={','.join(JOB_PACKAGES)}",
                f"--extract-hook=sh '{KIT / 'job-tree.sh'}' \"$1\"",
            ],
            [SUITE],
        )

    def _debian(self, stage: Stage, folder: Path, extra: list[str], suites: list[str]) -> None:
        # otherwise a folder in the image belongs to _apt, and users cannot build from that image
        apt = ['APT::Sandbox::User "root";', 'APT::Install-Recommends "false";']
        apt += ['Acquire::Languages "none";', *self.options]
        command = [
            "mmdebstrap",
            "--mode=root",
            "--format=directory",
            "--skip=chroot/mount/sys,chroot/mount/dev,output/dev",
            f"--setup-hook=sh '{KIT / 'chroot-devices.sh'}' \"$1\"",
            # before `extra`: of dpkg's path rules the last one that matches counts
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NOT_WANTED),
            "--dpkgopt=force-unsafe-io",
            *(f"--aptopt={line}" for line in apt),
            *extra,
            SUITE,
            str(folder / "tree"),
            *(f"deb {self.uri} {suite} main" for suite in suites),
        ]
        self._run(stage, ["unshare", "--mount-proc", *command], {})

    def _conf(self, folder: Path) -> None:
        self._inside(self.recipe.conf, folder, ["layer-conf.sh"], upper=folder / "tree")

    def _venv(self, folder: Path) -> None:
        pip = pip_host()
        binds = "\n".join(f"{source} {target}" for source, target in pip.binds)
        self._inside(
            self.recipe.venv,
            folder,
            ["layer-venv.sh", version(), *requirements()],
            env={**pip.environment, "BINDS": binds},
        )

    def _pilot(self, folder: Path) -> None:
        self._inside(self.recipe.pilot, folder, ["layer-pilot.sh"])

    def _job(self, folder: Path) -> None:
        tree = f"{self.recipe.jobtree.folder}/tree"
        self._inside(self.recipe.job, folder, ["layer-job.sh", tree])

    def _runtime(self, folder: Path) -> None:
        above = self.store.path(self.recipe.venv) / "tree"
        self._inside(self.recipe.runtime, folder, ["layer-runtime.sh"], above=[above])

    def _inside(
        self,
        stage: Stage,
        folder: Path,
        step: list[str],
        *,
        above: Sequence[Path] = (),
        upper: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        """Run `step` of the kit in the host tree with the layers `above`; changes go to `upper`, or
        nowhere.
        """
        scratch = folder / "scratch"
        tree = [*above, self.store.path(self.recipe.host) / "tree"]
        variables = {
            "LOWER": ":".join(map(str, tree)),
            "UPPER": str(upper or scratch / "upper"),
            "SCRATCH": str(scratch),
            "OUT": str(folder),
            "IMAGES": str(self.store.root),
            **(env or {}),
        }
        self._run(stage, ["bash", str(KIT / "inside.sh"), *step], variables)
        space.remove(scratch)

    def _run(self, stage: Stage, command: list[str], env: dict[str, str]) -> None:
        log = self.store.root / "log" / f"{stage.name}.log"
        log.parent.mkdir(exist_ok=True)
        status = space.run(command, log=log, env=space.environment(**env))
        if status != 0:
            raise MissingPrerequisiteError(
                f"building {stage.name} failed: {last_words(log)}; all of it is in {log};"
                " `osgpilot pool build` continues where this one stopped"
            )


def last_words(log: Path) -> str:
    """Return the line of a log that best explains its end."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    telling = [line for line in lines if line.startswith(TELLING)]
    return ([*lines[-1:], *telling[:1]] or ["no output"])[-1]


def store() -> Store:
    """Return the store in the cache folder."""
    return Store(images())
